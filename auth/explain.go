package auth

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Explanation says what a verifier makes of a token, check by check. It shows
// the token's claims and never its signature: it is for administrators.
type Explanation struct {
	// Refusal is why the token is refused; nil if it is let in.
	Refusal *Refusal

	// Issuer is the configured name of the issuer that the token claims.
	Issuer string

	// Rules are all checks, in the order in which they are made: bearer, form,
	// introspection, issuer, algorithm, type, expiry, begin, lifetime, audience, binding,
	// signature, subject, still_good, revocation, kind (which never refuses by itself),
	// scopes (where the issuer has scope_includes), groups (where the issuer left them out
	// of the token), account or sender, those of package bound, and a route's: route_issuer, route_audience, route_kind, route_group,
	// route_claim, route_acr, route_auth_time or route_scope.
	Rules []bound.Rule

	// Claims is the JSON of the claims, or of what the issuer says of the token; nil if
	// they cannot be read.
	Claims jsontext.Value

	caller *Principal // nil: it was not let in so far
}

// Explain holds the verifier's own checks against a token, then the registration's, and
// then those of [Verdict.CheckSender] against the request q; nil: there is none. The
// first that does not hold decides, as it does in [Verifier.Verify]; those of the
// issuer's policy are all shown, whatever the others say. The token does not come into
// the cache, and no proof is used up.
func (v *Verifier) Explain(ctx context.Context, token string, registration *Registration, senders *bound.Checker, q *bound.Request) Explanation {
	x := &examination{verifier: v, ctx: ctx, token: token, now: v.now(), sum: v.fingerprint(token)}
	e := Explanation{}
	e.add("bearer", CheckToken(token), fmt.Sprintf("a token of at most %d bytes, of the alphabet of RFC 6750", MaxTokenBytes), fmt.Sprintf("%d bytes", len(token)))
	for i := range checks {
		one := &checks[i]
		if one.of != nil && !one.of(x) {
			continue
		}
		isPolicy := slices.ContainsFunc(policyChecks, func(p check) bool { return p.name == one.name })
		if e.Refusal != nil && (x.authority == nil || x.parts == nil || !isPolicy) {
			e.Rules = append(e.Rules, bound.Rule{Rule: one.name})
			continue
		}
		refusal := one.run(x)
		expected, found := x.show(one.name)
		e.add(one.name, refusal, expected, found)
	}
	e.Issuer = x.issuer()
	switch {
	case x.parts == nil:
	case x.answer == nil:
		e.Claims = jsontext.Value(x.parts.Payload)
	default: // a server may repeat the token in its answer, which is nobody's business
		shown := slices.DeleteFunc(slices.Clone(x.claims), func(m jose.Member) bool { return strings.Contains(plain(m.Value), token) })
		e.Claims = jsontext.Value(shown.json())
	}
	if e.Refusal != nil {
		e.Rules = append(e.Rules, bound.Rule{Rule: "revocation"}, bound.Rule{Rule: "kind"}, bound.Rule{Rule: "account"})
	} else {
		e.explainCaller(x, registration)
	}
	e.explainSender(x, senders, q)
	return e
}

func (e *Explanation) add(rule string, refusal *Refusal, expected, found any) {
	if e.Refusal == nil {
		e.Refusal = refusal
	}
	if refusal != nil && refusal.Cause != nil {
		if list, ok := found.([]string); ok {
			found = strings.Join(list, ", ")
		}
		cause := refusal.Cause.Error()
		if unclear, ok := refusal.Cause.(unclearCause); ok {
			cause = unclear.todo // the rule kind has the marks
		}
		found = fmt.Sprintf("%v: %s", found, cause)
	}
	held := refusal == nil
	e.Rules = append(e.Rules, bound.Rule{Rule: rule, Held: &held, Expected: expected, Found: found})
}

// explainCaller says what is known of the caller by the token, and registered about it.
func (e *Explanation) explainCaller(x *examination, registration *Registration) {
	token, a := cmp.Or(x.known, x.made), x.authority
	if registration.Revocations == nil {
		e.add("revocation", nil, nil, "none")
	} else {
		e.add("revocation", registration.lookRevoked(token), "none of its subject, session, client or id", registration.showRevoked(token))
	}
	claims, _ := parseClaims(e.Claims)
	kind, by := a.kind(claims)
	var looked any
	if list := a.kindsLookedAt(); len(list) > 0 {
		looked = list
	}
	e.add("kind", nil, looked, string(kind)+", by "+by)
	if len(a.included) > 0 { // the token does not name all of them itself
		e.add("scopes", nil, "scopes, and those that they include by scope_includes", a.scopes(claims))
	}
	if a.leftOutGroups(claims) {
		e.add("groups", nil, "groups in "+strings.Join(a.preset.groups, " or "),
			"none: the issuer left them out of the token, as there are too many, and they are not fetched: have it send fewer, or app roles")
	}
	var refusal *Refusal
	if e.Refusal == nil {
		e.caller, refusal = registration.Admit(token, x.now)
	}
	expected := "if it is registered, an active account"
	if registration.requires(token) && token.profile.kind != KindUser {
		expected = "an active account, as machines must be registered"
	}
	e.add("account", refusal, expected, registration.shown(token, x.now))
}

// leftOutGroups tells whether the issuer has left the groups out of a token, and says only
// where they are (OpenID Connect Core 1.0, section 5.6.2), or that there are any. Entra
// does so if there are more than 200:
// https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference#groups-overage-claim
func (a *authority) leftOutGroups(c claimSet) bool {
	names, _ := c.get("_claim_names")
	elsewhere, _ := parseClaims(names) // none, unless it is an object
	has, _ := c.get("hasgroups")
	return slices.ContainsFunc(a.preset.groups, func(path string) bool {
		_, there := c.lookup(path)
		return !there && (elsewhere.present(path) || path == "groups" && string(has) == "true")
	})
}

// show says for a check what is expected and what was found.
func (x *examination) show(check string) (expected, found any) {
	a := x.authority
	switch check {
	case "form":
		return x.showForm()
	case "introspection":
		return x.showAnswer()
	case "issuer":
		found = x.raw("iss")
		if found == nil && a != nil {
			found = "none, but a subject of the trust domain " + a.domain
		}
		return slices.Sorted(maps.Keys(x.verifier.authorities)), found
	case "algorithm":
		return a.Algorithms, x.parts.header.hint.Algorithm
	case "type":
		return x.showType()
	case "expiry":
		return "exp after " + stamp(x.seconds()-a.leeway) + " (now, less leeway)", x.date("exp")
	case "begin":
		found = fmt.Sprintf("nbf %v, iat %v", x.date("nbf"), x.date("iat"))
		return "nbf and iat, if any, not after " + stamp(x.seconds()+a.leeway) + " (now, plus leeway)", found
	case "lifetime":
		if refusal := x.readDates(); refusal == nil && x.dates.hasIssued && x.dates.hasExpiry {
			found = time.Duration((x.dates.expiry - x.dates.issued) * float64(time.Second)).String()
		}
		if a.MaxLifetime == 0 {
			return "any", found
		}
		return "at most " + a.MaxLifetime.String() + " from iat to exp", found
	case "audience":
		return a.Audiences, x.shownAudience()
	case "binding":
		expected := map[Binding]string{
			BoundOptional: "cnf or none", BoundRequired: "cnf", BoundDPoP: "cnf with jkt", BoundMTLS: "cnf with x5t#S256",
		}[a.Bound]
		if expected == "" && x.claims.present("cnf") {
			return "no cnf", "cnf: the token is for the holder of a key"
		}
		return cmp.Or(expected, "no cnf"), x.raw("cnf")
	case "signature":
		return x.showKey()
	case "subject":
		path := cmp.Or(a.SubjectClaim, "sub")
		if value, ok := x.claims.lookup(path); ok {
			found = plain(value)
		}
		return "a text in " + path, found
	case "still_good":
		return "key and token still good once the key was at hand", nil
	}
	return nil, nil
}

func (x *examination) showForm() (any, any) {
	expected := "a signed JWT in compact form, with no critical extension"
	if len(x.verifier.asked) > 0 {
		expected += ", or a token that an issuer is asked about"
	}
	if x.opaque {
		return expected, "such a token, of the issuer " + x.authority.Name
	}
	if x.parts == nil {
		if parts := strings.Count(x.token, ".") + 1; parts > 1 {
			return expected, fmt.Sprintf("%d parts", parts)
		}
		return expected, "1 part, as opaque tokens have"
	}
	return expected, "such a JWT"
}

func (x *examination) showType() (any, any) {
	expected := "an access token: typ at+jwt, or JWT or none without a mark of another kind"
	if x.authority.AcceptIDTokens {
		expected = "an access token, or one like an ID token"
	}
	if x.authority.TokenType != "" {
		expected = "typ " + x.authority.TokenType
	}
	var found []string
	if typ := x.parts.header.mediaType; typ != "" {
		found = append(found, "typ "+typ)
	}
	for _, one := range x.claims {
		if name := string(one.Name); typeMarks[name] != nil {
			found = append(found, "claim "+name+" "+fmt.Sprint(x.raw(name)))
		}
	}
	return expected, found
}

func (x *examination) shownAudience() any {
	list, ok := jose.Object(x.claims).List("aud")
	switch {
	case ok && len(list) > 0:
		return list
	case x.answer == nil && x.isAskedBesides():
		return "none in the token: the issuer's answer may tell"
	case !x.claims.present("aud") && (x.authority.preset.clientAsAudience || x.clientStandsIn()):
		return fmt.Sprintf("client_id %v", x.raw("client_id"))
	case ok:
		return "none"
	}
	return x.raw("aud")
}

func (x *examination) showKey() (any, any) {
	var expected []string
	if set := x.authority.keys.JWKS(); set != nil {
		for _, key := range set.All() {
			expected = append(expected, key.ID())
		}
	}
	hint := x.parts.header.hint
	if !hint.HasKeyID {
		return expected, "no kid"
	}
	if reason := x.authority.keys.JWKS().Unusable(hint.KeyID); reason != "" {
		return expected, hint.KeyID + ", which the issuer publishes, but which " + reason
	}
	return expected, hint.KeyID
}

// date shows a NumericDate for people.
func (x *examination) date(name string) any {
	seconds, present, ok := jose.Object(x.claims).Date(name)
	if !present {
		return "absent"
	}
	if !ok {
		return x.raw(name)
	}
	return stamp(seconds)
}

// raw shows a top-level claim: a text as it is, anything else as JSON.
func (x *examination) raw(name string) any {
	value, ok := x.claims.get(name)
	if !ok {
		return nil
	}
	return plain(value)
}

func plain(value jsontext.Value) string {
	if s, ok := stringOf(value); ok {
		return s
	}
	return string(value)
}

func stamp(seconds float64) string {
	return time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
}

// HoldRules adds to what was found of a token what a route's rules make of its caller.
// Where the caller is not let in that far, they are not asked.
func (e *Explanation) HoldRules(p *Predicate) {
	for _, check := range p.checks {
		if e.caller == nil {
			e.Rules = append(e.Rules, bound.Rule{Rule: check.name})
			continue
		}
		expected, found := p.show(check.name, e.caller)
		e.add(check.name, check.run(p, e.caller), expected, found)
	}
}

// show says for a rule what is expected and what was found.
func (p *Predicate) show(rule string, caller *Principal) (expected, found any) {
	r := &p.rules
	// Of a line, any word will do.
	alternatives := func(lines [][]string) (list []string) {
		for _, line := range lines {
			list = append(list, strings.Join(line, " or "))
		}
		return list
	}
	switch rule {
	case "route_issuer":
		return r.Issuers, caller.Issuer()
	case "route_audience":
		return r.Audiences, caller.readClaim("aud").list
	case "route_kind":
		if r.ServiceAccount == "only" {
			return string(KindServiceAccount), string(caller.Kind())
		}
		return string(KindUser), string(caller.Kind())
	case "route_group":
		return alternatives(r.Groups), caller.Groups()
	case "route_claim":
		var asked, said []string
		for _, claim := range r.Claims {
			asked = append(asked, claim.Path+" "+strings.Join(claim.Values, " or "))
			said = append(said, claim.Path+" "+shownList(caller.readClaim(claim.Path).list))
		}
		return asked, said
	case "route_acr":
		return r.ACR, shownList(caller.readClaim("acr").list)
	case "route_auth_time":
		expected = fmt.Sprintf("auth_time within %s before %s (now), with leeway", r.AuthenticatedWithin, p.now().UTC().Format(time.RFC3339))
		return expected, "auth_time " + shownList(caller.readClaim("auth_time").list)
	case "route_scope":
		return append(append([]string{}, r.Scopes...), alternatives(r.AnyScopes)...), shownScopes(caller)
	}
	return nil, nil
}

// shownScopes are a caller's scopes; if there are none, it says where they are looked for,
// and where they may be instead.
func shownScopes(caller *Principal) any {
	if scopes := caller.Scopes(); len(scopes) > 0 {
		return scopes
	}
	claims := caller.profile.authority.preset.scopes
	if len(claims) == 0 {
		return "none: the preset reads no scopes"
	}
	found := "none in " + strings.Join(claims, " or ")
	for _, other := range generic.scopes {
		if list := caller.readClaim(other).list; !slices.Contains(claims, other) && len(list) > 0 {
			found += "; the token has " + other + ": " + strings.Join(list, " ")
		}
	}
	return found
}

func shownList(list []string) string {
	if len(list) == 0 {
		return "absent"
	}
	return strings.Join(list, ", ")
}

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

	// Rules are all checks, in the order in which they are made.
	Rules []Rule

	// Claims is the JSON of the claims, or of what the issuer says of the token; nil if
	// they cannot be read.
	Claims jsontext.Value

	caller *Principal // nil: it was not let in so far
}

// Rule is one check of an [Explanation].
type Rule struct {
	// Rule is the check's name: bearer, form, introspection, issuer, algorithm, type,
	// expiry, begin, lifetime, audience, binding, signature, subject, still_good,
	// revocation, kind, scopes (where the issuer has scope_includes), account or sender, one of
	// package bound, or a route's: route_issuer, route_audience, route_kind,
	// route_group, route_claim, route_acr, route_auth_time or route_scope.
	Rule string `json:"rule"`

	// Held tells whether the token stands up to it; nil: it was not asked,
	// because an earlier check had to hold first. The kind never refuses by
	// itself.
	Held *bool `json:"held"`

	// Expected and Found are texts or lists of texts; nil if not known.
	Expected any `json:"expected"`
	Found    any `json:"found"`
}

// Explain holds the verifier's own checks against a token, and then the
// registration's. The first that does not hold decides, as it does in
// [Verifier.Verify]; those of the issuer's policy are all shown, whatever the
// others say. The token does not come into the cache.
func (v *Verifier) Explain(ctx context.Context, token string, registration *Registration) Explanation {
	return v.ExplainSender(ctx, token, registration, nil, nil)
}

// ExplainSender is [Verifier.Explain] of a request with a proof or a certificate: it
// adds the checks of [Verdict.CheckSender]. No proof is used up.
func (v *Verifier) ExplainSender(ctx context.Context, token string, registration *Registration, senders *bound.Checker, q *bound.Request) Explanation {
	x := &examination{verifier: v, ctx: ctx, token: token, now: v.now(), sum: v.prints.of(token)}
	e := Explanation{}
	e.add("bearer", CheckToken(token), fmt.Sprintf("a token of at most %d bytes, of the alphabet of RFC 6750", MaxTokenBytes), fmt.Sprintf("%d bytes", len(token)))
	for i := range checks {
		one := &checks[i]
		if one.of != nil && !one.of(x) {
			continue
		}
		isPolicy := slices.ContainsFunc(policyChecks, func(p check) bool { return p.name == one.name })
		if e.Refusal != nil && (x.authority == nil || x.parts == nil || !isPolicy) {
			e.Rules = append(e.Rules, Rule{Rule: one.name})
			continue
		}
		refusal := one.run(x)
		expected, found := one.shown(x)
		e.add(one.name, refusal, expected, found)
	}
	e.Issuer = x.issuer()
	if x.parts != nil {
		e.Claims = x.shownClaims()
	}
	if e.Refusal != nil {
		e.Rules = append(e.Rules, Rule{Rule: "revocation"}, Rule{Rule: "kind"}, Rule{Rule: "account"})
		e.explainSender(x, senders, q)
		return e
	}
	e.explainRevocation(cmp.Or(x.known, x.made), registration)
	e.explainKind(x.authority, e.Claims)
	e.explainScopes(x.authority, e.Claims)
	e.explainAccount(cmp.Or(x.known, x.made), registration, x.now)
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
		found = fmt.Sprintf("%v: %v", found, refusal.Cause)
	}
	held := refusal == nil
	e.Rules = append(e.Rules, Rule{rule, &held, expected, found})
}

// explainKind says what the caller is by its token, and by what that was told.
func (e *Explanation) explainKind(a *authority, claims jsontext.Value) {
	var expected any
	if machines, persons := a.preset.kindsLookedAt(); machines != "" {
		expected = []string{"a service account by: " + machines, "a user by: " + persons}
	}
	c, _ := parseClaims(claims)
	kind, by := a.kind(c)
	e.add("kind", nil, expected, string(kind)+", by "+by)
}

// explainScopes lists the scopes where the token does not tell all of them by itself.
func (e *Explanation) explainScopes(a *authority, claims jsontext.Value) {
	if len(a.included) == 0 {
		return
	}
	c, _ := parseClaims(claims)
	e.add("scopes", nil, "scopes, and those that they include by scope_includes", a.scopes(c))
}

func (e *Explanation) explainRevocation(token *Token, registration *Registration) {
	if registration.Revocations == nil {
		e.add("revocation", nil, nil, "none")
		return
	}
	e.add("revocation", registration.lookRevoked(token), "none of its subject, session, client or id", registration.showRevoked(token))
}

func (e *Explanation) explainAccount(token *Token, registration *Registration, now time.Time) {
	var refusal *Refusal
	if e.Refusal == nil {
		e.caller, refusal = registration.Admit(token, now)
	}
	expected := "if it is registered, an active account"
	if registration.Required && token.profile.kind != KindUser {
		expected = "an active account, as machines must be registered"
	}
	e.add("account", refusal, expected, registration.shown(token, now))
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
		return expected, "1 part"
	}
	return expected, "such a JWT"
}

func (x *examination) showIssuer() (any, any) {
	found := x.raw("iss")
	if found == nil && x.authority != nil {
		found = "none, but a subject of the trust domain " + x.authority.domain
	}
	return slices.Sorted(maps.Keys(x.verifier.authorities)), found
}

func (x *examination) showAlgorithm() (any, any) {
	return x.authority.Algorithms, x.parts.header.hint.Algorithm
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
		if m := typeMarks[string(one.Name)]; m != nil {
			found = append(found, "claim "+m.name+" "+fmt.Sprint(x.raw(m.name)))
		}
	}
	if claims := x.authority.preset.accessClaims; len(claims) > 0 && !slices.ContainsFunc(claims, x.claims.present) {
		found = append(found, "no claim "+strings.Join(claims, " or ")+", as its access tokens have")
	}
	return expected, found
}

func (x *examination) showExpiry() (any, any) {
	return "exp after " + stamp(x.seconds()-x.authority.leeway) + " (now, less leeway)", x.date("exp")
}

func (x *examination) showBegin() (any, any) {
	found := fmt.Sprintf("nbf %v, iat %v", x.date("nbf"), x.date("iat"))
	return "nbf and iat, if any, not after " + stamp(x.seconds()+x.authority.leeway) + " (now, plus leeway)", found
}

func (x *examination) showLifetime() (any, any) {
	var found any
	if d, refusal := x.claims.dates(); refusal == nil && d.hasIssued && d.hasExpiry {
		found = time.Duration((d.expiry - d.issued) * float64(time.Second)).String()
	}
	if x.authority.MaxLifetime == 0 {
		return "any", found
	}
	return "at most " + x.authority.MaxLifetime.String() + " from iat to exp", found
}

func (x *examination) showAudience() (any, any) {
	if list, ok := jose.Object(x.claims).List("aud"); ok && list != nil {
		return x.authority.Audiences, list
	}
	if x.answer == nil && x.isAskedBesides() {
		return x.authority.Audiences, "none in the token: the issuer's answer may tell"
	}
	if !x.claims.present("aud") && (x.authority.preset.clientAsAudience || x.clientStandsIn()) {
		return x.authority.Audiences, fmt.Sprintf("client_id %v", x.raw("client_id"))
	}
	return x.authority.Audiences, x.raw("aud")
}

func (x *examination) showBinding() (any, any) {
	expected := map[Binding]string{
		BoundOptional: "cnf or none", BoundRequired: "cnf", BoundDPoP: "cnf with jkt", BoundMTLS: "cnf with x5t#S256",
	}[x.authority.Bound]
	if expected == "" && x.claims.present("cnf") {
		return "no cnf", "cnf: the token is for the holder of a key"
	}
	return cmp.Or(expected, "no cnf"), x.raw("cnf")
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

func (x *examination) showSubject() (any, any) {
	path := x.authority.SubjectClaim
	if path == "" {
		path = "sub"
	}
	expected := "a text in " + path
	if value, ok := x.claims.lookup(path); ok {
		return expected, plain(value)
	}
	return expected, nil
}

func (x *examination) showAgain() (any, any) {
	return "key and token still good once the key was at hand", nil
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

func quoted(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

func stamp(seconds float64) string {
	return time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339)
}

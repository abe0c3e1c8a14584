package auth

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/auth/introspection"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// setPrefixes notes who is asked about tokens that are no JWTs, by how they begin.
func (v *Verifier) setPrefixes(issuers []AcceptedIssuer) error {
	var names []string
	var configs []*introspection.Config
	v.asked = make(map[string]*authority)
	for _, accepted := range issuers {
		names, configs = append(names, accepted.Policy.Name), append(configs, accepted.Introspection)
		if accepted.Introspection == nil {
			continue
		}
		prefixes := accepted.Introspection.Prefixes
		if len(prefixes) == 0 {
			prefixes = []string{""} // all that no other prefix fits
		}
		for _, prefix := range prefixes {
			v.asked[prefix] = v.authorities[accepted.Policy.Issuer]
		}
	}
	byLength := func(a, b string) int { return cmp.Compare(len(b), len(a)) }
	v.prefixes = slices.SortedFunc(maps.Keys(v.asked), byLength)
	return introspection.CheckAmong(names, configs)
}

// beginAsking makes the client that asks the issuer, if it is to be asked.
func (v *Verifier) beginAsking(a *authority, accepted AcceptedIssuer) (err error) {
	if accepted.Introspection == nil {
		return nil
	}
	if a.tenants != nil || a.domain != "" {
		return errors.New("introspection: an issuer of several tenants, or of a trust domain, cannot be asked about tokens")
	}
	if a.iss, err = jsontext.AppendQuote(nil, a.Issuer); err != nil {
		return fmt.Errorf("the identifier: %w", err)
	}
	a.introspection = accepted.Introspection
	a.asks, err = introspection.New(*a.introspection, a.keys.Config(), a.keys, introspection.Options{
		Open:  func(ctx context.Context, jws string) ([]byte, error) { return v.open(ctx, a, jws) },
		Count: accepted.Count, Now: v.now,
	})
	if err != nil {
		return fmt.Errorf("introspection: %w", err)
	}
	return nil
}

// Introspection is the client that asks the issuer of that configured name about its
// tokens; nil: it is not asked.
func (v *Verifier) Introspection(issuer string) *introspection.Client {
	for _, a := range v.authorities {
		if a.Name == issuer {
			return a.asks
		}
	}
	return nil
}

// judgeOf gives the issuer that is asked what a token says; nil for what is a JWT, or
// is meant to be one: that says itself who issued it, and is sent to nobody else.
func (v *Verifier) judgeOf(token string) *authority {
	if len(v.asked) == 0 {
		return nil
	}
	// A token with parts, of which the first is a JSON object in base64, is a JWT, or
	// what is left of one, signed or encrypted.
	if head, _, found := strings.Cut(token, "."); found {
		var room [48]byte
		text := urlAlphabet.Replace(head[:min(len(head), base64.RawURLEncoding.EncodedLen(len(room)))])
		n, _ := base64.RawURLEncoding.Decode(room[:], []byte(text)) // what comes before a fault will do
		if strings.HasPrefix(strings.TrimLeft(string(room[:n]), " \t\r\n\ufeff"), "{") {
			return nil
		}
	}
	if !isB64Token(token) {
		return nil
	}
	for _, prefix := range v.prefixes {
		if strings.HasPrefix(token, prefix) {
			return v.asked[prefix]
		}
	}
	return nil
}

var urlAlphabet = strings.NewReplacer("+", "-", "/", "_")

// isAskedBesides tells whether the issuer is asked about the token although it is a
// JWT, as it may have been revoked.
func (x *examination) isAskedBesides() bool {
	return !x.opaque && x.authority != nil && x.authority.introspection != nil && x.authority.introspection.All
}

// clientStandsIn tells whether the client may stand in for an audience that the answer
// does not name: the operator says so, and the answer that it is an access token.
func (x *examination) clientStandsIn() bool {
	return x.answer != nil && x.authority.introspection.ClientAsAudience &&
		(answersAccess(x.claims) && x.claims.present("token_type") || x.parts.header.mediaType == accessTokenType)
}

// ask asks the issuer about the token. An answer that the token is not active, or that
// it is not good, ends what was known of it.
func (x *examination) ask() *Refusal {
	answer, err := x.authority.asks.Ask(x.ctx, x.token, x.stale != nil)
	x.now = x.verifier.now() // that took time
	if err != nil {
		return noAnswer(err)
	}
	x.answer = answer
	if !answer.Active {
		x.verifier.cache.forget(x.stale)
		return ErrInactive
	}
	return nil
}

// noAnswer is the refusal where there is no answer: nobody knows whether the token is
// good.
func noAnswer(err error) *Refusal {
	refusal := ErrNoAnswer.because(err)
	var unavailable *introspection.UnavailableError
	if errors.As(err, &unavailable) {
		refusal.Cause, refusal.RetryAfter = unavailable.Err, unavailable.RetryAfter
	}
	return refusal
}

// askOpaque takes what the issuer says of a token for the token's claims. An answer
// may leave its issuer out (RFC 7662, section 2.2): it is who was asked.
func (x *examination) askOpaque() *Refusal {
	if refusal := x.ask(); refusal != nil {
		return refusal
	}
	x.parts = parseBuffers.Get().(*parseBuffer)
	x.parts.header = header{answered: true}
	x.parts.Payload = x.answer.Claims
	claims, refusal := x.parts.claims()
	if refusal != nil {
		return refusal
	}
	if !claims.present("iss") {
		claims = append(claims, jose.Member{Name: []byte("iss"), Value: x.authority.iss})
	}
	x.claims = claims
	return nil
}

// askBesides asks about a JWT that is good by itself, adds what the issuer says of it,
// and makes the checks of the policy once more.
func (x *examination) askBesides() *Refusal {
	if refusal := x.ask(); refusal != nil {
		return refusal
	}
	answered, ok := parseClaims(x.answer.Claims)
	if !ok {
		return noAnswer(errors.New("the answer cannot be read"))
	}
	merged, err := merge(x.claims, answered)
	if err != nil {
		return noAnswer(err)
	}
	x.claims, x.parts.header.answered = merged, true
	if iss, ok := x.claims.text("iss"); !ok || iss != x.authority.Issuer {
		return ErrIssuer
	}
	return x.run(policyChecks)
}

// merge gives what a token and its issuer's answer say together. The answer goes
// before, but no token lives longer than it says itself, and an answer about somebody
// else, or another key, is none.
func merge(token, answer claimSet) (claimSet, error) {
	merged := slices.Clone(answer)
	for _, claim := range token {
		name := string(claim.Name)
		said, both := answer.get(name)
		switch {
		case !both:
			merged = append(merged, claim)
		case (name == "sub" || name == "jti") && plain(said) != plain(claim.Value):
			return nil, fmt.Errorf("the answer is about another token: its %s differs", name)
		case name == "cnf":
			one, refusal1 := bound.ParseConfirmation(said)
			other, refusal2 := bound.ParseConfirmation(claim.Value)
			if refusal1 != nil || refusal2 != nil || one != other {
				return nil, errors.New("the answer is about another token: its cnf differs")
			}
		case name == "exp":
			ours, _, ok1 := jose.Object(token).Date(name)
			theirs, _, ok2 := jose.Object(answer).Date(name)
			if ok1 && ok2 && ours < theirs {
				merged[slices.IndexFunc(merged, func(m jose.Member) bool { return string(m.Name) == name })] = claim
			}
		}
	}
	return merged, nil
}

// open verifies a signed answer by the issuer's keys, as a token is verified, and gives
// its payload (RFC 9701, section 5). Errors go on from "the answer".
func (v *Verifier) open(ctx context.Context, a *authority, jws string) ([]byte, error) {
	parts := parseBuffers.Get().(*parseBuffer)
	defer parseBuffers.Put(parts)
	if refusal := parts.takeApart(jws); refusal != nil {
		return nil, fmt.Errorf("is no signed JWT: %w", refusal)
	}
	if parts.header.mediaType != signedAnswerType {
		return nil, fmt.Errorf("has another typ than %s", signedAnswerType)
	}
	x := &examination{verifier: v, ctx: ctx, authority: a, parts: parts, sum: v.fingerprint(jws)}
	refusal := x.checkAlgorithm()
	if refusal == nil {
		refusal = x.findKey()
	}
	if refusal != nil {
		return nil, fmt.Errorf("is not signed as it must be: %w", cmp.Or(refusal.Cause, error(refusal)))
	}
	return slices.Clone(parts.Payload), nil
}

// signedAnswerType is the typ of signed answers (RFC 9701, section 5).
const signedAnswerType = "token-introspection+jwt"

// showAnswer says who was asked and what came back, for an explanation. No refusal
// holds the token.
func (x *examination) showAnswer() (any, any) {
	as := x.authority.introspection.ClientID
	if x.answer == nil {
		return "an answer of the issuer, asked as " + as, "no answer"
	}
	expected := "active, by " + x.answer.Endpoint + ", asked as " + as
	if !x.answer.Active {
		return expected, "not active"
	}
	return expected, "active, in " + x.answer.Took.Round(time.Millisecond).String()
}

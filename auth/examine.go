package auth

import (
	"context"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// examination is a token on its way through the checks, with what they found
// so far.
type examination struct {
	verifier *Verifier
	ctx      context.Context
	token    string
	sum      fingerprint
	now      time.Time

	desk      *desk
	parts     *compact
	claims    claimSet
	authority *authority
	key       *issuer.Key
	known     *Token // by a request that was faster
	made      *Token
}

// check is one thing that a token must stand up to.
type check struct {
	name  string
	run   func(*examination) *Refusal
	shown func(*examination) (expected, found any) // for [Verifier.Explain]
}

// checks are all of them, in the order in which they are made: what cannot pass
// costs no cryptography, and the signature comes last, as it costs most. The
// verifier and its explanations go through this one list.
var checks = slices.Concat(
	[]check{
		{"form", (*examination).takeApart, (*examination).showForm},
		{"issuer", (*examination).pickIssuer, (*examination).showIssuer},
	},
	policyChecks,
	[]check{
		{"signature", (*examination).findKey, (*examination).showKey},
		{"subject", (*examination).describe, (*examination).showSubject},
		{"still_good", (*examination).lookAgain, (*examination).showAgain},
	},
)

// policyChecks hold everything about a token but its signature against the
// issuer's policy. None depends on another.
var policyChecks = []check{
	{"algorithm", func(x *examination) *Refusal { return x.authority.checkAlgorithm(&x.parts.header) }, (*examination).showAlgorithm},
	{"type", func(x *examination) *Refusal { return x.authority.checkType(&x.parts.header, x.claims) }, (*examination).showType},
	{"expiry", func(x *examination) *Refusal { return x.authority.checkExpiry(x.claims, x.seconds()) }, (*examination).showExpiry},
	{"begin", func(x *examination) *Refusal { return x.authority.checkBegin(x.claims, x.seconds()) }, (*examination).showBegin},
	{"lifetime", func(x *examination) *Refusal { return x.authority.checkLifetime(x.claims) }, (*examination).showLifetime},
	{"audience", func(x *examination) *Refusal { return x.authority.checkAudience(x.claims) }, (*examination).showAudience},
	{"binding", func(x *examination) *Refusal { return checkBinding(x.claims) }, (*examination).showBinding},
}

// pass gives the first refusal of the checks, or nil. It leaves nothing on the
// desk: what was found of the token is in known or made by then.
func (x *examination) pass(checks []check) *Refusal {
	defer x.clear()
	for i := range checks {
		if refusal := checks[i].run(x); refusal != nil {
			return refusal
		}
	}
	return nil
}

// clear lets the desk be used again.
func (x *examination) clear() {
	if x.desk != nil {
		desks.Put(x.desk)
		x.desk, x.parts, x.claims = nil, nil, nil
	}
}

func (x *examination) seconds() float64 { return float64(x.now.UnixNano()) / float64(time.Second) }

// issuer is the configured name of the issuer that the token claims.
func (x *examination) issuer() string {
	if x.authority == nil {
		return ""
	}
	return x.authority.Name
}

// takeApart is the first to look at the token itself, and so answers for its
// alphabet, too: what could be decoded is of base64url and dots, so only what
// could not needs to be looked at byte by byte.
func (x *examination) takeApart() *Refusal {
	x.desk = desks.Get().(*desk)
	parts, refusal := x.desk.takeApart(x.token)
	if refusal == ErrNotJWS && !isB64Token(x.token) {
		return ErrMalformedHeader
	}
	if refusal != nil {
		return refusal
	}
	claims, ok := x.desk.claims()
	if !ok {
		return badJSON(parts.Payload)
	}
	x.parts, x.claims = parts, claims
	return nil
}

func (x *examination) pickIssuer() *Refusal {
	identifier, ok := x.claims.text("iss")
	if !ok {
		return ErrMalformedClaims
	}
	if x.authority = x.verifier.authorities[identifier]; x.authority == nil {
		return x.verifier.unknownIssuer(identifier)
	}
	return nil
}

// findKey lets the signature decide. Requests with the same new token share one
// verification.
func (x *examination) findKey() (refusal *Refusal) {
	x.key, refusal = x.verifier.signedBy(x.ctx, x.authority, x.parts, x.sum)
	return refusal
}

// describe reads who the caller is, now that the token is believed.
func (x *examination) describe() *Refusal {
	x.now = x.verifier.now() // waiting for a key takes time
	if x.known = x.verifier.cache.find(x.sum, x.now.Unix()); x.known != nil {
		return nil
	}
	x.made = &Token{sum: x.sum}
	return x.authority.describe(x.made, &x.parts.header, x.claims, x.key)
}

// lookAgain looks at what may have changed while the key was waited for.
func (x *examination) lookAgain() *Refusal {
	if x.known != nil {
		return nil
	}
	if !x.key.Trusted() {
		return ErrUnknownKey
	}
	if !x.made.holds(x.now.Unix()) {
		return ErrExpired
	}
	return nil
}

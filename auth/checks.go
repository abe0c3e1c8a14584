package auth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/introspection"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// examination is a token on its way through the checks, with what they found
// so far.
type examination struct {
	verifier *Verifier
	ctx      context.Context
	token    string
	sum      fingerprint
	now      time.Time

	parts     *parseBuffer // nil unless it has the form of a token
	claims    claimSet
	authority *authority
	key       *issuer.Key
	known     *Token // by a request that was faster
	made      *Token

	// dates are the claims of RFC 7519, sections 4.1.4 to 4.1.6, in Unix seconds.
	dates struct {
		expiry, notBefore, issued          float64
		hasExpiry, hasNotBefore, hasIssued bool
	}

	opaque bool                  // it is no JWT: the authority is asked what it says
	stale  *Token                // what the token was when its issuer was last asked; nil: it was not
	answer *introspection.Answer // of the issuer; nil: it was not asked, or there was none
}

// check is one thing that a token must stand up to.
type check struct {
	name string // [examination.show] knows it, too
	run  func(*examination) *Refusal
	of   func(*examination) bool // whether it is a check of this token; nil: of every token
}

// checks are all of them, in the order in which they are made: what cannot pass
// costs no cryptography, and the signature comes last, as it costs most. The
// verifier and its explanations go through this one list.
var checks = slices.Concat(
	[]check{
		{"form", (*examination).takeApart, nil},
		{"introspection", (*examination).askOpaque, func(x *examination) bool { return x.opaque }},
		{"issuer", (*examination).pickIssuer, nil},
	},
	policyChecks,
	[]check{
		{"signature", (*examination).findKey, func(x *examination) bool { return !x.opaque }},
		{"introspection", (*examination).askBesides, (*examination).isAskedBesides},
		{"subject", (*examination).describe, nil},
		{"still_good", func(x *examination) *Refusal { // what may have changed while the key was waited for
			switch {
			case x.known != nil:
				return nil
			case !x.opaque && !x.key.Trusted():
				return ErrUnknownKey
			case !x.made.holds(x.now.Unix()):
				return ErrExpired
			}
			return nil
		}, nil},
	},
)

// policyChecks hold everything about a token but its signature against the
// issuer's policy. None depends on another.
var policyChecks = []check{
	{"algorithm", (*examination).checkAlgorithm, func(x *examination) bool { return !x.opaque }},
	{"type", func(x *examination) *Refusal {
		return x.authority.checkType(&x.parts.header, x.claims, x.authority.AcceptIDTokens)
	}, nil},
	{"expiry", func(x *examination) *Refusal {
		switch refusal := x.readDates(); {
		case refusal != nil:
			return refusal
		case !x.dates.hasExpiry:
			return ErrNoExpiry
		case x.seconds() >= math.Floor(x.dates.expiry)+x.authority.leeway:
			return ErrExpired
		}
		return nil
	}, nil},
	{"begin", func(x *examination) *Refusal { // nbf and iat are honored where they are there
		now := x.seconds() + x.authority.leeway
		switch refusal := x.readDates(); {
		case refusal != nil:
			return refusal
		case x.dates.hasNotBefore && now < x.dates.notBefore, x.dates.hasIssued && now < x.dates.issued:
			return ErrNotYetValid
		}
		return nil
	}, nil},
	{"lifetime", func(x *examination) *Refusal {
		if x.authority.MaxLifetime <= 0 {
			return nil
		}
		switch refusal := x.readDates(); {
		case refusal != nil:
			return refusal
		case !x.dates.hasIssued, x.dates.expiry-x.dates.issued > x.authority.MaxLifetime.Seconds():
			return ErrLifetime
		}
		return nil
	}, nil},
	{"audience", (*examination).checkAudience, nil},
	{"binding", func(x *examination) *Refusal { return x.authority.checkBinding(x.claims) }, nil},
}

// run gives the first refusal of the checks, or nil.
func (x *examination) run(checks []check) *Refusal {
	for i := range checks {
		if of := checks[i].of; of != nil && !of(x) {
			continue
		}
		if refusal := checks[i].run(x); refusal != nil {
			return refusal
		}
	}
	return nil
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
	if x.authority = x.verifier.judgeOf(x.token); x.authority != nil {
		x.opaque = true
		return nil
	}
	parts := parseBuffers.Get().(*parseBuffer)
	refusal := parts.takeApart(x.token)
	if refusal == nil {
		x.claims, refusal = parts.claims()
	} else if refusal == ErrNotJWS && !isB64Token(x.token) {
		refusal = ErrMalformedHeader
	}
	if refusal != nil {
		parseBuffers.Put(parts)
		return refusal
	}
	x.parts = parts
	return nil
}

// pickIssuer refuses a token of an issuer that is not configured, and tells the
// operator if only the slash at the end or the scheme differs, which are usual slips.
func (x *examination) pickIssuer() *Refusal {
	identifier, ok := x.claims.text("iss")
	switch {
	case !ok:
		return ErrMalformedClaims
	case x.opaque && identifier != x.authority.Issuer:
		return ErrIssuer
	case x.opaque:
		return nil
	}
	var refusal *Refusal
	if x.authority, refusal = x.verifier.authorityOf(identifier, x.claims); x.authority != nil {
		if x.authority.tenants != nil {
			x.parts.header.hint.Issuer = identifier
		}
		return refusal
	}
	if twin := slashTwin(identifier); x.verifier.authorities[twin] != nil {
		return ErrIssuer.because(fmt.Errorf("it differs from the configured issuer %q by the slash at the end only", twin))
	}
	if twin := schemeTwin(identifier); x.verifier.authorities[twin] != nil {
		return ErrIssuer.because(fmt.Errorf("it differs from the configured issuer %q by the scheme only", twin))
	}
	// Workloads may have an issuer beside the trust domain that says whose they are.
	subject, _ := x.claims.text("sub")
	if a := x.verifier.domains[trustDomainOf(subject)]; a != nil {
		return ErrIssuer.because(fmt.Errorf(
			"its iss is not configured, though its subject is of the trust domain %s: make iss the identifier of the issuer, with `trust_domain %s`", a.domain, a.domain))
	}
	return ErrIssuer
}

// slashTwin is the same text with a slash at the end, or without the one it has.
func slashTwin(s string) string {
	if without, found := strings.CutSuffix(s, "/"); found {
		return without
	}
	return s + "/"
}

// schemeTwin is the same address with http for https, or the other way round.
func schemeTwin(s string) string {
	if rest, found := strings.CutPrefix(s, "http://"); found {
		return "https://" + rest
	}
	return "http://" + strings.TrimPrefix(s, "https://")
}

// describe reads who the caller is, now that the token is believed.
func (x *examination) describe() *Refusal {
	x.now = x.verifier.now() // waiting for a key takes time
	if x.known = x.verifier.cache.find(x.sum, x.now.Unix()); x.known != nil && x.known.isFresh(x.now.Unix()) {
		return nil
	}
	x.known, x.made = nil, &Token{sum: x.sum, vouched: x.opaque}
	if x.answer != nil {
		x.made.fresh = x.authority.introspection.ServesUntil(x.answer).Unix()
	}
	return x.authority.describe(x.made, &x.parts.header, x.claims, x.key)
}

func (x *examination) checkAlgorithm() *Refusal {
	if !slices.Contains(x.authority.Algorithms, x.parts.header.hint.Algorithm) {
		return ErrAlgorithm
	}
	return nil
}

// readDates reads the dates out of the claims, which the issuer's answer may add to.
func (x *examination) readDates() *Refusal {
	d := &x.dates
	var ok1, ok2, ok3 bool
	d.expiry, d.hasExpiry, ok1 = jose.Object(x.claims).Date("exp")
	d.notBefore, d.hasNotBefore, ok2 = jose.Object(x.claims).Date("nbf")
	d.issued, d.hasIssued, ok3 = jose.Object(x.claims).Date("iat")
	if !ok1 || !ok2 || !ok3 {
		return ErrMalformedClaims
	}
	return nil
}

// errNoAudience is for a token that no `audience` would let in.
var errNoAudience = ErrAudience.because(errors.New(
	"the token has no aud: have the issuer name your gateway in it; access tokens of Amazon Cognito have none, write `preset cognito` for them"))

func (x *examination) checkAudience() *Refusal {
	a := x.authority
	audiences, ok := jose.Object(x.claims).List("aud")
	if !ok {
		return ErrMalformedClaims
	}
	if containsAny(audiences, a.Audiences) {
		return nil
	}
	if audiences == nil && x.answer == nil && x.isAskedBesides() {
		return nil // the answer may tell
	}
	if audiences != nil || !a.preset.clientAsAudience && !x.clientStandsIn() {
		if audiences == nil && x.answer == nil {
			return errNoAudience
		}
		for _, configured := range a.Audiences {
			if slices.Contains(audiences, slashTwin(configured)) {
				return ErrAudience.because(fmt.Errorf("it differs from the configured audience %q by the slash at the end only", configured))
			}
		}
		return ErrAudience
	}
	client, ok := x.claims.text("client_id")
	if !ok {
		return ErrMalformedClaims
	}
	if len(a.Audiences) > 0 && !slices.Contains(a.Audiences, client) {
		return ErrAudience
	}
	return nil
}

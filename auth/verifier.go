package auth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// VerifierConfig says whose tokens a [Verifier] accepts.
type VerifierConfig struct {
	// Issuers whose tokens are accepted; identifiers and names must differ.
	Issuers []AcceptedIssuer

	// Remember is how many verified tokens are remembered; 0 means none.
	Remember int

	// Attach, if set, is called once for each principal, and what it gives can
	// be had from [Principal.Attached] with every request of that token.
	Attach func(*Principal) any

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// AcceptedIssuer is an issuer's policy together with its keys.
type AcceptedIssuer struct {
	Policy Policy
	Keys   *issuer.Engine
}

// Verifier verifies bearer tokens and remembers those that were good. It is
// safe for concurrent use; a remembered token costs no lock, no allocation and
// no cryptography but its fingerprint.
type Verifier struct {
	authorities map[string]*authority
	memory      *memory
	prints      *fingerprinter
	flights     [64]singleflight.Group
	attach      func(*Principal) any
	now         func() time.Time
}

// NewVerifier checks the policies and makes a verifier of them.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	prints, err := newFingerprinter()
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		authorities: make(map[string]*authority, len(cfg.Issuers)),
		memory:      newMemory(cfg.Remember),
		prints:      prints,
		attach:      cfg.Attach,
		now:         cfg.Now,
	}
	if v.now == nil {
		v.now = time.Now
	}
	names := make(map[string]string, len(cfg.Issuers))
	for _, accepted := range cfg.Issuers {
		a, err := newAuthority(accepted.Policy, accepted.Keys)
		if err != nil {
			return nil, fmt.Errorf("issuer %q: %w", accepted.Policy.Issuer, err)
		}
		if _, twice := v.authorities[a.Issuer]; twice {
			return nil, fmt.Errorf("issuer %q is configured twice", a.Issuer)
		}
		if other, twice := names[a.Name]; twice {
			return nil, fmt.Errorf("issuers %q and %q are both named %q: give one of them another name", other, a.Issuer, a.Name)
		}
		v.authorities[a.Issuer], names[a.Name] = a, a.Issuer
	}
	return v, nil
}

// Verdict is what became of a token.
type Verdict struct {
	// Principal is the caller; nil if the token was refused.
	Principal *Principal

	// Refusal says why the token is not good; nil if it is.
	Refusal *Refusal

	// Issuer is the configured name of the issuer that the token claims; empty
	// if it is none of them. Of a refused token it is no more than a claim.
	Issuer string

	// Remembered tells that the token had been verified before.
	Remembered bool
}

// Verify tells whose token it is. It waits only for keys that are not at hand,
// 5 seconds at most or until ctx ends.
func (v *Verifier) Verify(ctx context.Context, token string) Verdict {
	if len(token) > MaxTokenBytes {
		return Verdict{Refusal: ErrTooLong}
	}
	now := v.now()
	sum := v.prints.of(token)
	if r := v.memory.find(sum, now.Unix()); r != nil {
		return Verdict{Principal: r.principal, Issuer: r.principal.issuer, Remembered: true}
	}
	return v.verifyNew(ctx, token, sum, now)
}

// Remembered is how many tokens are remembered now.
func (v *Verifier) Remembered() int { return v.memory.len() }

// verifyNew verifies a token that is not remembered: form, issuer, claims, key,
// and the signature last, as it costs most.
func (v *Verifier) verifyNew(ctx context.Context, token string, sum fingerprint, now time.Time) Verdict {
	parts, refusal := parseCompact(token)
	if refusal != nil {
		return Verdict{Refusal: refusal}
	}
	claims, ok := parseClaims(parts.payload)
	if !ok {
		return Verdict{Refusal: ErrNotJWS}
	}
	name, ok := claims.text("iss")
	if !ok {
		return Verdict{Refusal: ErrMalformedClaims}
	}
	a, ok := v.authorities[name]
	if !ok {
		return Verdict{Refusal: ErrIssuer}
	}
	verdict := Verdict{Issuer: a.Name}
	seconds := float64(now.UnixNano()) / float64(time.Second)
	if verdict.Refusal = a.check(&parts.header, claims, seconds); verdict.Refusal != nil {
		return verdict
	}
	principal, refusal := a.principal(claims, parts.payload)
	if refusal != nil {
		verdict.Refusal = refusal
		return verdict
	}
	verdict.Principal, verdict.Refusal = v.authenticate(ctx, a, parts, sum, principal)
	return verdict
}

// authenticate lets the signature decide whether the principal is who the
// token says, and remembers it. Requests with the same new token share one
// verification.
func (v *Verifier) authenticate(ctx context.Context, a *authority, parts *compact, sum fingerprint, claimed *Principal) (*Principal, *Refusal) {
	key, refusal := v.signedBy(ctx, a, parts, sum)
	if refusal != nil {
		return nil, refusal
	}
	if !key.Trusted() {
		return nil, ErrUnknownKey
	}
	now := v.now().Unix()
	if r := v.memory.find(sum, now); r != nil {
		return r.principal, nil
	}
	if v.attach != nil {
		claimed.attached = v.attach(claimed)
	}
	v.memory.add(&remembered{sum: sum, key: key, principal: claimed}, now)
	return claimed, nil
}

// signedBy finds the issuer's key that signed the token. A key id that is not
// known, or a token without one that no key signed, waits once for the issuer's
// current set. What fails under a known key id does not wait, but has the set
// fetched in the background in case the key was replaced.
func (v *Verifier) signedBy(ctx context.Context, a *authority, parts *compact, sum fingerprint) (*issuer.Key, *Refusal) {
	before := a.keys.Set()
	candidates, known := parts.header.candidates(before)
	if key := v.verifySignature(candidates, parts, sum); key != nil {
		return key, nil
	}
	if known {
		a.keys.Suspect()
		if len(candidates) == 0 {
			return nil, ErrAlgorithm
		}
		return nil, ErrSignature
	}
	set, err := a.keys.Await(ctx, func(s *issuer.Set) bool {
		fitting, _ := parts.header.candidates(s)
		return s != before && len(fitting) > 0
	})
	if err != nil {
		return nil, keyRefusal(err, len(candidates) > 0)
	}
	candidates, _ = parts.header.candidates(set)
	if key := v.verifySignature(candidates, parts, sum); key != nil {
		return key, nil
	}
	return nil, ErrSignature
}

// maxCandidates bounds how many keys are tried for one token.
const maxCandidates = 8

// candidates are the keys of a set that may have signed the token: those that
// fit its algorithm and, if it names a key id, have it. Known tells that the
// set holds a key of that id, fitting or not.
func (h *header) candidates(set *issuer.Set) (fitting []*issuer.Key, known bool) {
	if set == nil {
		return nil, false
	}
	keys := set.All()
	if h.KeyID != nil {
		keys = set.Find(*h.KeyID)
		known = len(keys) > 0
	}
	for _, key := range keys {
		if key.Fits(h.Algorithm) && len(fitting) < maxCandidates {
			fitting = append(fitting, key)
		}
	}
	return fitting, known
}

// verifySignature gives the first of the keys under which the signature holds,
// or nil. Requests with the same token share one attempt; one that failed may
// have been made with other keys, so it convinces only who made it.
func (v *Verifier) verifySignature(keys []*issuer.Key, parts *compact, sum fingerprint) *issuer.Key {
	if len(keys) == 0 {
		return nil
	}
	flight := &v.flights[int(sum[0])%len(v.flights)]
	found, _, shared := flight.Do(string(sum[:]), func() (any, error) {
		return parts.verify(keys), nil
	})
	if key := found.(*issuer.Key); key != nil || !shared {
		return key
	}
	return parts.verify(keys)
}

// verify tries the keys one by one.
func (c *compact) verify(keys []*issuer.Key) *issuer.Key {
	verifier := verifiers[c.header.Algorithm]
	for _, key := range keys {
		if verifier.Verify([]byte(c.signed), c.signature, key.Public()) == nil {
			return key
		}
	}
	return nil
}

// keyRefusal turns the reason why a key could not be had into a refusal. Where
// keys had been tried before, a good answer without news means that none of
// them signed the token.
func keyRefusal(err error, tried bool) *Refusal {
	if errors.Is(err, issuer.ErrUnknownKey) {
		if tried {
			return ErrSignature
		}
		return ErrUnknownKey
	}
	refusal := *ErrKeysUnavailable
	refusal.Cause = err
	refusal.RetryAfter = 5 * time.Second
	var unavailable *issuer.UnavailableError
	if errors.As(err, &unavailable) && unavailable.RetryAfter > 0 {
		refusal.RetryAfter = unavailable.RetryAfter
	}
	return &refusal
}

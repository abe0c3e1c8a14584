// Package auth answers one question: who is calling, and may they?
//
// It verifies bearer tokens of configured issuers ([Verifier] gives a [Token]),
// joins what they say with what is registered ([Registration] gives a
// [Principal]), holds a route's rules against that caller ([Rules]) and words the
// refusal ([Refusal], [Challenge]).
//
// Tokens are signed JWTs (RFC 7519) in JWS compact serialization (RFC 7515,
// section 7.1), presented as bearer tokens (RFC 6750), verified as RFC 8725
// advises and, where an issuer says so, as RFC 9068 profiles them. Of issuers that are
// asked about their tokens (RFC 7662) they may be of any form.
//
// What an issuer publishes (metadata, key set) is kept by the sub-package
// issuer, and asked by introspection. Nothing here knows Caddy, HTTP routing, logs or metrics: callers
// bring a clock, a storage and plain callbacks.
package auth

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gatehouse-proxy/gatehouse/auth/introspection"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// VerifierConfig says whose tokens a [Verifier] accepts.
type VerifierConfig struct {
	// Issuers whose tokens are accepted; identifiers and names must differ.
	Issuers []AcceptedIssuer

	// CacheBytes is how much memory the verified tokens may take that are kept,
	// so that each is verified once; 0 means none. Go's garbage collector usually
	// lets as much again wait to be collected.
	CacheBytes int64

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// AcceptedIssuer is an issuer's policy together with its keys.
type AcceptedIssuer struct {
	Policy Policy
	Keys   *issuer.Engine

	// Introspection says how the issuer is asked about its tokens; nil: it is not.
	Introspection *introspection.Config

	// Count is called for each question; nil: nothing is counted.
	Count func(introspection.Outcome, time.Duration)
}

// Verifier verifies bearer tokens and keeps those that were good in a cache. It is
// safe for concurrent use; a token of the cache costs no allocation and no
// cryptography but its fingerprint.
type Verifier struct {
	authorities map[string]*authority // by identifier
	tenanted    []*authority          // those that stand for several tenants
	domains     map[string]*authority // by trust domain
	asked       map[string]*authority // about tokens that are no JWTs, by a prefix
	prefixes    []string              // of asked, the longest first
	cache       *cache
	fingerprint func(token string) fingerprint
	attempts    [64]singleflight.Group // to verify a signature
	now         func() time.Time
}

// NewVerifier checks the policies and makes a verifier of them.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	if cfg.CacheBytes < 0 {
		return nil, fmt.Errorf("bytes of the cache: found %d, expected 0 or more", cfg.CacheBytes)
	}
	fingerprint, err := newFingerprinter()
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		authorities: make(map[string]*authority, len(cfg.Issuers)),
		domains:     make(map[string]*authority),
		fingerprint: fingerprint,
		now:         cfg.Now,
	}
	if v.now == nil {
		v.now = time.Now
	}
	v.cache = newCache(cfg.CacheBytes, v.now)
	policies := make([]Policy, 0, len(cfg.Issuers))
	for _, accepted := range cfg.Issuers {
		policies = append(policies, accepted.Policy)
	}
	if err := CheckDistinct(policies); err != nil {
		return nil, err
	}
	for _, accepted := range cfg.Issuers {
		a, err := newAuthority(accepted.Policy, accepted.Keys)
		if err == nil {
			err = v.beginAsking(a, accepted)
		}
		if err != nil {
			return nil, fmt.Errorf("issuer %q: %w", accepted.Policy.Issuer, err)
		}
		if other := v.domains[a.domain]; other != nil {
			return nil, fmt.Errorf("issuers %q and %q have the same trust domain %s", other.Issuer, a.Issuer, a.domain)
		}
		if a.domain != "" {
			v.domains[a.domain] = a
		}
		if a.tenants != nil {
			v.tenanted = append(v.tenanted, a)
		}
		v.authorities[a.Issuer] = a
	}
	if err := v.setPrefixes(cfg.Issuers); err != nil {
		return nil, err
	}
	return v, nil
}

// Close ends the questions to issuers that are under way.
func (v *Verifier) Close() error {
	for _, a := range v.authorities {
		if a.asks != nil {
			_ = a.asks.Close() // never fails
		}
	}
	return nil
}

// Verdict is what became of a token.
type Verdict struct {
	// Token is what the token says; nil if it was refused.
	Token *Token

	// Refusal says why the token is not good; nil if it is.
	Refusal *Refusal

	// Issuer is the configured name of the issuer that the token claims; empty
	// if it is none of them. Of a refused token it is no more than a claim.
	Issuer string

	// Cached tells that the token had been verified before.
	Cached bool

	// At is when the token was looked at; with a good one, when it was found to
	// be still good.
	At time.Time

	// Took is how long verifying the token took, with any wait for keys and for the
	// issuer's answer; zero for a cached one.
	Took time.Duration

	// Nonce is for a DPoP-Nonce header beside the answer; empty: none.
	Nonce string

	bound *Token // which is good, if its sender holds its key
}

// Verify tells whose bearer token it is. It waits only for keys that are not at hand,
// and for the issuer's answer about the token, each 5 seconds at most or until ctx ends. A token that is bound to a key is refused with
// [ErrBound], however good it is: [Verdict.CheckSender] may let it in.
func (v *Verifier) Verify(ctx context.Context, token string) Verdict {
	verdict := v.verify(ctx, token)
	if t := verdict.Token; t != nil && t.bound {
		verdict.Token, verdict.bound, verdict.Refusal = nil, t, ErrBound
	}
	return verdict
}

func (v *Verifier) verify(ctx context.Context, token string) Verdict {
	if len(token) > MaxTokenBytes {
		return Verdict{Refusal: ErrTooLong}
	}
	now := v.now()
	sum := v.fingerprint(token)
	known := v.cache.find(sum, now.Unix())
	if known != nil && known.isFresh(now.Unix()) {
		if int(known.planned) < len(known.profile.authority.plan.list()) {
			known = known.extended()
			v.cache.add(known)
		}
		return Verdict{Token: known, Issuer: known.Issuer(), Cached: true, At: now}
	}
	began := time.Now()
	x := &examination{verifier: v, ctx: ctx, token: token, sum: sum, now: now, stale: known}
	refusal := x.run(checks)
	if x.parts != nil { // what was found of the token is in known or made by now
		if x.opaque {
			x.parts.Payload = nil // it is the answer's
		}
		parseBuffers.Put(x.parts)
		x.parts, x.claims = nil, nil
	}
	verdict := Verdict{Refusal: refusal, Issuer: x.issuer(), At: x.now}
	if refusal == nil {
		verdict.Token = cmp.Or(x.known, x.made)
		if x.known == nil {
			v.cache.add(x.made)
		}
	}
	verdict.Took = time.Since(began)
	return verdict
}

// Cached is how many tokens are in the cache now, and the bytes that they take.
func (v *Verifier) Cached() (tokens int, bytes int64) {
	c := v.cache
	if c == nil {
		return 0, 0
	}
	for i := range c.shards {
		c.shards[i].mu.RLock()
		tokens += len(c.shards[i].tokens)
		c.shards[i].mu.RUnlock()
	}
	return tokens, c.used.Load()
}

// UnclearCallers counts the tokens that were verified of an issuer's callers of
// whom nothing says whether they are people or machines, by the issuer's configured
// name.
func (v *Verifier) UnclearCallers(issuer string) uint64 {
	for _, a := range v.authorities {
		if a.Name == issuer {
			return a.unclearSeen.Load()
		}
	}
	return 0
}

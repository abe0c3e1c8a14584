package auth

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// VerifierConfig says whose tokens a [Verifier] accepts.
type VerifierConfig struct {
	// Issuers whose tokens are accepted; identifiers and names must differ.
	Issuers []AcceptedIssuer

	// Remember is how many verified tokens are remembered, [MaxRemember] at
	// most; 0 means none, and that nothing is [SetAside].
	Remember int

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// MaxRemember is the largest number of tokens to remember: they would take some
// 8 GB, and as much again for garbage.
const MaxRemember = 20_000_000

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
	now         func() time.Time
}

// NewVerifier checks the policies and makes a verifier of them.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	if cfg.Remember < 0 || cfg.Remember > MaxRemember {
		return nil, fmt.Errorf("tokens to remember: found %d, expected 0 to %d", cfg.Remember, MaxRemember)
	}
	prints, err := newFingerprinter()
	if err != nil {
		return nil, err
	}
	v := &Verifier{
		authorities: make(map[string]*authority, len(cfg.Issuers)),
		memory:      newMemory(cfg.Remember),
		prints:      prints,
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
	// Token is what the token says; nil if it was refused.
	Token *Token

	// Refusal says why the token is not good; nil if it is.
	Refusal *Refusal

	// Issuer is the configured name of the issuer that the token claims; empty
	// if it is none of them. Of a refused token it is no more than a claim.
	Issuer string

	// Remembered tells that the token had been verified before.
	Remembered bool

	// At is when the token was looked at; with a good one, when it was found to
	// be still good.
	At time.Time

	// Took is how long verifying the token took, with any wait for keys; zero
	// for a remembered one.
	Took time.Duration
}

// Verify tells whose token it is. It waits only for keys that are not at hand,
// 5 seconds at most or until ctx ends.
func (v *Verifier) Verify(ctx context.Context, token string) Verdict {
	if len(token) > MaxTokenBytes {
		return Verdict{Refusal: ErrTooLong}
	}
	now := v.now()
	sum := v.prints.of(token)
	if known := v.memory.find(sum, now.Unix()); known != nil {
		return Verdict{Token: known, Issuer: known.Issuer(), Remembered: true, At: now}
	}
	began := time.Now()
	verdict := v.verifyNew(ctx, token, sum, now)
	verdict.Took = time.Since(began)
	return verdict
}

// Remembered is how many tokens are remembered now.
func (v *Verifier) Remembered() int { return v.memory.len() }

// verifyNew verifies a token that is not remembered.
func (v *Verifier) verifyNew(ctx context.Context, token string, sum fingerprint, now time.Time) Verdict {
	x := &examination{verifier: v, ctx: ctx, token: token, sum: sum, now: now}
	refusal := x.pass(checks)
	verdict := Verdict{Refusal: refusal, Issuer: x.issuer(), At: x.now}
	if refusal != nil {
		return verdict
	}
	if x.known == nil {
		x.known = x.made
		v.memory.add(x.made, x.now.Unix())
	}
	verdict.Token = x.known
	return verdict
}

// unknownIssuer refuses a token of an issuer that is not configured, and tells
// the operator if only the slash at the end differs, which is the usual slip.
func (v *Verifier) unknownIssuer(name string) *Refusal {
	twin, hadSlash := strings.CutSuffix(name, "/")
	if !hadSlash {
		twin = name + "/"
	}
	a, ok := v.authorities[twin]
	if !ok {
		return ErrIssuer
	}
	refusal := *ErrIssuer
	refusal.Cause = fmt.Errorf("it differs from the configured issuer %q by the slash at the end only", a.Issuer)
	return &refusal
}

// Package bound decides whether who sends a token holds the key that the token is
// bound to: by a DPoP proof (RFC 9449), by the certificate of a TLS client (RFC
// 8705), or by both, as the token's cnf claim asks (RFC 7800).
//
// A [Checker] is asked for each request, after the token was verified or found in a
// cache: what is known of a token says nothing about a proof. It asks nobody
// outside the process. Proofs that were taken are kept in [Replays] for as long as
// they would be good, so that none is taken twice; where a token may be used at
// several nodes, [Nonces] make a proof good at one of them only.
//
// What a token says beside cnf, and how refusals are worded in a challenge, is for
// the callers.
package bound

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Config says what a [Checker] asks of proofs.
type Config struct {
	// Algorithms that proofs may be signed by; empty means all of
	// [jose.Algorithms].
	Algorithms []string

	// MaxAge is how long ago a proof may have been made; 0 means [DefaultMaxAge].
	MaxAge time.Duration

	// Replays remembers the proofs that were taken.
	Replays *Replays

	// Nonces are asked for in each proof; nil asks for none.
	Nonces *Nonces

	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// DefaultMaxAge is how long ago a proof may have been made, unless configured.
const DefaultMaxAge = time.Minute

// Requirement is what a route or an issuer asks of its tokens; both together ask
// what is in either. Zero lets in tokens that are not bound.
type Requirement uint8

// The requirements.
const (
	Required Requirement = 1 << iota // the token must be bound, in one way or another
	DPoP                             // the token must be bound by DPoP
	MTLS                             // the token must be bound to a client certificate
)

// Check holds a token's own binding against what is asked of it.
func (r Requirement) Check(c Confirmation) *Refusal {
	switch {
	case r&Required != 0 && c == (Confirmation{}):
		return ErrBoundOnly
	case r&DPoP != 0 && c.Thumbprint == "":
		return ErrDPoPOnly
	case r&MTLS != 0 && c.Certificate == "":
		return ErrMTLSOnly
	}
	return nil
}

// Checker checks that senders hold the keys of their tokens. It is safe for
// concurrent use.
type Checker struct {
	config Config
}

// NewChecker checks the configuration and makes a checker of it.
func NewChecker(c Config) (*Checker, error) {
	if len(c.Algorithms) == 0 {
		c.Algorithms = jose.Algorithms
	}
	for _, name := range c.Algorithms {
		if jose.Kind(name) == "" {
			return nil, fmt.Errorf("unknown algorithm %q: expected one of %s", name, strings.Join(jose.Algorithms, ", "))
		}
	}
	if c.MaxAge == 0 {
		c.MaxAge = DefaultMaxAge
	}
	if c.MaxAge < time.Second {
		return nil, fmt.Errorf("greatest age of a proof: found %s, expected at least 1s", c.MaxAge)
	}
	if c.Replays == nil {
		return nil, errors.New("a memory of the proofs that were taken is needed")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Checker{c}, nil
}

// Algorithms are those that proofs may be signed by, separated by spaces, as the
// parameter algs of a challenge lists them (RFC 9449, section 7.1).
func (c *Checker) Algorithms() string { return strings.Join(c.config.Algorithms, " ") }

// Nonce is the value of a DPoP-Nonce header for the client's next proof; empty if
// none is asked for.
func (c *Checker) Nonce() string {
	if c.config.Nonces == nil {
		return ""
	}
	return c.config.Nonces.Make(c.config.Now())
}

// Check decides whether the sender of a token holds the keys that the token is
// bound to. A proof that is taken is used up: all else that could refuse the request
// should have been asked before. The nonce is for a DPoP-Nonce header beside the
// answer, refusal or not; it is empty where none is due.
func (c *Checker) Check(q *Request) (refusal *Refusal, nonce string) {
	x := examination{Request: q, config: &c.config, now: c.config.Now()}
	for i := range checks {
		one := &checks[i]
		if !x.has(one.needs) {
			continue
		}
		if refusal = one.run(&x); refusal != nil {
			break
		}
	}
	if x.proof != nil {
		x.proof.release()
	}
	if refusal == nil && q.Bound.Thumbprint != "" && !x.remembered {
		refusal = ErrNoProof // whatever the list of checks has become
	}
	if refusal != nil && q.Bound.Thumbprint != "" {
		return refusal, c.Nonce()
	}
	return refusal, x.nextNonce
}

// Confirmation is what a token's cnf claim says: which keys who sends the token
// must hold (RFC 7800, section 3.1). Where it names both kinds, both must be held.
type Confirmation struct {
	// Thumbprint is jkt: the RFC 7638 thumbprint of the key that signs DPoP proofs
	// (RFC 9449, section 6.1); empty: none.
	Thumbprint string

	// Certificate is x5t#S256: the SHA-256 of the client's certificate (RFC 8705,
	// section 3.1); empty: none.
	Certificate string
}

// ParseConfirmation reads the JSON of a cnf claim. It refuses members that it does
// not know: each is one more thing that who sends the token has to prove.
func ParseConfirmation(cnf []byte) (Confirmation, *Refusal) {
	members, err := jose.ReadObject(cnf, make(jose.Object, 0, 4))
	if err != nil || len(members) == 0 {
		return Confirmation{}, ErrConfirmation
	}
	var c Confirmation
	var refusal *Refusal
	for _, member := range members {
		hash := &c.Thumbprint
		switch string(member.Name) {
		case "jkt":
		case "x5t#S256":
			hash = &c.Certificate
		default:
			return Confirmation{}, ErrOtherBinding
		}
		// A hash has one spelling, so that texts can be compared from then on.
		text, _ := members.Text(string(member.Name))
		if _, _, ok := jose.AppendBase64URL(make([]byte, 0, sha256.Size), text); !ok || len(text) != hashChars {
			refusal = ErrConfirmation
		}
		*hash = string(text)
	}
	if refusal != nil {
		return Confirmation{}, refusal
	}
	return c, nil
}

// hashChars is the length of a SHA-256 in base64url.
const hashChars = (sha256.Size*8 + 5) / 6

// isHash tells whether a text is this SHA-256 in base64url.
func isHash[T string | []byte](text T, sum [sha256.Size]byte) bool {
	var encoded [hashChars]byte
	base64.RawURLEncoding.Encode(encoded[:], sum[:])
	return string(text) == string(encoded[:])
}

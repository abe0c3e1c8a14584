package license

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// Config says whom and what a [Verifier] trusts. The zero Config trusts no key.
type Config struct {
	// Keys are the trusted keys.
	Keys *KeySet

	// RevokedIDs are the ids (UUIDs) of licenses that are no longer accepted.
	RevokedIDs []string

	// Revocations are the revoked licenses that are known at the moment of asking;
	// nil: none but RevokedIDs.
	Revocations *Revocations

	// Instance gives the fingerprint of this instance at the moment of asking;
	// empty: it is not known yet. nil: there is none. A license that is bound to
	// another instance, or to any where none is known, does not let pass.
	Instance func() string

	// Warn is how long before its end a license is in [StateExpiring]; in
	// whole seconds, 0 for never.
	Warn time.Duration

	// Grace is how long after its end a license is in [StateGrace], unless it
	// carries a grace of its own; in whole seconds, 0 for not at all.
	Grace time.Duration

	// Understands adds to the names that a license may list as critical:
	// those that the calling program enforces itself. Understood without are
	// id, issuer, not_before, grace, features and instance. Limits and
	// environment are not: they are only shown, so a license that calls them
	// critical is refused unless they are named here.
	Understands []string

	// Now is the clock; nil for time.Now.
	Now func() time.Time
}

// Verifier says whether to trust a license. It never changes, so any number of
// goroutines may share it.
type Verifier struct {
	config  Config
	revoked map[string]bool
}

// NewVerifier makes a verifier. A malformed revoked id and a negative duration
// are errors.
func NewVerifier(c Config) (*Verifier, error) {
	v := &Verifier{config: c, revoked: make(map[string]bool, len(c.RevokedIDs))}
	for _, id := range c.RevokedIDs {
		if !uuidForm.MatchString(id) {
			return nil, fmt.Errorf("revoked license id %s: want a UUID as in 5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11", quote(id))
		}
		v.revoked[strings.ToLower(id)] = true
	}
	if c.Warn < 0 || c.Grace < 0 {
		return nil, fmt.Errorf("warn is %s and grace is %s; want neither below 0", c.Warn, c.Grace)
	}
	if c.Now == nil {
		v.config.Now = time.Now
	}
	return v, nil
}

// Open decodes and verifies a license. It always returns a validity: that of a
// license that cannot be trusted is [StateInvalid], with the reason.
func (v *Verifier) Open(data []byte) *Validity {
	l, err := Decode(data)
	if err != nil {
		return invalid(err)
	}
	return v.Verify(l)
}

// Verify checks form, key and signature, in this order; what depends on time,
// host and feature is decided by the [Validity], each time it is asked.
func (v *Verifier) Verify(l *License) *Validity {
	own := &License{KeyID: l.KeyID, Payload: l.Payload.Clone(), Signature: l.Signature}
	hosts, refused := host.Compile(own.Payload.AllowedHosts)
	if err := v.check(own, hosts); err != nil {
		s := invalid(err)
		s.license, s.refused = own, refused
		return s
	}
	return v.stand(own, hosts, refused)
}

// understood are the names that any license may call critical.
var understood = []string{"id", "issuer", "not_before", "grace", "features", critInstance}

// check looks at form, key and signature, and whether the license was revoked.
func (v *Verifier) check(l *License, hosts *host.Matcher) error {
	data, err := signedBytes(l.KeyID, &l.Payload)
	if err != nil {
		return err
	}
	sig, err := l.signature()
	if err != nil {
		return err
	}
	for i, name := range l.Payload.Crit {
		if !slices.Contains(understood, name) && !slices.Contains(v.config.Understands, name) {
			return badForm(index("payload.crit", i), "asks a verifier to understand %q, which this one does not; use a newer version", name)
		}
	}
	if hosts == nil {
		return badForm("payload.allowed_hosts", "holds no usable host pattern; want names, *.name, IP addresses or *")
	}
	key, err := v.config.Keys.find(l.KeyID, l.Payload.IssuedAt)
	if err != nil {
		return err
	}
	if !verify(key, data, sig) {
		return refuse(ReasonSignature, "signature", "is not the key's signature of this payload; it was changed after it was signed, or signed by another key")
	}
	if v.revoked[strings.ToLower(l.Payload.ID)] {
		return revokedLicense(l.Payload.ID)
	}
	return nil
}

// TakeRevocations takes a list of revoked licenses into [Config.Revocations], as
// [Revocations.Take] does, if a trusted key signed it.
func (v *Verifier) TakeRevocations(data []byte) (changed bool, err error) {
	if v.config.Revocations == nil {
		return false, errNoRevocations
	}
	return v.config.Revocations.Take(data, v.config.Keys, v.config.Now())
}

// OpenOfflineResponse opens a response as [KeySet.OpenOfflineResponse] does.
func (v *Verifier) OpenOfflineResponse(data []byte, requestID string) (*OfflineResponse, error) {
	return v.config.Keys.OpenOfflineResponse(data, requestID)
}

var errNoRevocations = errors.New("the verifier was not made to know of revoked licenses")

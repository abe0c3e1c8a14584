package license

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gowebpki/jcs"

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
		return &Validity{fault: asForm(err)}
	}
	return v.Verify(l)
}

// Verify checks form, key and signature, in this order; what depends on time,
// host and feature is decided by the [Validity], each time it is asked.
func (v *Verifier) Verify(l *License) *Validity {
	own := &License{KeyID: l.KeyID, Payload: l.Payload.Clone(), Signature: l.Signature}
	hosts, refused := host.Compile(own.Payload.AllowedHosts)
	if err := v.check(own, hosts); err != nil {
		return &Validity{fault: asForm(err), license: own, refused: refused}
	}
	return v.validity(own, hosts, refused)
}

// understood are the names that any license may call critical.
var understood = []string{"id", "issuer", "not_before", "grace", "features", critInstance}

// check looks at form, key and signature, and whether the license was revoked.
func (v *Verifier) check(l *License, hosts *host.Matcher) error {
	data, err := signedBytes(l.KeyID, &l.Payload)
	if err != nil {
		return err
	}
	sig, err := decodeSignature(l.Signature)
	if err != nil {
		return err
	}
	for i, name := range l.Payload.Crit {
		if !slices.Contains(understood, name) && !slices.Contains(v.config.Understands, name) {
			return badForm(fmt.Sprintf("payload.crit[%d]", i), "asks a verifier to understand %q, which this one does not; use a newer version", name)
		}
	}
	if hosts == nil {
		return badForm("payload.allowed_hosts", "holds no usable host pattern; want names, *.name, IP addresses or *")
	}
	key, err := v.config.Keys.find("license", l.KeyID, l.Payload.IssuedAt)
	if err != nil {
		return err
	}
	if !verify(key, data, sig) {
		return refusedFor(ReasonSignature, "payload")
	}
	if v.revoked[strings.ToLower(l.Payload.ID)] {
		return refusedFor(ReasonRevokedID, l.Payload.ID)
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

// Keys are the keys that the verifier trusts.
func (v *Verifier) Keys() *KeySet { return v.config.Keys }

var errNoRevocations = errors.New("the verifier was not made to know of revoked licenses")

// prefix2 begins what version 2 signs. No text of version 1 begins with it, so
// neither version's bytes can be the other's.
const prefix2 = "gatehouse-license/v2\n"

// signedBytes gives the bytes that the signature of a license covers, after
// all checks of form: two different payloads never have the same bytes. Version 2
// signs the RFC 8785 form of key id and payload behind a prefix, made of the
// payload as it was understood, not as it was spelled.
func signedBytes(keyID string, p *Payload) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if p.Version() == 1 {
		return []byte(p.text1()), nil
	}
	return canonical(prefix2, map[string]any{"key_id": keyID, "payload": p})
}

// canonical is the prefix, which says what the signature over it is for, and the
// canonical form (RFC 8785) of a document.
func canonical(prefix string, document any) ([]byte, error) {
	data, err := marshal(document, "")
	if err != nil {
		return nil, fmt.Errorf("encoding what is to be signed: %w", err)
	}
	data, err = jcs.Transform(data)
	if err != nil {
		return nil, fmt.Errorf("bringing what is to be signed into its canonical form: %w", err)
	}
	return append([]byte(prefix), data...), nil
}

// featureList is what version 1's grammar takes for features behind the last
// colon of its text.
var featureList = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*(,[a-z0-9][a-z0-9-]*)*$`)

// text1 is what version 1 signs:
//
//	type:issued_at:expire_at:host,host:description[:feature,feature]
func (p *Payload) text1() string {
	fields := []string{
		string(p.Type),
		strconv.FormatInt(p.IssuedAt, 10),
		strconv.FormatInt(p.ExpireAt, 10),
		strings.Join(p.AllowedHosts, ","),
		p.Description,
	}
	if len(p.Features) > 0 {
		fields = append(fields, strings.Join(p.Features, ","))
	}
	return strings.Join(fields, ":")
}

// parse1 reads a text of version 1 by its one grammar: split at the first four
// colons, and hosts at commas; the rest is the description, except that what
// follows its last colon is the features if it looks like them.
func parse1(text string) (*Payload, bool) {
	parts := strings.SplitN(text, ":", 5)
	if len(parts) != 5 {
		return nil, false
	}
	issuedAt, err1 := strconv.ParseInt(parts[1], 10, 64)
	expireAt, err2 := strconv.ParseInt(parts[2], 10, 64)
	p := &Payload{
		Type: Type(parts[0]), IssuedAt: issuedAt, ExpireAt: expireAt, AllowedHosts: strings.Split(parts[3], ","), Description: parts[4],
	}
	colon := strings.LastIndexByte(p.Description, ':')
	if colon >= 0 && featureList.MatchString(p.Description[colon+1:]) {
		p.Features = strings.Split(p.Description[colon+1:], ",")
		p.Description = p.Description[:colon]
	}
	return p, err1 == nil && err2 == nil
}

// checkText is the round-trip guard. A text of version 1 does not say by itself
// where a field ends, so one text may stand for several payloads. Only the
// payload that the grammar reads from the text may be signed and verified, which
// leaves one payload for each text.
func (p *Payload) checkText() error {
	read, ok := parse1(p.text1())
	switch {
	case !ok || read.Type != p.Type || read.IssuedAt != p.IssuedAt || read.ExpireAt != p.ExpireAt, !slices.Equal(read.AllowedHosts, p.AllowedHosts):
		return badForm("payload.allowed_hosts", "holds ':' or ',', which version 1 cannot tell from its own; want hosts without, or version 2")
	case read.Description != p.Description, !slices.Equal(read.Features, p.Features):
		return badForm("payload.description", "holds ':' so that version 1 would read features in it; put a space after ':', or use version 2")
	}
	return nil
}

// decodeSignature makes sure that a signature is spelled in the only right way: no
// white space, and no bits set in the padding.
func decodeSignature(text string) ([]byte, error) {
	sig, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(sig) == 0 || base64.StdEncoding.EncodeToString(sig) != text {
		return nil, badForm("signature", "is not base64; want the standard alphabet with padding and no white space")
	}
	return sig, nil
}

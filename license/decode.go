package license

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// Bounds of a payload's lists.
const (
	maxHosts    = 256
	maxFeatures = 256
	maxLimits   = 64
	maxCrit     = 16
)

// Decode reads a license. It is strict, so that there is only one way to read
// it: at most [MaxSize], valid UTF-8, no control characters in strings, no
// repeated, unknown or differently cased members, no null, nothing but white
// space after the object, and a payload that passes all checks of form. Members
// may stand in any order.
//
// Decode does not look at the signature; see [Verifier]. All errors are of type
// [*Error] with the reason [ReasonForm].
func Decode(data []byte) (*License, error) {
	if len(data) > MaxSize {
		return nil, badForm("", "has %d bytes; want at most %d", len(data), MaxSize)
	}
	l := &License{}
	if err := readLicense(newReader(data), l); err != nil {
		return nil, err
	}
	if _, err := l.signature(); err != nil {
		return nil, err
	}
	if err := checkKeyID(l.KeyID); err != nil {
		return nil, err
	}
	if err := l.Payload.check(); err != nil {
		return nil, err
	}
	return l, nil
}

func readLicense(r *reader, l *License) error {
	seen := make(present)
	err := r.object("", members{
		"key_id":    seen.once(text(r, &l.KeyID)),
		"payload":   seen.once(func(path string) error { return readPayload(r, path, &l.Payload) }),
		"signature": seen.once(text(r, &l.Signature)),
	})
	if err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	return seen.want("key_id", "payload", "signature")
}

func readPayload(r *reader, path string, p *Payload) error {
	seen := make(present)
	var kind string
	err := r.object(path, members{
		"v":             seen.once(version(r, &p.V)),
		"id":            seen.once(optionalText(r, &p.ID)),
		"issuer":        seen.once(optionalText(r, &p.Issuer)),
		"type":          seen.once(text(r, &kind)),
		"issued_at":     seen.once(integer(r, &p.IssuedAt)),
		"not_before":    seen.once(optionalInteger(r, &p.NotBefore)),
		"expire_at":     seen.once(integer(r, &p.ExpireAt)),
		"grace":         seen.once(optionalInteger(r, &p.Grace)),
		"allowed_hosts": seen.once(texts(r, &p.AllowedHosts, maxHosts)),
		"description":   seen.once(text(r, &p.Description)),
		"features":      seen.once(texts(r, &p.Features, maxFeatures)),
		"limits":        seen.once(integers(r, &p.Limits, maxLimits)),
		"environment":   seen.once(optionalText(r, &p.Environment)),
		"crit":          seen.once(texts(r, &p.Crit, maxCrit)),
	})
	p.Type = Type(kind)
	if err != nil {
		return err
	}
	return seen.want("payload.type", "payload.issued_at", "payload.expire_at", "payload.allowed_hosts", "payload.description")
}

// present remembers which members were read, by path.
type present map[string]bool

func (s present) once(read func(path string) error) func(path string) error {
	return func(path string) error {
		s[path] = true
		return read(path)
	}
}

func (s present) want(paths ...string) error {
	for _, path := range paths {
		if !s[path] {
			return badForm(path, "is missing; a license must have it")
		}
	}
	return nil
}

// signature decodes the signature and makes sure that it is spelled in the only
// right way: no white space, and no bits set in the padding.
func (l *License) signature() ([]byte, error) {
	sig, err := base64.StdEncoding.DecodeString(l.Signature)
	if err != nil || len(sig) == 0 || base64.StdEncoding.EncodeToString(sig) != l.Signature {
		return nil, badForm("signature", "is not base64; want the standard alphabet with padding and no white space")
	}
	return sig, nil
}

func checkKeyID(id string) error {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 32 || strings.ToLower(id) != id {
		return badForm("key_id", "is %s; want 64 lower-case hexadecimal digits", quote(id))
	}
	return nil
}

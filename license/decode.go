package license

import (
	"encoding/base64"
	"errors"

	"github.com/gatehouse-proxy/gatehouse/internal/bom"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
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
// may stand in any order. A byte order mark in front is skipped.
//
// Decode does not look at the signature; see [Verifier]. All errors are of type
// [*Error] with the reason [ReasonForm].
func Decode(data []byte) (*License, error) {
	l := &License{}
	if err := l.decode(data); err != nil {
		return nil, asForm(err)
	}
	return l, nil
}

func (l *License) decode(data []byte) error {
	if err := readSigned(data, MaxSize, &l.KeyID, &l.Signature, l.Payload.read); err != nil {
		return err
	}
	return l.Payload.check()
}

// readSigned reads an object of a payload, its signature and the key's id. It looks
// at the form of the latter two.
func readSigned(data []byte, most int, keyID, signature *string, payload func(strictjson.Value) error) error {
	if len(data) > most {
		return badForm("", "has %d bytes; want at most %d", len(data), most)
	}
	data, err := bom.Skip(data)
	if err != nil {
		return err
	}
	envelope, err := strictjson.Parse(data)
	if err != nil {
		return err
	}
	err = envelope.Read(strictjson.Fields{
		"key_id":    text(keyID),
		"payload":   payload,
		"signature": text(signature),
	}, "key_id", "payload", "signature")
	if err != nil {
		return err
	}
	if _, err := signatureBytes(*signature); err != nil {
		return err
	}
	if !keyIDForm.MatchString(*keyID) {
		return badForm("key_id", "is %s; want 64 lower-case hexadecimal digits", quote(*keyID))
	}
	return nil
}

// read reads a payload. Where an empty value would mean the same as an absent
// member, it is refused: a license has one form only.
func (p *Payload) read(v strictjson.Value) error {
	return v.Read(strictjson.Fields{
		"v":             p.readVersion,
		"id":            optionalText(&p.ID),
		"issuer":        optionalText(&p.Issuer),
		"type":          text(&p.Type),
		"issued_at":     integer(&p.IssuedAt),
		"not_before":    optionalInteger(&p.NotBefore),
		"expire_at":     integer(&p.ExpireAt),
		"grace":         optionalInteger(&p.Grace),
		"allowed_hosts": texts(&p.AllowedHosts, maxHosts),
		"description":   text(&p.Description),
		"features":      texts(&p.Features, maxFeatures),
		"limits":        p.readLimits,
		"enforcement":   p.readEnforcement,
		"instance":      optionalText(&p.Instance),
		"environment":   optionalText(&p.Environment),
		"crit":          texts(&p.Crit, maxCrit),
	}, "type", "issued_at", "expire_at", "allowed_hosts", "description")
}

// readVersion reads v. The number 1 is refused although version 1 exists: its
// signature does not cover v, so the license would have two forms.
func (p *Payload) readVersion(v strictjson.Value) (err error) {
	p.V, err = v.Integer()
	if err == nil && p.V != 2 {
		return badForm(v.Path, "is %d; want 2, or no v at all for version 1", p.V)
	}
	return err
}

func (p *Payload) readLimits(v strictjson.Value) error {
	p.Limits = make(map[string]int64)
	return v.Each(func(name string, member strictjson.Value) (err error) {
		if len(p.Limits) == maxLimits {
			return badForm(v.Path, "has more than %d members; want at most %d", maxLimits, maxLimits)
		}
		p.Limits[name], err = member.Integer()
		return err
	})
}

func (p *Payload) readEnforcement(v strictjson.Value) error {
	p.Enforcement = make(map[string]Enforcement)
	return v.Each(func(name string, member strictjson.Value) error {
		if len(p.Enforcement) == maxLimits {
			return badForm(v.Path, "has more than %d members; want at most %d", maxLimits, maxLimits)
		}
		word, err := readText(member)
		p.Enforcement[name] = Enforcement(word)
		return err
	})
}

// readText reads a string without control characters.
func readText(v strictjson.Value) (string, error) {
	s, err := v.Text()
	if err == nil && hasControl(s) {
		return "", badForm(v.Path, "holds a control character; want printable text")
	}
	return s, err
}

func text[T ~string](to *T) func(strictjson.Value) error {
	return func(v strictjson.Value) error {
		s, err := readText(v)
		*to = T(s)
		return err
	}
}

func optionalText(to *string) func(strictjson.Value) error {
	return func(v strictjson.Value) (err error) {
		*to, err = readText(v)
		if err == nil && *to == "" {
			return badForm(v.Path, "is empty; want a value, or leave the member out")
		}
		return err
	}
}

func integer(to *int64) func(strictjson.Value) error {
	return func(v strictjson.Value) (err error) {
		*to, err = v.Integer()
		return err
	}
}

func optionalInteger(to **int64) func(strictjson.Value) error {
	return func(v strictjson.Value) error {
		n, err := v.Integer()
		*to = &n
		return err
	}
}

func texts(to *[]string, most int) func(strictjson.Value) error {
	return func(v strictjson.Value) error {
		elements, err := v.Elements(most, "an array of strings")
		if err != nil {
			return err
		}
		*to = make([]string, len(elements))
		for i, element := range elements {
			if (*to)[i], err = readText(element); err != nil {
				return err
			}
		}
		return nil
	}
}

// asForm words what was found.
func asForm(err error) error {
	var worded *Error
	if errors.As(err, &worded) {
		return worded
	}
	var e *strictjson.Error
	if !errors.As(err, &e) {
		return badForm("", "%v", err)
	}
	switch e.Problem {
	case strictjson.Incomplete:
		return badForm("", "ends before the JSON object is complete")
	case strictjson.Syntax:
		return badForm("", "not valid JSON in UTF-8 at byte %d", e.Offset)
	case strictjson.Trailing:
		return badForm("", "something follows the license; want a single JSON object")
	case strictjson.Repeated:
		return badForm(e.Path, "stands there twice; want each member once")
	case strictjson.Unknown:
		return badForm(e.Path, "has the unknown member %s; want %s", quote(e.Found), e.Want)
	case strictjson.Missing:
		return badForm(e.Path, "is missing; a license must have it")
	case strictjson.TooMany:
		return badForm(e.Path, "has more than %s entries; want at most %s", e.Want, e.Want)
	}
	return badForm(e.Path, "is %s; want %s", e.Found, e.Want)
}

// signature decodes the signature and makes sure that it is spelled in the only
// right way: no white space, and no bits set in the padding.
func (l *License) signature() ([]byte, error) { return signatureBytes(l.Signature) }

func signatureBytes(text string) ([]byte, error) {
	sig, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(sig) == 0 || base64.StdEncoding.EncodeToString(sig) != text {
		return nil, badForm("signature", "is not base64; want the standard alphabet with padding and no white space")
	}
	return sig, nil
}

package license

import (
	"strings"
	"unicode"

	"github.com/gatehouse-proxy/gatehouse/internal/bom"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
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
	err := readSigned(data, MaxSize, &l.KeyID, &l.Signature, l.Payload.read)
	if err == nil {
		err = l.Payload.check()
	}
	if err != nil {
		return nil, asForm(err)
	}
	return l, nil
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
	if _, err := decodeSignature(*signature); err != nil {
		return err
	}
	if !keyIDForm.MatchString(*keyID) {
		return badForm("key_id", "is %s; want 64 lower-case hexadecimal digits", quote(*keyID))
	}
	return nil
}

// read reads a payload. Where an empty value would mean the same as an absent
// member, it is refused: a license has one form only. So is the number 1 as v, although
// there is a version 1: its signature does not cover v.
func (p *Payload) read(v strictjson.Value) error {
	return v.Read(strictjson.Fields{
		"v": func(v strictjson.Value) (err error) {
			if p.V, err = v.Integer(); err == nil && p.V != 2 {
				return badForm(v.Path, "is %d; want 2, or no v at all for version 1", p.V)
			}
			return err
		},
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
		"limits":        members(&p.Limits, strictjson.Value.Integer),
		"enforcement":   members(&p.Enforcement, readText[Enforcement]),
		"instance":      optionalText(&p.Instance),
		"environment":   optionalText(&p.Environment),
		"crit":          texts(&p.Crit, maxCrit),
	}, "type", "issued_at", "expire_at", "allowed_hosts", "description")
}

// readText reads a string without control characters.
func readText[T ~string](v strictjson.Value) (T, error) {
	s, err := v.Text()
	if err == nil && strings.ContainsFunc(s, unicode.IsControl) {
		return "", badForm(v.Path, "holds a control character; want printable text")
	}
	return T(s), err
}

func text[T ~string](to *T) func(strictjson.Value) error {
	return func(v strictjson.Value) (err error) {
		*to, err = readText[T](v)
		return err
	}
}

func optionalText(to *string) func(strictjson.Value) error {
	return func(v strictjson.Value) (err error) {
		*to, err = readText[string](v)
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
			if (*to)[i], err = readText[string](element); err != nil {
				return err
			}
		}
		return nil
	}
}

func members[T any](to *map[string]T, read func(strictjson.Value) (T, error)) func(strictjson.Value) error {
	return func(v strictjson.Value) error {
		found := make(map[string]T)
		*to = found
		return v.Each(func(name string, member strictjson.Value) (err error) {
			if len(found) == maxLimits {
				return badForm(v.Path, "has more than %d members; want at most %d", maxLimits, maxLimits)
			}
			found[name], err = read(member)
			return err
		})
	}
}

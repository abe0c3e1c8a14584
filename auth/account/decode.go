package account

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// MaxBody bounds the JSON of one account, in bytes.
const MaxBody = 64 << 10

// Decode reads the JSON of an account as the API takes it: subject and status
// are required; name, groups, issuer, by and expires_at may be left out, or null,
// which is the same. What the API shows may be sent back: id and org_id must
// then be right for the subject; the others are as in [Draft].
//
// Errors are of the type [*InputError]. Unknown (or differently cased) and
// repeated members, and anything but a single JSON object, are [Malformed]; a
// member that is missing, of the wrong type or out of range is [Invalid]. The
// issuer may still be missing: see [Draft.SetIssuer].
func Decode(data []byte) (*Draft, error) {
	d, err := decode(data)
	if err != nil {
		return nil, err
	}
	if err := checkSubject(d.Subject); err != nil {
		return nil, err
	}
	if err := d.checkEnds(); err != nil {
		return nil, err
	}
	return d, d.settle()
}

// DecodeReplacement is [Decode] for an account that a path names: the subject
// may be left out, and so may the id. A subject that is given must be the
// account's.
func DecodeReplacement(data []byte) (*Draft, error) {
	d, err := decode(data)
	if err != nil {
		return nil, err
	}
	if d.Subject == "" {
		return d, d.validateDecoded()
	}
	return d, d.settle()
}

// settle checks what only a body can get wrong, beside the rest.
func (d *Draft) settle() error {
	if err := checkSubject(d.Subject); err != nil {
		return err
	}
	// Of another id than this a change will tell whether it is the account's.
	if plain := plainID(d.Subject); d.Issuer == "" && d.id != uuid.Nil && d.id.Version() != 5 {
		return wrongID(d.id, plain)
	} else if d.Issuer != "" && d.id != uuid.Nil && d.id != plain && d.id != (Key{d.Issuer, d.Subject}).qualifiedID() {
		return wrongID(d.id, plain)
	}
	return d.validateDecoded()
}

// validateDecoded lets the issuer be missing: who knows the configured ones
// fills it in.
func (d *Draft) validateDecoded() error {
	filled := *d
	if filled.Issuer == "" {
		filled.Issuer = "-"
	}
	return filled.validateRest()
}

func decode(data []byte) (*Draft, error) {
	if len(data) > MaxBody {
		return nil, malformed("the body has %d bytes; want at most %d", len(data), MaxBody)
	}
	d := &Draft{}
	dec := jsontext.NewDecoder(bytes.NewReader(data)) // refuses repeated names and invalid UTF-8
	if dec.PeekKind() != '{' {
		if _, err := dec.ReadValue(); err != nil {
			return nil, notJSON(err)
		}
		return nil, malformed("the body is not a JSON object")
	}
	// The form of the whole is judged before any of its values.
	var late error
	_, err := dec.ReadToken()
	for err == nil && dec.PeekKind() != '}' {
		if err = d.member(dec); errorClass(err) == Invalid {
			late, err = first(late, err), nil
		}
	}
	if err == nil {
		_, err = dec.ReadToken()
	}
	if err != nil {
		return nil, notJSON(err)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, malformed("something follows the JSON object; want one object only")
	}
	return d, late
}

// member reads one member of the body.
func (d *Draft) member(dec *jsontext.Decoder) error {
	t, err := dec.ReadToken()
	if err != nil {
		return err
	}
	name := t.String()
	read, ok := members[name]
	if !ok {
		return unknownMember(name)
	}
	value, err := dec.ReadValue()
	if err != nil {
		return err
	}
	if value.Kind() == 'n' {
		return nil // missing, which is found out later where it matters
	}
	return read(d, name, value)
}

// notJSON words a decoder's error without what it quotes of the input.
func notJSON(err error) error {
	var input *InputError
	if errors.As(err, &input) {
		return err
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		var at *jsontext.SyntacticError
		if errors.As(err, &at) {
			return malformed("member %s is repeated; want it once", quote(at.JSONPointer.LastToken()))
		}
	}
	return malformed("the body is not valid JSON (RFC 8259, in UTF-8)")
}

func errorClass(err error) Class {
	var input *InputError
	if errors.As(err, &input) {
		return input.Class
	}
	return 0
}

func first(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

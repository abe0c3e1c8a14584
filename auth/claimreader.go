package auth

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// claimReader reads JSON without copying it. It has the decoder for itself:
// Unmarshal would call it back by reflection, which costs a tenth more and an
// allocation.
type claimReader struct {
	decoder jsontext.Decoder
	source  bytes.Buffer
	text    []byte
}

var claimReaders = sync.Pool{New: func() any { return new(claimReader) }}

// begin has the decoder read the text itself: it does so for a bytes.Buffer.
func (r *claimReader) begin(text []byte) {
	r.text = text
	r.source = *bytes.NewBuffer(text)
	r.decoder.Reset(&r.source)
}

// read appends the members of the one object that the text must be.
func (r *claimReader) read(text []byte, members claimSet) (claimSet, bool) {
	r.begin(text)
	d := &r.decoder
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return nil, false
	}
	for d.PeekKind() != '}' {
		name, err := r.next()
		if err != nil {
			return nil, false
		}
		value, err := r.next()
		if err != nil {
			return nil, false
		}
		plain, err := unquote(name)
		if err != nil {
			return nil, false
		}
		members = append(members, claim{plain, value})
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, false
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, false
	}
	return members, true
}

// badJSON says why a text could not be read as one strict JSON object.
func badJSON(text []byte) *Refusal {
	err := readOne(text)
	switch {
	case err == nil:
		return ErrNotJWS // it is something else than one object
	case errors.Is(err, jsontext.ErrDuplicateName):
		return ErrRepeatedMember
	case readOne(text, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) == nil:
		return ErrNotUnicode
	}
	return ErrNotJWS
}

func readOne(text []byte, options ...jsontext.Options) error {
	_, err := jsontext.NewDecoder(bytes.NewReader(text), options...).ReadValue()
	return err
}

// readArray hands on an array's elements one by one, until one does not please.
func (r *claimReader) readArray(text []byte, pleases func(jsontext.Value) bool) bool {
	r.begin(text)
	d := &r.decoder
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	for d.PeekKind() != ']' {
		element, err := d.ReadValue()
		if err != nil || !pleases(element) {
			return false
		}
	}
	return true
}

// next reads a value, and gives it as a part of the text: what the decoder gives
// is its own.
func (r *claimReader) next() (jsontext.Value, error) {
	value, err := r.decoder.ReadValue()
	end := int(r.decoder.InputOffset())
	return r.text[end-len(value) : end : end], err
}

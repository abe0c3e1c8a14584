package jose

import (
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// Object is a JSON object, one level decoded: a dozen members or two, fewer than a
// map would pay for.
type Object []Member

// Member is one of an object's. Name and Value are parts of the text that was read
// and must not be changed.
type Member struct {
	Name  []byte
	Value jsontext.Value
}

// Get finds a member.
func (o Object) Get(name string) (jsontext.Value, bool) {
	for i := range o {
		if string(o[i].Name) == name {
			return o[i].Value, true
		}
	}
	return nil, false
}

// Text gives what a member that is a string says: nil if it is absent, not ok if
// it is of another type.
func (o Object) Text(name string) (text []byte, ok bool) {
	value, present := o.Get(name)
	if !present {
		return nil, true
	}
	if value.Kind() != '"' {
		return nil, false
	}
	text, err := unquote(value)
	return text, err == nil
}

// Reader reads JSON objects without copying them. The zero value is ready; it is
// meant to be used again and again, by one goroutine at a time.
type Reader struct {
	decoder jsontext.Decoder
	source  bytes.Buffer
	text    []byte
}

// Read appends the members of the one object that the text must be, strictly: a
// member that stands twice at any depth, text that is not UTF-8 or something after
// the object makes it none.
func (r *Reader) Read(text []byte, members Object) (Object, error) {
	r.text = text
	r.source = *bytes.NewBuffer(text) // which the decoder reads in place
	r.decoder.Reset(&r.source)
	d := &r.decoder
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return nil, fault(err)
	}
	for d.PeekKind() != '}' {
		name, err := r.next()
		if err != nil {
			return nil, fault(err)
		}
		value, err := r.next()
		if err != nil {
			return nil, fault(err)
		}
		plain, err := unquote(name)
		if err != nil {
			return nil, fault(err)
		}
		members = append(members, Member{plain, value})
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fault(err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, ErrNotObject
	}
	return members, nil
}

// What a text may be instead of one strict JSON object.
var (
	ErrNotObject = errors.New("not one JSON object in UTF-8")
	ErrRepeated  = errors.New("a member stands there twice")
)

func fault(err error) error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return ErrRepeated
	}
	return ErrNotObject
}

// next reads a value, and gives it as a part of the text: what the decoder gives
// is its own.
func (r *Reader) next() (jsontext.Value, error) {
	value, err := r.decoder.ReadValue()
	end := int(r.decoder.InputOffset())
	return r.text[end-len(value) : end : end], err
}

// unquote gives what a JSON string says, as a part of it where nothing is escaped.
func unquote(value jsontext.Value) ([]byte, error) {
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1], nil
	}
	return jsontext.AppendUnquote(nil, value)
}

package jose

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"sync"

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
	text, err := Unquote(value)
	return text, err == nil
}

// List gives a member that is a string or an array of strings, as aud is (RFC 7519,
// section 4.1.3). Nil if absent; not ok if of another type.
func (o Object) List(name string) (list []string, ok bool) {
	value, present := o.Get(name)
	if !present {
		return nil, true
	}
	if value.Kind() == '"' {
		text, err := Unquote(value)
		return []string{string(text)}, err == nil
	}
	list = []string{}
	ok = EachElement(value, func(element jsontext.Value) bool {
		if element.Kind() != '"' {
			return false
		}
		text, err := Unquote(element)
		list = append(list, string(text))
		return err == nil
	})
	return list, ok
}

// MaxDate is the end of the year 9999, the last that RFC 3339 can write; beyond it
// lie only mistakes, such as milliseconds for seconds.
const MaxDate = 253402300799

// Date gives a NumericDate (RFC 7519, section 2) in Unix seconds, possibly with a
// fraction. Not ok: present, but no number or out of range.
func (o Object) Date(name string) (seconds float64, present, ok bool) {
	value, present := o.Get(name)
	if !present {
		return 0, false, true
	}
	if value.Kind() != '0' {
		return 0, true, false
	}
	seconds, err := strconv.ParseFloat(string(value), 64)
	if err != nil || math.Abs(seconds) > MaxDate {
		return 0, true, false
	}
	return seconds, true, true
}

// Reader reads JSON without copying it. The zero value is ready; it is meant to be
// used again and again, by one goroutine at a time. It has the decoder for itself:
// Unmarshal would call it back by reflection, which costs a tenth more and an
// allocation.
type Reader struct {
	decoder jsontext.Decoder
	source  bytes.Buffer
	text    []byte
}

// Read appends the members of the one object that the text must be, strictly: a
// member that stands twice at any depth, text that is not UTF-8 or something after
// the object makes it none.
func (r *Reader) Read(text []byte, members Object) (Object, error) {
	d := r.begin(text)
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
		plain, err := Unquote(name)
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

var readers = sync.Pool{New: func() any { return new(Reader) }}

// ReadObject is [Reader.Read] by a reader that others use again.
func ReadObject(text []byte, members Object) (Object, error) {
	r := readers.Get().(*Reader)
	defer readers.Put(r)
	return r.Read(text, members)
}

// EachElement hands on the elements of an array one by one, until one does not please;
// each is good until the next. It tells whether the value is an array and every element
// pleased.
func EachElement(value jsontext.Value, pleases func(jsontext.Value) bool) bool {
	if value.Kind() != '[' {
		return false
	}
	r := readers.Get().(*Reader)
	defer readers.Put(r)
	d := r.begin(value)
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

// begin has the decoder read the text in place, which it does for a bytes.Buffer.
func (r *Reader) begin(text []byte) *jsontext.Decoder {
	r.text = text
	r.source = *bytes.NewBuffer(text)
	r.decoder.Reset(&r.source)
	return &r.decoder
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

// Unquote gives what a JSON string says, as a part of it where nothing is escaped.
func Unquote(value jsontext.Value) ([]byte, error) {
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1], nil
	}
	return jsontext.AppendUnquote(nil, value)
}

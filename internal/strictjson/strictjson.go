// Package strictjson reads JSON that can be read in one way only: valid UTF-8, no
// repeated member, one object and nothing but white space after it (RFC 8259,
// RFC 7493). Members are known or refused, and integers have one spelling.
//
// It reads what others wrote and signed, or ask for: licenses, accounts, bodies
// of requests. Errors hold what is wrong as a value, so that each caller words
// it for its own readers; none repeats the input at length.
package strictjson

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Problem says what is wrong with a text.
type Problem uint8

// The problems.
const (
	Incomplete Problem = iota + 1 // the text ends before the object does
	Syntax                        // not JSON in UTF-8; Offset says where
	Trailing                      // something follows the object
	Repeated                      // the member at Path, whose name is Found, stands there twice
	Unknown                       // the object at Path has the member Found, which is not one of Want
	Missing                       // a member that must be there is not
	Mismatch                      // the value is Found, and should be Want
	TooMany                       // the value has more entries than Want
)

// Error is what every function here returns.
type Error struct {
	Problem Problem
	// Path leads to the value at fault, as in "payload.allowed_hosts[2]"; it is
	// empty for the whole text.
	Path string
	// Found and Want are words, as in "null" and "a string", or names of members.
	Found, Want string
	// Spelling is the right one of an unknown member that is only spelled in another
	// case. Want says so too.
	Spelling string
	// Offset is the position of an error of syntax, in bytes.
	Offset int64
}

func (e *Error) Error() string {
	path := e.Path
	if path == "" {
		path = "the text"
	}
	switch e.Problem {
	case Incomplete:
		return "the text ends before the JSON object is complete"
	case Syntax:
		return "not valid JSON in UTF-8 at byte " + strconv.FormatInt(e.Offset, 10)
	case Trailing:
		return "something follows the JSON object"
	case Repeated:
		return path + " stands there twice"
	case Unknown:
		return path + " has the unknown member " + Quote(e.Found, 80) + "; want " + e.Want
	case Missing:
		return path + " is missing"
	case TooMany:
		return path + " has more than " + e.Want + " entries"
	}
	return path + " is " + e.Found + "; want " + e.Want
}

// Value is a JSON value and the path that leads to it.
type Value struct {
	Path string
	JSON jsontext.Value
}

// Fields tells how to read each member of an object.
type Fields map[string]func(Value) error

// Parse reads a text that must be a single JSON object.
func Parse(text []byte) (Value, error) {
	decoder := jsontext.NewDecoder(bytes.NewReader(text)) // refuses repeated names and invalid UTF-8
	value, err := decoder.ReadValue()
	if err != nil {
		return Value{}, malformed(err)
	}
	v := Value{JSON: value.Clone()}
	if v.JSON.Kind() != '{' {
		return v, v.mismatch("an object")
	}
	if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return v, &Error{Problem: Trailing}
	}
	return v, nil
}

// Each hands on the members of an object in their order, with their names, until
// one gives an error.
func (v Value) Each(read func(name string, member Value) error) error {
	if v.JSON.Kind() != '{' {
		return v.mismatch("an object")
	}
	return v.walk(read)
}

// walk hands on what an object or an array holds, with the names of members; the value
// is known to be valid.
func (v Value) walk(read func(name string, inner Value) error) error {
	decoder := jsontext.NewDecoder(bytes.NewReader(v.JSON))
	open, err := decoder.ReadToken()
	if err != nil {
		return malformed(err)
	}
	for n := 0; decoder.PeekKind() != '}' && decoder.PeekKind() != ']'; n++ {
		var name, path string
		if open.Kind() == '[' {
			path = v.Path + "[" + strconv.Itoa(n) + "]"
		} else {
			token, err := decoder.ReadToken()
			if err != nil {
				return malformed(err)
			}
			name = token.String()
			path = join(v.Path, name)
		}
		value, err := decoder.ReadValue()
		if err != nil {
			return malformed(err)
		}
		end := int(decoder.InputOffset()) // it is a part of the text that v holds
		if err := read(name, Value{Path: path, JSON: v.JSON[end-len(value) : end : end]}); err != nil {
			return err
		}
	}
	return nil
}

// Read reads an object by a table. Members that are not in it are refused, and
// those that are required must be there.
func (v Value) Read(fields Fields, required ...string) error {
	seen := make(map[string]bool, len(fields))
	err := v.Each(func(name string, member Value) error {
		if read, known := fields[name]; known {
			seen[name] = true
			return read(member)
		}
		e := &Error{Problem: Unknown, Path: v.Path, Found: name}
		for known := range fields {
			if strings.EqualFold(known, name) {
				e.Spelling, e.Want = known, "it spelled "+strconv.Quote(known)
				return e
			}
		}
		e.Want = "none but " + strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
		return e
	})
	if err != nil {
		return err
	}
	for _, name := range required {
		if !seen[name] {
			return &Error{Problem: Missing, Path: join(v.Path, name)}
		}
	}
	return nil
}

// Elements are those of an array, at most so many. It never returns nil, so that
// an empty array differs from none.
func (v Value) Elements(most int, want string) ([]Value, error) {
	if v.JSON.Kind() != '[' {
		return nil, v.mismatch(want)
	}
	list := []Value{}
	err := v.walk(func(_ string, element Value) error {
		if len(list) == most {
			return &Error{Problem: TooMany, Path: v.Path, Want: strconv.Itoa(most)}
		}
		list = append(list, element)
		return nil
	})
	return list, err
}

// Text is a string's.
func (v Value) Text() (string, error) {
	if v.JSON.Kind() != '"' {
		return "", v.mismatch("a string")
	}
	text, err := jsontext.AppendUnquote(nil, v.JSON)
	if err != nil {
		return "", malformed(err)
	}
	return string(text), nil
}

// MaxInteger is the greatest magnitude up to which every integer is exact in JSON
// (RFC 8259, section 6).
const MaxInteger = 1 << 53

// Integer is a number's, in its only plain spelling: no fraction, exponent or
// negative zero, and at most [MaxInteger] in magnitude.
func (v Value) Integer() (int64, error) {
	if v.JSON.Kind() != '0' {
		return 0, v.mismatch("an integer")
	}
	text := string(v.JSON)
	n, err := strconv.ParseInt(text, 10, 64)
	mismatch := &Error{Problem: Mismatch, Path: v.Path, Found: Quote(text, 80)}
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && (n > MaxInteger || n < -MaxInteger):
		mismatch.Want = "an integer within ±2^53"
		return 0, mismatch
	case err != nil, strconv.FormatInt(n, 10) != text:
		mismatch.Want = "an integer in plain digits"
		return 0, mismatch
	}
	return n, nil
}

func (v Value) mismatch(want string) error {
	return &Error{Problem: Mismatch, Path: v.Path, Found: KindName(v.JSON.Kind()), Want: want}
}

func malformed(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Problem: Incomplete}
	case !errors.As(err, &syntax):
		return &Error{Problem: Syntax}
	case errors.Is(err, jsontext.ErrDuplicateName):
		path := ""
		for name := range syntax.JSONPointer.Tokens() {
			path = join(path, name)
		}
		return &Error{Problem: Repeated, Path: path, Found: syntax.JSONPointer.LastToken()}
	}
	return &Error{Problem: Syntax, Offset: syntax.ByteOffset}
}

// KindName is what a kind of value is called in errors.
func KindName(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '{':
		return "an object"
	case '[':
		return "an array"
	}
	return "nothing"
}

// Quote shows what was found without handing on more than so many bytes of it.
func Quote(s string, most int) string {
	if len(s) <= most {
		return strconv.Quote(s)
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strconv.Quote(s[:most]) + "…"
}

// join adds a name to a path; one that is long or cannot be printed is quoted.
func join(path, name string) string {
	if quoted := Quote(name, 80); quoted != `"`+name+`"` {
		name = quoted
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

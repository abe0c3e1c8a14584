package license

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// maxInteger is the greatest magnitude up to which every integer is exact in
// JSON (RFC 8259, section 6).
const maxInteger = 1 << 53

// reader reads JSON token by token and refuses what a lenient decoder lets pass:
// null for a value, repeated, unknown or differently cased members, invalid
// UTF-8, control characters, numbers in a second spelling.
type reader struct {
	dec *jsontext.Decoder
}

// members tells how to read each member of an object; path is the member's own.
type members map[string]func(path string) error

func newReader(data []byte) *reader {
	// The decoder refuses repeated names and invalid UTF-8 unless told not to.
	return &reader{dec: jsontext.NewDecoder(bytes.NewReader(data))}
}

// end makes sure that nothing but white space follows.
func (r *reader) end() error {
	_, err := r.dec.ReadToken()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return badForm("", "something follows the license; want a single JSON object")
}

// token reads one token of the kind given; want describes it.
func (r *reader) token(path string, kind jsontext.Kind, want string) (jsontext.Token, error) {
	t, err := r.dec.ReadToken()
	if err != nil {
		return t, malformed(err)
	}
	if t.Kind() != kind {
		return t, badForm(path, "is %s; want %s", kindName(t.Kind()), want)
	}
	return t, nil
}

// object reads an object; members not in the table are refused.
func (r *reader) object(path string, table members) error {
	return r.each(path, func(name string) error {
		read, ok := table[name]
		if !ok {
			return unknownMember(path, name, table)
		}
		return read(join(path, name))
	})
}

// each reads an object and calls read for each member's name.
func (r *reader) each(path string, read func(name string) error) error {
	if _, err := r.token(path, '{', "an object"); err != nil {
		return err
	}
	for {
		t, err := r.dec.ReadToken()
		if err != nil {
			return malformed(err)
		}
		if t.Kind() == '}' {
			return nil
		}
		if err := read(t.String()); err != nil {
			return err
		}
	}
}

// text reads a string without control characters.
func (r *reader) text(path string) (string, error) {
	t, err := r.token(path, '"', "a string")
	if err != nil {
		return "", err
	}
	s := t.String()
	if hasControl(s) {
		return "", badForm(path, "holds a control character; want printable text")
	}
	return s, nil
}

// integer reads an integer in its only plain spelling: no fraction, exponent,
// leading zero or negative zero.
func (r *reader) integer(path string) (int64, error) {
	t, err := r.token(path, '0', "an integer")
	if err != nil {
		return 0, err
	}
	s := t.String()
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && (n > maxInteger || n < -maxInteger):
		return 0, badForm(path, "is %s; want an integer within ±2^53", quote(s))
	case err != nil, strconv.FormatInt(n, 10) != s:
		return 0, badForm(path, "is %s; want an integer in plain digits", quote(s))
	}
	return n, nil
}

// texts reads an array of at most limit strings. It never returns nil, so that
// an empty array can be told from none.
func (r *reader) texts(path string, limit int) ([]string, error) {
	if _, err := r.token(path, '[', "an array of strings"); err != nil {
		return nil, err
	}
	list := []string{}
	for r.dec.PeekKind() != ']' {
		if len(list) == limit {
			return nil, badForm(path, "has more than %d entries; want at most %d", limit, limit)
		}
		s, err := r.text(index(path, len(list)))
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	_, err := r.token(path, ']', "the array's end")
	return list, err
}

// integers reads an object of at most limit integers.
func (r *reader) integers(path string, limit int) (map[string]int64, error) {
	found := make(map[string]int64)
	err := r.each(path, func(name string) error {
		if len(found) == limit {
			return badForm(path, "has more than %d members; want at most %d", limit, limit)
		}
		n, err := r.integer(join(path, clip(name)))
		found[name] = n
		return err
	})
	return found, err
}

// malformed words an error of the decoder without repeating its input at
// length.
func malformed(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return badForm("", "ends before the JSON object is complete")
	case !errors.As(err, &syntax):
		return badForm("", "not valid JSON")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return badForm(fieldOf(syntax.JSONPointer), "stands there twice; want each member once")
	}
	return badForm("", "not valid JSON in UTF-8 at byte %d", syntax.ByteOffset)
}

// fieldOf turns a JSON pointer (RFC 6901) into a path as errors show it.
func fieldOf(p jsontext.Pointer) string {
	path := ""
	for name := range p.Tokens() {
		path = join(path, clip(name))
	}
	return path
}

func unknownMember(path, name string, table members) error {
	for known := range table {
		if strings.EqualFold(known, name) {
			return badForm(path, "has the unknown member %s; want it spelled %q", quote(name), known)
		}
	}
	known := slices.Sorted(maps.Keys(table))
	return badForm(path, "has the unknown member %s; want none but %s", quote(name), strings.Join(known, ", "))
}

func kindName(k jsontext.Kind) string {
	switch k {
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

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// clip keeps a name that is shown in a path short and printable.
func clip(name string) string {
	q := quote(name)
	if q == `"`+name+`"` {
		return name
	}
	return q
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }

package auth

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// claimSet is a token's claims set (RFC 7519, section 4), one level decoded: a
// dozen members or two, fewer than a map would pay for.
type claimSet jose.Object

// usualClaims is room enough for the claims of almost all tokens.
const usualClaims = 16

// parseClaims decodes one JSON object, strictly: a member that stands twice
// anywhere, or text that is not UTF-8, makes it no claims set at all. What it
// gives are parts of the payload, which must not be changed.
func parseClaims(payload []byte) (claimSet, bool) {
	claims, err := jose.ReadObject(payload, make(jose.Object, 0, usualClaims))
	return claimSet(claims), err == nil
}

// get finds a top-level claim.
func (c claimSet) get(name string) (jsontext.Value, bool) { return jose.Object(c).Get(name) }

// present tells whether a top-level claim is there at all, whatever its value.
func (c claimSet) present(name string) bool {
	_, ok := c.get(name)
	return ok
}

// lookup finds a claim by its path: members joined by dots. At each level the
// longest member name that fits wins, so that names which hold dots themselves
// ("kubernetes.io", "https://acme.com/roles") can be reached. Members do not
// overlap, so no part of a token is read more often than the path has dots.
func (c claimSet) lookup(path string) (jsontext.Value, bool) {
	for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		value, ok := c.get(path[:end])
		if !ok {
			continue
		}
		if end == len(path) {
			return value, true
		}
		inner, ok := parseClaims(value)
		if !ok {
			continue
		}
		if found, ok := inner.lookup(path[end+1:]); ok {
			return found, true
		}
	}
	return nil, false
}

// text gives a string claim: "" if absent, not ok if it is of another type.
func (c claimSet) text(name string) (s string, ok bool) {
	value, present := c.get(name)
	if !present {
		return "", true
	}
	return stringOf(value)
}

// is tells whether a top-level claim is exactly this string. An empty string is
// no claim's value.
func (c claimSet) is(name, want string) bool {
	value, present := c.get(name)
	if want == "" || !present || value.Kind() != '"' {
		return false
	}
	s, err := jose.Unquote(value)
	return err == nil && string(s) == want
}

// texts gives a claim as a list: the strings of an array, or one string as one
// element, never split. Elements of other types say nothing and are left out.
func (c claimSet) texts(path string) []string {
	value, ok := c.lookup(path)
	if !ok {
		return nil
	}
	if s, ok := stringOf(value); ok && s != "" {
		return []string{s}
	}
	return stringsOf(value)
}

// json gives the claims as one JSON object.
func (c claimSet) json() string {
	object := make([]byte, 0, 512)
	separator := byte('{')
	for i := range c {
		object, _ = jsontext.AppendQuote(append(object, separator), c[i].Name) // a valid name was read
		object = append(append(object, ':'), c[i].Value...)
		separator = ','
	}
	if separator == '{' {
		object = append(object, '{')
	}
	return string(append(object, '}'))
}

// The values here are parts of what parseClaims found valid.

// stringOf gives a JSON string's text; not ok if the value is something else.
func stringOf(value jsontext.Value) (string, bool) {
	if value.Kind() != '"' {
		return "", false
	}
	s, err := jose.Unquote(value)
	return string(s), err == nil
}

// stringsOf gives the strings of an array that are not empty, and nothing of
// what is no array.
func stringsOf(value jsontext.Value) (list []string) {
	jose.EachElement(value, func(element jsontext.Value) bool {
		if s, ok := stringOf(element); ok && s != "" {
			list = append(list, s)
		}
		return true
	})
	return list
}

// scalars gives a claim as texts to compare or show: a string as it is, a
// number or a boolean as it is written, an array's elements one by one, null as
// nothing, an object as its JSON.
func scalars(value jsontext.Value) (list []string, array bool) {
	add := func(one jsontext.Value) bool {
		switch s, ok := stringOf(one); {
		case ok:
			list = append(list, s)
		case one.Kind() != '"' && one.Kind() != 'n':
			list = append(list, string(one))
		}
		return true
	}
	if array = jose.EachElement(value, add); !array {
		add(value)
	}
	return list, array
}

// plan lists the claims that an issuer's tokens are asked for, by their paths: those
// that rules, headers, matchers and other placeholders of all configurations name.
// Tokens hold what they say there ready for requests, by a claim's place in the plan.
//
// A path comes into the plan when it is asked for the first time, and stays. So a
// reload that asks for one more empties no cache: tokens that know less of the plan
// than there is are extended when they come next, and until then read their JSON.
type plan struct {
	growing sync.Mutex
	paths   atomic.Pointer[[]string] // never changed in place
}

// maxPlanned bounds a plan; claims beyond it are read anew with each request.
const maxPlanned = 32

func (p *plan) list() []string {
	if paths := p.paths.Load(); paths != nil {
		return *paths
	}
	return nil
}

// place gives the place of a path, which it gets if it has none yet; negative if
// there is no room.
func (p *plan) place(path string) int {
	paths := p.list()
	if at := slices.Index(paths, path); at >= 0 || len(paths) >= maxPlanned {
		return at
	}
	p.growing.Lock()
	defer p.growing.Unlock()
	paths = p.list()
	if at := slices.Index(paths, path); at >= 0 || len(paths) >= maxPlanned {
		return at
	}
	longer := append(slices.Clone(paths), strings.Clone(path))
	p.paths.Store(&longer)
	return len(paths)
}

// value is what a claim says as texts to compare or show.
type value struct {
	text Text
	form form
	list []string // nil where the text tells them
}

type form uint8

const (
	formAbsent  form = iota
	formEmpty        // it says nothing
	formOne          // the text
	formSeveral      // a list, whose texts are joined by commas
	formUnread       // the token's JSON has to be read
)

// newValue gives what a claim says.
func newValue(claim jsontext.Value) value {
	list, array := scalars(claim)
	switch {
	case array:
		return listOf(list)
	case len(list) == 0:
		return value{form: formEmpty}
	}
	v := textValue(list[0])
	v.list = list
	return v
}

func textValue(s string) value {
	return value{text: Text{Value: s, Plain: isPlain(s)}, form: formOne}
}

// listOf gives the value of an array of texts.
func listOf(list []string) value {
	if len(list) == 0 {
		return value{form: formEmpty}
	}
	v := value{form: formSeveral, list: list}
	whole := make([]string, 0, len(list))
	for _, s := range list {
		if strings.Contains(s, ",") || HasBlankEnd(s) {
			v.text.Partial = true
			continue
		}
		whole = append(whole, s)
	}
	v.text.Value = strings.Join(whole, ",")
	v.text.Plain = isPlain(v.text.Value)
	return v
}

// elements gives the value's texts one by one.
func (v *value) elements(yield func(string) bool) {
	switch {
	case v.list != nil:
		for _, s := range v.list {
			if !yield(s) {
				return
			}
		}
	case v.form == formOne:
		yield(v.text.Value)
	case v.form == formSeveral:
		for rest, more := v.text.Value, true; more; {
			var s string
			if s, rest, more = strings.Cut(rest, ","); !yield(s) {
				return
			}
		}
	}
}

// bytes is the memory that a value takes besides the struct itself.
func (v *value) bytes() (n int64) {
	for _, s := range v.list {
		n += int64(unsafe.Sizeof(s)) + textBytes(s)
	}
	if len(v.list) != 1 { // else it is the one text
		n += textBytes(v.text.Value)
	}
	return n
}

// isPlain tells whether a header carries a text unchanged: it holds no control
// character, and no blank at an end.
func isPlain(s string) bool {
	if HasBlankEnd(s) {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// HasBlankEnd tells whether a text begins or ends with a space or a tab, which
// are no part of a header's value (RFC 9110, section 5.5).
func HasBlankEnd(s string) bool { return strings.Trim(s, " \t") != s }

// values gives what claims say at the paths.
func (c claimSet) values(paths []string) []value {
	list := make([]value, len(paths))
	for i, path := range paths {
		if found, ok := c.lookup(path); ok {
			list[i] = newValue(found)
		}
	}
	return list
}

package auth

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

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

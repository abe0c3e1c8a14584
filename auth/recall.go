package auth

import (
	"strings"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// values is a property's texts and how they look when joined.
type values struct {
	list []string
	text Text
}

func newValues(list []string, array bool) values {
	v := values{list: list}
	if array {
		v.text = joined(list)
	} else {
		v.text.Value = strings.Join(list, "")
	}
	v.text.Plain = isPlain(v.text.Value)
	return v
}

// bytes is the memory that they take besides the struct itself.
func (v values) bytes() (n int64) {
	for _, s := range v.list {
		n += int64(unsafe.Sizeof(s)) + textBytes(s)
	}
	if len(v.list) > 1 { // else it is the one text
		n += textBytes(v.text.Value)
	}
	return n
}

func joined(list []string) (t Text) {
	whole := make([]string, 0, len(list))
	for _, s := range list {
		if strings.Contains(s, ",") || HasBlankEnd(s) {
			t.Partial = true
			continue
		}
		whole = append(whole, s)
	}
	t.Value = strings.Join(whole, ",")
	return t
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

// property is what a claim says, by the key of [Principal.Text].
type property struct {
	key string
	values
}

// claimAt is what a property is made of.
type claimAt struct{ key, json string }

// recalled is what was asked of a token's claims before, so that a remembered
// one's are read once and not with every request. What a configuration asks for
// is a handful of fixed paths, so a list does.
//
// Lists are shared, too: tokens are asked for the same claims in the same order.
type recalled struct {
	*property
	rest   *recalled
	length int // of the list
	shared bool
	part   part
}

// bytes is the memory that the list takes without its rest.
func (r *recalled) bytes() int64 {
	return int64(unsafe.Sizeof(recalled{})+unsafe.Sizeof(property{})) + textBytes(r.key) + r.values.bytes()
}

// recalledFrom is what a list is made of.
type recalledFrom struct {
	first *property
	rest  *recalled
}

// maxRecalled bounds what one token recalls; beyond it claims are read anew each
// time.
const maxRecalled = 16

// claim gives a claim from memory, or reads it and keeps it there. The key is
// the path with claimsKey before it, so that nothing is put together on the path
// of a request.
func (p *Principal) claim(key string) *property {
	head := p.token.recalled.Load()
	for r := head; r != nil; r = r.rest {
		if r.key == key {
			return r.property
		}
	}
	if head != nil && head.length >= maxRecalled {
		return newProperty(key, p.readClaim(key))
	}
	list := p.standing.authority.shelves.recall(key, p.readClaim(key), head)
	p.standing.authority.cache.change(p.token, func() {
		p.token.recalled.CompareAndSwap(head, list) // if another request was faster, the next one keeps it
	})
	return list.property
}

// readClaim reads a claim anew; nil if the token does not hold it.
func (p *Principal) readClaim(key string) jsontext.Value {
	own, _ := parseClaims([]byte(p.token.claims.of(p.token.text))) // both were made of what was read
	common, _ := parseClaims([]byte(p.standing.claims))
	value, _ := append(own, common...).lookup(key[len(claimsKey):])
	return value
}

func newProperty(key string, value jsontext.Value) *property {
	if value == nil {
		return &property{key: key}
	}
	return &property{key, newValues(scalars(value))}
}

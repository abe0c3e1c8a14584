package auth

import (
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// claimSet is a token's claims set (RFC 7519, section 4), one level decoded.
type claimSet map[string]jsontext.Value

// parseClaims decodes one JSON object, strictly: a member that stands twice
// anywhere, or text that is not UTF-8, makes it no claims set at all.
func parseClaims(payload []byte) (claimSet, bool) {
	var claims claimSet
	if err := json.Unmarshal(payload, &claims); err != nil || claims == nil {
		return nil, false
	}
	return claims, true
}

// lookup finds a claim by its path: members joined by dots. At each level the
// longest member name that fits wins, so that names which hold dots themselves
// ("kubernetes.io", "https://acme.com/roles") can be reached.
func (c claimSet) lookup(path string) (jsontext.Value, bool) {
	for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '.') {
		value, ok := c[path[:end]]
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
	value, present := c[name]
	if !present {
		return "", true
	}
	return stringOf(value)
}

// present tells whether a top-level claim is there at all, whatever its value.
func (c claimSet) present(name string) bool {
	_, ok := c[name]
	return ok
}

// maxNumericDate is the largest number of seconds that a JSON number holds
// exactly; anything beyond is nonsense as a date.
const maxNumericDate = 1 << 53

// date gives a NumericDate (RFC 7519, section 2) in Unix seconds, possibly with
// a fraction. Not ok: present, but no number or out of range.
func (c claimSet) date(name string) (seconds float64, present, ok bool) {
	value, present := c[name]
	if !present {
		return 0, false, true
	}
	if value.Kind() != '0' {
		return 0, true, false
	}
	seconds, err := strconv.ParseFloat(string(value), 64)
	if err != nil || math.Abs(seconds) > maxNumericDate {
		return 0, true, false
	}
	return seconds, true, true
}

// audiences gives the aud claim: a string or an array of strings (RFC 7519,
// section 4.1.3). Nil if absent; not ok if of another type.
func (c claimSet) audiences() (list []string, ok bool) {
	value, present := c["aud"]
	if !present {
		return nil, true
	}
	if value.Kind() == '"' {
		s, ok := stringOf(value)
		return []string{s}, ok
	}
	if value.Kind() != '[' {
		return nil, false
	}
	return list, json.Unmarshal(value, &list) == nil
}

// texts gives a claim as a list: the strings of an array, or one string as one
// element, never split. Elements of other types say nothing and are left out.
func (c claimSet) texts(path string) []string {
	value, ok := c.lookup(path)
	if !ok {
		return nil
	}
	if value.Kind() == '"' {
		if s, ok := stringOf(value); ok && s != "" {
			return []string{s}
		}
		return nil
	}
	return stringsOf(value)
}

// words gives a claim as a list: a string is split at spaces (RFC 6749, section
// 3.3), an array gives its strings.
func (c claimSet) words(path string) []string {
	value, ok := c.lookup(path)
	if !ok {
		return nil
	}
	if value.Kind() == '"' {
		s, _ := stringOf(value)
		return strings.Fields(s)
	}
	return stringsOf(value)
}

// scalars gives a claim as texts to compare or show: a string as it is, a
// number or a boolean as it is written, an array's scalars one by one, null as
// nothing, an object as its JSON.
func scalars(value jsontext.Value) (list []string, array bool) {
	if value.Kind() != '[' {
		if s, ok := scalar(value); ok {
			return []string{s}, false
		}
		return nil, false
	}
	var elements []jsontext.Value
	if json.Unmarshal(value, &elements) != nil {
		return nil, true
	}
	for _, element := range elements {
		if s, ok := scalar(element); ok {
			list = append(list, s)
		}
	}
	return list, true
}

func scalar(value jsontext.Value) (string, bool) {
	switch value.Kind() {
	case '"':
		return stringOf(value)
	case 'n':
		return "", false
	}
	return string(value), true
}

func stringOf(value jsontext.Value) (string, bool) {
	if value.Kind() != '"' {
		return "", false
	}
	var s string
	return s, json.Unmarshal(value, &s) == nil
}

func stringsOf(value jsontext.Value) []string {
	if value.Kind() != '[' {
		return nil
	}
	var elements []jsontext.Value
	if json.Unmarshal(value, &elements) != nil {
		return nil
	}
	var list []string
	for _, element := range elements {
		if s, ok := stringOf(element); ok && s != "" {
			list = append(list, s)
		}
	}
	return list
}

package auth

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

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
	eachElement(value, func(element jsontext.Value) bool {
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
	array = eachElement(value, func(element jsontext.Value) bool {
		if s, ok := scalar(element); ok {
			list = append(list, s)
		}
		return true
	})
	if array {
		return list, true
	}
	if s, ok := scalar(value); ok {
		return []string{s}, false
	}
	return nil, false
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

// eachElement hands on an array's elements one by one; each is good until the
// next. It tells whether the value is an array and every element pleased.
func eachElement(value jsontext.Value, pleases func(jsontext.Value) bool) bool {
	if value.Kind() != '[' {
		return false
	}
	r := readers.Get().(*jose.Reader)
	defer readers.Put(r)
	return r.Each(value, pleases)
}

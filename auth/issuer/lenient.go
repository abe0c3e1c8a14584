package issuer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// What issuers publish is read leniently where it does not matter: a fault in a
// member that nobody needs must not turn away every token.

// lenient reads JSON with repeated names and bytes that are no UTF-8.
func lenient(data []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// pick reads the one object that data must be, and gives the members that are
// asked for, of which each may stand there once. What it gives may still hold
// bytes that are no UTF-8.
func pick(data []byte, names ...string) (map[string]jsontext.Value, error) {
	decoder := lenient(data)
	if token, err := decoder.ReadToken(); err != nil || token.Kind() != '{' {
		return nil, errors.New("is not a JSON object")
	}
	found := make(map[string]jsontext.Value, len(names))
	for decoder.PeekKind() == '"' {
		token, err := decoder.ReadToken()
		if err != nil {
			return nil, badJSON(decoder)
		}
		name := token.String()
		if !slices.Contains(names, name) {
			if err := decoder.SkipValue(); err != nil {
				return nil, badJSON(decoder)
			}
			continue
		}
		if _, twice := found[name]; twice {
			return nil, fmt.Errorf("has `%s` twice", name)
		}
		value, err := decoder.ReadValue()
		if err != nil {
			return nil, badJSON(decoder)
		}
		found[name] = slices.Clone(value)
	}
	if _, err := decoder.ReadToken(); err != nil {
		return nil, badJSON(decoder)
	}
	if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("is followed by something else")
	}
	return found, nil
}

// badJSON says where reading stopped, and nothing of what stands there.
func badJSON(decoder *jsontext.Decoder) error {
	return fmt.Errorf("is not JSON: malformed after byte %d", decoder.InputOffset())
}

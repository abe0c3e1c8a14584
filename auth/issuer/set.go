package issuer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	maxBodyBytes = 1 << 20
	maxKeys      = 100
)

// Set is an issuer's usable keys. It is immutable and safe for concurrent use.
type Set struct {
	keys []*Key
	byID map[string][]*Key
}

// Warning says why one key of a set is not used.
type Warning struct {
	// Index is the key's place in the set, from 0.
	Index int
	// KeyID is its `kid`, empty if it has none or it cannot be read.
	KeyID string
	// Reason says what is wrong with it; it quotes nothing of the key.
	Reason string
}

// String is the warning as a sentence.
func (w Warning) String() string {
	if w.KeyID == "" {
		return fmt.Sprintf("key %d of the set %s", w.Index, w.Reason)
	}
	return fmt.Sprintf("key %d of the set, %q, %s", w.Index, w.KeyID, w.Reason)
}

// ParseSet reads a key set (RFC 7517 §5) of at most 1 MiB and 100 keys. An
// error means that it is no key set at all. Keys that must not or cannot be
// used are left out one by one, each with a warning: symmetric and private
// ones, RSA below 2048 or above 16384 bits or otherwise weak, unknown types and
// algorithms, points off their curve, malformed ones. Keys for another use than
// signatures are left out in silence. Several keys may share one id. A set
// without a usable key is not an error here.
func ParseSet(data []byte) (*Set, []Warning, error) {
	members, err := splitSet(data)
	if err != nil {
		return nil, nil, err
	}
	s := &Set{byID: make(map[string][]*Key, len(members))}
	var warnings []Warning
	for i, member := range members {
		k, id, err := parseKey(member)
		switch {
		case err == nil && !s.holds(k):
			s.add(k)
		case err != nil && !errors.Is(err, errOtherUse):
			warnings = append(warnings, Warning{Index: i, KeyID: id, Reason: err.Error()})
		}
	}
	return s, warnings, nil
}

// Find returns the keys with this id, none if there is none. It allocates
// nothing; the slice must not be changed.
func (s *Set) Find(kid string) []*Key { return s.byID[kid] }

// All returns every key, in the issuer's order. The slice must not be changed.
func (s *Set) All() []*Key { return s.keys }

func (s *Set) add(k *Key) {
	s.keys = append(s.keys, k)
	s.byID[k.id] = append(s.byID[k.id], k)
}

// match returns the key of the set that is the same as k, or nil.
func (s *Set) match(k *Key) *Key {
	if s == nil {
		return nil
	}
	for _, candidate := range s.byID[k.id] {
		if candidate.same(k) {
			return candidate
		}
	}
	return nil
}

func (s *Set) holds(k *Key) bool { return s.match(k) != nil }

// encode writes the usable keys as a key set again: public members only, so
// that no secret an issuer published by mistake is ever kept.
func (s *Set) encode() (jsontext.Value, error) {
	var out struct {
		Keys []keyMembers `json:"keys"`
	}
	for _, k := range s.keys {
		out.Keys = append(out.Keys, k.members)
	}
	data, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encoding the key set: %w", err)
	}
	return data, nil
}

// splitSet takes a set apart without judging its keys. Repeated names and bad
// UTF-8 are left for parseKey to find, so that one key's fault stays its own.
func splitSet(data []byte) ([]jsontext.Value, error) {
	if len(data) > maxBodyBytes {
		return nil, fmt.Errorf("key set has more than %d bytes", maxBodyBytes)
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data),
		jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '{' {
		return nil, errors.New("key set is not a JSON object")
	}
	var keys []jsontext.Value
	found := false
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, badJSON(dec)
		}
		if name.String() != "keys" {
			if err := dec.SkipValue(); err != nil {
				return nil, badJSON(dec)
			}
			continue
		}
		if found {
			return nil, errors.New("key set has `keys` twice")
		}
		found = true
		if keys, err = splitKeys(dec); err != nil {
			return nil, err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, badJSON(dec)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("key set is followed by something else")
	}
	if !found {
		return nil, errors.New("key set has no `keys`: it must be an object with an array of that name")
	}
	return keys, nil
}

func splitKeys(dec *jsontext.Decoder) ([]jsontext.Value, error) {
	if tok, err := dec.ReadToken(); err != nil || tok.Kind() != '[' {
		return nil, errors.New("key set's `keys` is not an array")
	}
	var keys []jsontext.Value
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return nil, badJSON(dec)
		}
		if len(keys) == maxKeys {
			return nil, fmt.Errorf("key set has more than %d keys", maxKeys)
		}
		keys = append(keys, slices.Clone(value))
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, badJSON(dec)
	}
	return keys, nil
}

// badJSON says where reading stopped, and nothing of what stands there.
func badJSON(dec *jsontext.Decoder) error {
	return fmt.Errorf("key set is not JSON: malformed after byte %d", dec.InputOffset())
}

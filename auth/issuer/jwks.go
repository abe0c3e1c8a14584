package issuer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatehouse-proxy/gatehouse/internal/bom"
)

const maxKeys = 100

// JWKS is an issuer's usable keys. It is immutable and safe for concurrent use.
type JWKS struct {
	keys     []*Key
	byID     map[string][]*Key
	unusable map[string]string // why keys of these ids are not among them
	refresh  time.Duration     // after which a SPIFFE bundle asks to be fetched again; 0: it does not say
}

// ParseJWKS reads a key set of the issuer (RFC 7517 §5) of at most 1 MiB, and keeps the first 100
// keys that can be used. An error means that it is no key set at all. Keys that
// must not or cannot be used are left out one by one, each with a warning:
// symmetric and private ones, RSA below 2048 or above 8192 bits or otherwise weak,
// unknown types and algorithms, points off their curve, malformed ones. Keys for
// another use than signatures are left out without one. Members of a set that are not
// needed do not matter: they may be repeated or hold bytes that are no UTF-8. Several
// keys may share one id. A set without a usable key is not an error here.
func (c Config) ParseJWKS(data []byte) (*JWKS, []string, error) {
	list, refresh, err := splitJWKS(data)
	if err != nil {
		return nil, nil, err
	}
	s := &JWKS{byID: make(map[string][]*Key, min(len(list), maxKeys)), unusable: map[string]string{}}
	bundle := c.SPIFFE && slices.ContainsFunc(list, func(key jsontext.Value) bool { // where every key has one of two uses
		found, err := pick(key, "use")
		use, _ := textIn(found["use"])
		return err == nil && (use == useJWTSVID || use == useX509SVID)
	})
	if bundle {
		s.refresh = refresh
	}
	var warnings []string
	warn := func(i int, id, reason string) { // which quotes nothing of the key
		if id == "" {
			warnings = append(warnings, fmt.Sprintf("key %d of the set %s", i, reason))
			return
		}
		warnings = append(warnings, fmt.Sprintf("key %d of the set, %q, %s", i, id, reason))
	}
	for i, data := range list {
		members, err := readKey(data, bundle)
		id := members.ID
		var k *Key
		if err == nil {
			k, err = members.key()
		}
		switch {
		case err != nil:
			if len(s.unusable) < maxKeys && id != "" {
				s.unusable[id] = err.Error()
			}
			if !errors.Is(err, errOtherUse) && len(warnings) < maxKeys {
				warn(i, id, err.Error())
			}
		case s.match(k) != nil:
		case len(s.keys) == maxKeys:
			warn(i, id, fmt.Sprintf("and what follows it is left out: %d keys are kept", maxKeys))
			return s, warnings, nil
		default:
			s.add(k)
		}
	}
	return s, warnings, nil
}

// Unusable says why the set's key with this id cannot be used; empty if there is
// no such key, or it can.
func (s *JWKS) Unusable(kid string) string {
	if s == nil || len(s.byID[kid]) > 0 {
		return ""
	}
	return s.unusable[kid]
}

// All returns every key, in the issuer's order. The slice must not be changed.
func (s *JWKS) All() []*Key { return s.keys }

func (s *JWKS) add(k *Key) {
	s.keys = append(s.keys, k)
	s.byID[k.id] = append(s.byID[k.id], k)
}

// match returns the key of the set that is the same as k, or nil.
func (s *JWKS) match(k *Key) *Key {
	if s == nil {
		return nil
	}
	for _, candidate := range s.byID[k.id] {
		if candidate.identity() == k.identity() {
			return candidate
		}
	}
	return nil
}

// filter is the set with those of its keys that are to be kept.
func (s *JWKS) filter(keep func(*Key) bool) *JWKS {
	rest := &JWKS{byID: make(map[string][]*Key, len(s.byID)), unusable: s.unusable, refresh: s.refresh}
	for _, k := range s.keys {
		if keep(k) {
			rest.add(k)
		}
	}
	return rest
}

// encode writes the usable keys as a key set again: public members only, so
// that no secret an issuer published by mistake is ever kept.
func (s *JWKS) encode() (jsontext.Value, error) {
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

// parseUsable parses a set that must hold at least one usable key: an empty one
// would turn everybody away, and is more likely a fault than intended.
func (c Config) parseUsable(data []byte) (*JWKS, []string, error) {
	jwks, warnings, err := c.ParseJWKS(data)
	switch {
	case err != nil:
		return nil, nil, err
	case len(jwks.keys) > 0:
		return jwks, warnings, nil
	case len(warnings) == 0:
		return nil, nil, errors.New("it has no key for signatures")
	}
	return nil, nil, fmt.Errorf("it has no usable key: %s", warnings[0])
}

// splitJWKS takes a set apart without checking its keys, and gives its
// spiffe_refresh_hint; 0 if it has none that makes sense.
func splitJWKS(data []byte) (keys []jsontext.Value, refresh time.Duration, err error) {
	if len(data) > maxBodyBytes {
		return nil, 0, fmt.Errorf("key set has more than %d bytes", maxBodyBytes)
	}
	if data, err = bom.Skip(data); err != nil {
		return nil, 0, fmt.Errorf("key set: %w", err)
	}
	found, err := pick(data, "keys", "spiffe_refresh_hint")
	if err != nil {
		return nil, 0, fmt.Errorf("key set %w", err)
	}
	list, ok := found["keys"]
	if !ok {
		return nil, 0, errors.New("key set has no `keys`: it must be an object with an array of that name")
	}
	if list.Kind() != '[' || json.Unmarshal(list, &keys, leniently) != nil {
		return nil, 0, errors.New("key set's `keys` is not an array")
	}
	var seconds float64
	if hint := found["spiffe_refresh_hint"]; len(hint) > 0 && json.Unmarshal(hint, &seconds) == nil && seconds > 0 {
		refresh = time.Duration(min(seconds, 24*time.Hour.Seconds()) * float64(time.Second))
	}
	return keys, refresh, nil
}

// leniently lets JSON have repeated names and bytes that are no UTF-8: a fault in a
// member that nobody needs must not turn away every token.
var leniently = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// pick reads the one object that data must be, and returns the members that are
// asked for, of which none may be there twice. What it returns may still hold bytes
// that are no UTF-8.
func pick(data []byte, names ...string) (map[string]jsontext.Value, error) {
	decoder := jsontext.NewDecoder(bytes.NewBuffer(data), leniently)
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

// badJSON says where reading stopped, and quotes nothing.
func badJSON(decoder *jsontext.Decoder) error {
	return fmt.Errorf("is not JSON: malformed after byte %d", decoder.InputOffset())
}

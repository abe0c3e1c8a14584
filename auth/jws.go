package auth

import (
	"encoding/base64"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// compact is a token in JWS compact serialization (RFC 7515, section 7.1),
// taken apart and decoded but not verified.
type compact struct {
	header    header
	payload   []byte // the JSON of the claims
	signed    string // what the signature is over
	signature []byte
}

// header is the JOSE header (RFC 7515, section 4.1) as far as it matters here.
// Members that would bring a key along (jku, jwk, x5u, x5c) are never read.
type header struct {
	Algorithm string         `json:"alg"`
	KeyID     *string        `json:"kid"`
	Type      string         `json:"typ"`
	Critical  jsontext.Value `json:"crit"`
	Base64    *bool          `json:"b64"`
}

// parseCompact takes a token apart, strictly: three parts of unpadded base64url
// without a superfluous bit, header and payload one JSON object each, in UTF-8,
// no member twice.
func parseCompact(token string) (*compact, *Refusal) {
	head, rest, ok := strings.Cut(token, ".")
	if !ok {
		return nil, ErrNotJWS
	}
	body, tail, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, ErrNotJWS
	}
	headerJSON, ok := decodeBase64URL(head)
	if !ok {
		return nil, ErrNotJWS
	}
	c := &compact{signed: token[:len(head)+1+len(body)]}
	if c.payload, ok = decodeBase64URL(body); !ok {
		return nil, ErrNotJWS
	}
	if c.signature, ok = decodeBase64URL(tail); !ok {
		return nil, ErrNotJWS
	}
	if err := json.Unmarshal(headerJSON, &c.header); err != nil || !isJSONObject(headerJSON) {
		return nil, ErrNotJWS
	}
	return c, c.header.check()
}

// check refuses headers that ask for what is not understood here: any critical
// extension (RFC 7515, section 4.1.11) and unencoded payloads (RFC 7797).
func (h *header) check() *Refusal {
	if h.Critical != nil {
		return ErrCritical
	}
	if h.Base64 != nil && !*h.Base64 {
		return ErrCritical
	}
	return nil
}

// mediaType is the header's typ as RFC 7515, section 4.1.9, reads it: case
// does not matter and "application/" may be left out.
func (h *header) mediaType() string {
	return strings.TrimPrefix(strings.ToLower(h.Type), "application/")
}

// decodeBase64URL decodes unpadded base64url. Go's decoder passes over line
// breaks, so the alphabet is checked first.
func decodeBase64URL(s string) ([]byte, bool) {
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil
}

// isJSONObject tells whether a JSON text, known to be valid, is an object: null
// would decode into anything.
func isJSONObject(text []byte) bool {
	return jsontext.Value(text).Kind() == '{'
}

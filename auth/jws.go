package auth

import (
	"encoding/base64"
	"strings"
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
	algorithm string
	keyID     string
	hasKeyID  bool
	mediaType string // typ as section 4.1.9 reads it: lower case, without "application/"
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
	var refusal *Refusal
	c.header, refusal = parseHeader(headerJSON)
	return c, refusal
}

// parseHeader refuses headers that ask for what is not understood here: any
// critical extension (RFC 7515, section 4.1.11) and unencoded payloads (RFC
// 7797).
func parseHeader(text []byte) (h header, refusal *Refusal) {
	members, ok := parseClaims(text)
	if !ok {
		return h, ErrNotJWS
	}
	algorithm, ok1 := members.text("alg")
	keyID, ok2 := members.text("kid")
	typ, ok3 := members.text("typ")
	if !ok1 || !ok2 || !ok3 {
		return h, ErrNotJWS
	}
	if encoded, ok := members.get("b64"); members.present("crit") || ok && encoded.Kind() != 't' {
		return h, ErrCritical
	}
	return header{algorithm, keyID, members.present("kid"), mediaType(typ)}, nil
}

// mediaType normalizes a typ: case does not matter and "application/" may be
// left out.
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// decodeBase64URL decodes unpadded base64url. Go's decoder passes over line
// breaks, so the alphabet is checked first.
func decodeBase64URL(s string) ([]byte, bool) {
	if s == "" || strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return b, err == nil
}

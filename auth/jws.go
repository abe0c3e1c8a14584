package auth

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// compact is a token in JWS compact serialization (RFC 7515, section 7.1),
// taken apart and decoded but not verified.
type compact struct {
	header    header
	payload   []byte // the JSON of the claims
	signed    []byte // what the signature is over
	signature []byte
}

// header is the JOSE header (RFC 7515, section 4.1) as far as it matters here.
// Members that would bring a key along (jku, jwk, x5u, x5c) are never read.
type header struct {
	hint      issuer.Hint // of the key
	mediaType string      // typ as section 4.1.9 reads it: lower case, without "application/"
}

// decode takes a token apart, strictly: three parts of unpadded base64url without
// a superfluous bit. What they say is put behind the token if it has room there.
// It gives the JSON of the header.
func (c *compact) decode(token []byte) (headerJSON []byte, ok bool) {
	head, rest, ok1 := bytes.Cut(token, dot)
	body, tail, ok2 := bytes.Cut(rest, dot)
	if !ok1 || !ok2 {
		return nil, false
	}
	signed := len(head) + len(dot) + len(body)
	c.signed = token[:signed:signed]
	room := token
	if headerJSON, room, ok = appendBase64URL(room, head); !ok {
		return nil, false
	}
	if c.payload, room, ok = appendBase64URL(room, body); !ok {
		return nil, false
	}
	c.signature, _, ok = appendBase64URL(room, tail)
	return headerJSON, ok
}

var dot = []byte(".")

// readHeader refuses headers that ask for what is not understood here: any
// critical extension (RFC 7515, section 4.1.11) and unencoded payloads (RFC
// 7797).
func readHeader(members claimSet) (h header, refusal *Refusal) {
	algorithm, ok1 := members.text("alg")
	keyID, ok2 := members.text("kid")
	typ, ok3 := members.text("typ")
	if !ok1 || !ok2 || !ok3 {
		return h, ErrHeaderMember
	}
	x5t, _ := members.text("x5t") // no more than a hint
	x5tS256, _ := members.text("x5t#S256")
	if encoded, ok := members.get("b64"); members.present("crit") || ok && encoded.Kind() != 't' {
		return h, ErrCritical
	}
	hint := issuer.Hint{Algorithm: algorithm, KeyID: keyID, HasKeyID: members.present("kid"), X5T: x5t, X5TS256: x5tS256}
	return header{hint, mediaType(typ)}, nil
}

// mediaType normalizes a typ: case does not matter and "application/" may be
// left out.
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}

// appendBase64URL decodes unpadded base64url and puts what it says behind room.
// Go's decoder passes over line breaks, so they are looked for first.
func appendBase64URL(room, encoded []byte) (decoded, whole []byte, ok bool) {
	if len(encoded) == 0 || bytes.IndexByte(encoded, '\r') >= 0 || bytes.IndexByte(encoded, '\n') >= 0 {
		return nil, room, false
	}
	whole, err := strictBase64URL.AppendDecode(room, encoded)
	return whole[len(room):len(whole):len(whole)], whole, err == nil
}

// strictBase64URL is made once: Strict copies its tables.
var strictBase64URL = base64.RawURLEncoding.Strict()

// Package jose reads what JWTs of all kinds are made of, strictly and without
// copying: the compact serialization of a JWS (RFC 7515), base64url, JSON objects;
// and it verifies signatures by the algorithms that may be accepted (RFC 7518, RFC
// 8037), which are asymmetric.
//
// It judges form only. Whose key may sign, and what a JWT must say, is for its
// callers.
package jose

import (
	"bytes"
	"encoding/base64"
)

// Compact is a JWS in compact serialization (RFC 7515, section 7.1), taken apart
// and decoded but not verified.
type Compact struct {
	Header    []byte // the JSON of the header
	Payload   []byte
	Signed    []byte // what the signature is over
	Signature []byte
}

// Decode takes a JWS apart, strictly: three parts of unpadded base64url without a
// superfluous bit. What they say is put behind the text if it has room there.
func (c *Compact) Decode(text []byte) (ok bool) {
	head, rest, ok1 := bytes.Cut(text, dot)
	body, tail, ok2 := bytes.Cut(rest, dot)
	if !ok1 || !ok2 {
		return false
	}
	signed := len(head) + len(dot) + len(body)
	c.Signed = text[:signed:signed]
	room := text
	if c.Header, room, ok = AppendBase64URL(room, head); !ok {
		return false
	}
	if c.Payload, room, ok = AppendBase64URL(room, body); !ok {
		return false
	}
	c.Signature, _, ok = AppendBase64URL(room, tail)
	return ok
}

var dot = []byte(".")

// AppendBase64URL decodes unpadded base64url and puts what it says behind room.
// Go's decoder passes over line breaks, so they are looked for first.
func AppendBase64URL(room, encoded []byte) (decoded, whole []byte, ok bool) {
	if len(encoded) == 0 || bytes.IndexByte(encoded, '\r') >= 0 || bytes.IndexByte(encoded, '\n') >= 0 {
		return nil, room, false
	}
	whole, err := strictBase64URL.AppendDecode(room, encoded)
	return whole[len(room):len(whole):len(whole)], whole, err == nil
}

// strictBase64URL is made once: Strict copies its tables.
var strictBase64URL = base64.RawURLEncoding.Strict()

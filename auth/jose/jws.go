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
	"crypto"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of PS256
	_ "crypto/sha512" // and of PS384 and PS512
	"encoding/base64"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
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

// Algorithms lists the signature algorithms that can be accepted (RFC 7518,
// section 3.1; RFC 8037; RFC 9864 for the name Ed25519): asymmetric ones only.
// A shared secret would let whoever verifies also sign.
var Algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
	"ES256", "ES384", "ES512", "EdDSA", "Ed25519",
}

// The kinds of keys: a key type, or the curve where that decides.
const (
	KindRSA     = "RSA"
	KindP256    = "P-256"
	KindP384    = "P-384"
	KindP521    = "P-521"
	KindEd25519 = "Ed25519"
)

// kinds says which kind of key an algorithm needs.
var kinds = map[string]string{
	"RS256": KindRSA, "RS384": KindRSA, "RS512": KindRSA,
	"PS256": KindRSA, "PS384": KindRSA, "PS512": KindRSA,
	"ES256": KindP256, "ES384": KindP384, "ES512": KindP521,
	"EdDSA": KindEd25519, "Ed25519": KindEd25519,
}

// Kind is the kind of key that an algorithm needs; empty for one that is not
// supported.
func Kind(algorithm string) string { return kinds[algorithm] }

// Verify tells whether the signature holds. The key must be of the algorithm's
// [Kind].
func Verify(algorithm string, key crypto.PublicKey, signed, signature []byte) bool {
	hash := pssHashes[algorithm]
	if hash == 0 {
		verifier := verifiers[algorithm]
		return verifier != nil && verifier.Verify(signed, signature, key) == nil
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return false
	}
	digest := hash.New()
	digest.Write(signed)
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	return rsa.VerifyPSS(public, hash, digest.Sum(nil), signature, opts) == nil
}

// pssHashes are the hashes of RSASSA-PSS, whose salt must be as long as the hash (RFC
// 7518, section 3.5); jwx's own verifier takes a salt of any length.
var pssHashes = map[string]crypto.Hash{"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512}

// verifiers holds the verifier of each other algorithm; they keep no state.
var verifiers = func() map[string]jws.Verifier {
	all := make(map[string]jws.Verifier, len(Algorithms))
	for _, name := range Algorithms {
		known := name
		if name == "Ed25519" {
			known = "EdDSA"
		}
		verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(known))
		if err != nil {
			panic(fmt.Sprintf("no verifier of %s: %v", name, err))
		}
		all[name] = verifier
	}
	return all
}()

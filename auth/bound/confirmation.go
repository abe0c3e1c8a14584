package bound

import (
	"crypto/sha256"
	"encoding/base64"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Confirmation is what a token's cnf claim says: which keys who sends the token
// must hold (RFC 7800, section 3.1). Where it names both kinds, both must be held.
type Confirmation struct {
	// Thumbprint is jkt: the RFC 7638 thumbprint of the key that signs DPoP proofs
	// (RFC 9449, section 6.1); empty: none.
	Thumbprint string

	// Certificate is x5t#S256: the SHA-256 of the client's certificate (RFC 8705,
	// section 3.1); empty: none.
	Certificate string
}

// ParseConfirmation reads the JSON of a cnf claim. It refuses members that it does
// not know: each is one more thing that who sends the token has to prove.
func ParseConfirmation(cnf []byte) (Confirmation, *Refusal) {
	members, err := jose.ReadObject(cnf, make(jose.Object, 0, 4))
	if err != nil || len(members) == 0 {
		return Confirmation{}, ErrConfirmation
	}
	var c Confirmation
	var refusal *Refusal
	for _, member := range members {
		hash := &c.Thumbprint
		switch string(member.Name) {
		case "jkt":
		case "x5t#S256":
			hash = &c.Certificate
		default:
			return Confirmation{}, ErrOtherBinding
		}
		// A hash has one spelling, so that texts can be compared from then on.
		text, _ := members.Text(string(member.Name))
		if _, _, ok := jose.AppendBase64URL(make([]byte, 0, sha256.Size), text); !ok || len(text) != hashChars {
			refusal = ErrConfirmation
		}
		*hash = string(text)
	}
	if refusal != nil {
		return Confirmation{}, refusal
	}
	return c, nil
}

// hashChars is the length of a SHA-256 in base64url.
const hashChars = (sha256.Size*8 + 5) / 6

// isHash tells whether a text is this SHA-256 in base64url.
func isHash[T string | []byte](text T, sum [sha256.Size]byte) bool {
	var encoded [hashChars]byte
	base64.RawURLEncoding.Encode(encoded[:], sum[:])
	return string(text) == string(encoded[:])
}

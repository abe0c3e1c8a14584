package bound

import (
	"crypto/sha256"
	"encoding/base64"
	"sync"

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
	r := readers.Get().(*jose.Reader)
	defer readers.Put(r)
	members, err := r.Read(cnf, make(jose.Object, 0, 4))
	if err != nil || len(members) == 0 {
		return Confirmation{}, ErrConfirmation
	}
	var c Confirmation
	for _, member := range members {
		switch string(member.Name) {
		case "jkt":
			c.Thumbprint = hashText(members, "jkt")
		case "x5t#S256":
			c.Certificate = hashText(members, "x5t#S256")
		default:
			return Confirmation{}, ErrOtherBinding
		}
	}
	if _, present := members.Get("jkt"); present && c.Thumbprint == "" {
		return Confirmation{}, ErrConfirmation
	}
	if _, present := members.Get("x5t#S256"); present && c.Certificate == "" {
		return Confirmation{}, ErrConfirmation
	}
	return c, nil
}

var readers = sync.Pool{New: func() any { return new(jose.Reader) }}

// hashText gives a member that is a SHA-256 in base64url, and "" for anything else.
// A hash has one spelling, so that texts can be compared from then on.
func hashText(members jose.Object, name string) string {
	text, _ := members.Text(name)
	if len(text) != hashChars {
		return ""
	}
	if _, _, ok := jose.AppendBase64URL(make([]byte, 0, sha256.Size), text); !ok {
		return ""
	}
	return string(text)
}

// hashChars is the length of a SHA-256 in base64url.
const hashChars = (sha256.Size*8 + 5) / 6

// isHash tells whether a text is this SHA-256 in base64url.
func isHash[T string | []byte](text T, sum [sha256.Size]byte) bool {
	var encoded [hashChars]byte
	base64.RawURLEncoding.Encode(encoded[:], sum[:])
	return string(text) == string(encoded[:])
}

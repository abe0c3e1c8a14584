package issuer

import (
	"crypto/rsa"
	"fmt"
	"maps"
	"slices"
)

// The bounds of how many keys are tried for one token.
const (
	maxTried = 32
	maxWork  = 10_000 // microseconds, about
)

// Hint is what a token's header says of the key that signed it (RFC 7515 §4.1).
// None of it is to be believed before the signature is.
type Hint struct {
	Algorithm string
	// KeyID is its `kid`, and HasKeyID whether there is one.
	KeyID    string
	HasKeyID bool
	// X5T and X5TS256 are its `x5t` and `x5t#S256`, empty if it has none.
	X5T, X5TS256 string
}

// Choice is which keys of a set may have signed a token.
type Choice struct {
	// Keys are those to try, in the issuer's order.
	Keys []*Key
	// Known: the set holds a key of the token's id, whether it fits or not.
	Known bool
	// Left is how many more would fit, and are not tried for the work it takes.
	// Of a token that none of Keys signed, nothing can be said then.
	Left int
}

// Choose finds the keys that may have signed a token: those that fit its
// algorithm, have its key id if it names one, and its certificate if it names one
// and any key has it. At most 32 are tried, and less where a signature costs much.
func (s *Set) Choose(hint Hint) (c Choice) {
	if s == nil {
		return c
	}
	keys := s.keys
	if hint.HasKeyID {
		keys = s.byID[hint.KeyID]
		c.Known = len(keys) > 0
	}
	byCertificate := slices.ContainsFunc(keys, hint.sameCertificate)
	work := 0
	for _, k := range keys {
		if !k.Fits(hint.Algorithm) || byCertificate && !hint.sameCertificate(k) {
			continue
		}
		if len(c.Keys) > 0 && (len(c.Keys) == maxTried || work+k.work() > maxWork) {
			c.Left++
			continue
		}
		work += k.work()
		c.Keys = append(c.Keys, k)
	}
	return c
}

func (h Hint) sameCertificate(k *Key) bool {
	return h.X5TS256 != "" && h.X5TS256 == k.members.X5TS256 || h.X5T != "" && h.X5T == k.members.X5T
}

// work is about how long one signature takes to verify, in microseconds.
func (k *Key) work() int {
	switch k.kind {
	case kindRSA:
		public := k.public.(*rsa.PublicKey)
		words, steps := public.N.BitLen()/1024, 1
		for e := public.E; e > 1; e /= 2 {
			steps++
		}
		return words * words * steps / 2
	case kindP384:
		return 700
	case kindP521:
		return 2000
	}
	return 100
}

// costly says for which algorithms a set holds more keys than are tried for a
// token that names none; nil if for none.
func (s *Set) costly() error {
	for _, algorithm := range slices.Sorted(maps.Keys(kinds)) {
		if c := s.Choose(Hint{Algorithm: algorithm}); c.Left > 0 {
			return fmt.Errorf("the set has %d keys for %s: only the first %d are tried for a token that names no key",
				len(c.Keys)+c.Left, algorithm, len(c.Keys))
		}
	}
	return nil
}

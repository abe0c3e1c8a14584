//go:build !race

// Under the race detector a sync.Pool forgets at random, and so allocates.

package bound

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"math/big"
	"testing"
	"time"
)

// A proof costs few allocations beside those of its signature.
func TestProofCostsFewAllocations(t *testing.T) {
	me := newClient(t, "ES256", "me")
	proof := me.proof(t, nil, nil)
	memory := NewReplays(1000, 2*time.Minute)
	c := newChecker(t, func(c *Config) { c.Replays = memory })
	q := me.request(proof)
	whole := testing.AllocsPerRun(100, func() {
		if refusal, _ := c.Check(q); refusal != nil {
			t.Fatal(refusal)
		}
		forget(memory)
	})
	digest := sha256.Sum256(nil)
	r, s, err := ecdsa.Sign(rand.Reader, me.private.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	bare := testing.AllocsPerRun(100, func() {
		ecdsa.Verify(me.private.Public().(*ecdsa.PublicKey), digest[:], new(big.Int).Set(r), new(big.Int).Set(s))
	})
	if whole > bare+20 {
		t.Errorf("%v allocations, and %v of the signature alone", whole, bare)
	}
	plain := &Request{Token: theToken}
	if n := testing.AllocsPerRun(100, func() { c.Check(plain) }); n > 1 {
		t.Errorf("%v allocations for a token that is not bound", n)
	}
}

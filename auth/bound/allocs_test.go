//go:build !race

// Under the race detector a sync.Pool forgets at random, and so allocates.

package bound

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
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

// A fresh proof costs little beside the verification of its signature. Of many short
// rounds in turn the fastest count, so that other load on the machine does not.
func TestProofCostsLittle(t *testing.T) {
	me := newClient(t, "ES256", "me")
	q := me.request(me.proof(t, nil, nil))
	end := strings.LastIndexByte(q.Proofs[0], '.')
	signature, err := base64.RawURLEncoding.DecodeString(q.Proofs[0][end+1:])
	if err != nil {
		t.Fatal(err)
	}
	public, signed := me.private.Public().(*ecdsa.PublicKey), []byte(q.Proofs[0][:end])
	memory := NewReplays(1000, 2*time.Minute)
	c := newChecker(t, func(c *Config) { c.Replays = memory })
	fastest := func(run func()) func() time.Duration {
		least := time.Hour
		return func() time.Duration {
			began := time.Now()
			run()
			least = min(least, time.Since(began))
			return least
		}
	}
	bare := fastest(func() {
		digest := sha256.Sum256(signed)
		if !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			t.Error("the signature does not hold")
		}
	})
	whole := fastest(func() {
		if refusal, _ := c.Check(q); refusal != nil {
			t.Error(refusal)
		}
	})
	for range 3000 {
		bare()
		whole()
		forget(memory)
	}
	of, is := bare(), whole()
	t.Logf("%s and %s", is, of)
	if is > of*6/5 {
		t.Errorf("%s for a proof, %s for its signature alone: expected at most 1.2 times that", is, of)
	}
}

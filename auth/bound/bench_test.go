package bound

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"
	"time"
)

// BenchmarkFloor is the bare verification of a proof's signature, hash included:
// what cannot be saved. BenchmarkCheck is to be held against it.
func BenchmarkFloor(b *testing.B) {
	me := newClient(b, "ES256", "bench")
	proof := benchProof(b, me)
	end := strings.LastIndexByte(proof, '.')
	signature, err := base64.RawURLEncoding.DecodeString(proof[end+1:])
	if err != nil {
		b.Fatal(err)
	}
	public, signed := me.private.Public().(*ecdsa.PublicKey), []byte(proof[:end])
	b.ReportAllocs()
	for b.Loop() {
		digest := sha256.Sum256(signed)
		if !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
			b.Fatal("the signature does not hold")
		}
	}
}

// benchProof is for a token as long as most are.
func benchProof(b *testing.B, c *client) string {
	sum := sha256.Sum256([]byte(benchToken))
	return c.proof(b, nil, map[string]any{"ath": base64.RawURLEncoding.EncodeToString(sum[:])})
}

var benchToken = strings.Repeat("token", 170)

// BenchmarkCheck is the whole of it, with a proof that was not seen before.
func BenchmarkCheck(b *testing.B) {
	for _, algorithm := range []string{"ES256", "EdDSA", "RS256", "PS256"} {
		b.Run(algorithm, func(b *testing.B) {
			me := newClient(b, algorithm, "bench")
			q := me.request(benchProof(b, me))
			q.Token = benchToken
			memory := NewReplays(1000, 2*time.Minute)
			c := newChecker(b, func(c *Config) { c.Replays = memory })
			b.ReportAllocs()
			for b.Loop() {
				if refusal, _ := c.Check(q); refusal != nil {
					b.Fatal(refusal)
				}
				forget(memory)
			}
		})
	}
}

// forget makes the one proof of a benchmark a fresh one again.
func forget(r *Replays) {
	for i := range r.shards {
		s := &r.shards[i]
		for _, proofs := range s.maps {
			r.used.Add(-int64(len(proofs)))
			clear(proofs)
		}
	}
}

// BenchmarkReplays is the memory alone, full of other proofs, by many at once.
func BenchmarkReplays(b *testing.B) {
	memory := NewReplays(1<<30, 2*time.Minute)
	var thumbprint [32]byte
	uri := []byte(theURI)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		room := make([]byte, 0, 512)
		id := make([]byte, 16)
		for pb.Next() {
			copy(id, nextID())
			now := lastID.Load() / 100_000 // as if so many came each second
			if refusal := memory.take(memory.sum(room, &thumbprint, uri, id), now+60, now); refusal != nil && refusal != ErrProofRepeated {
				b.Error(refusal)
			}
		}
	})
}

// BenchmarkRefused is what a proof costs that cannot be good, signature apart.
func BenchmarkRefused(b *testing.B) {
	me, other := newClient(b, "ES256", "bench"), newClient(b, "ES256", "other")
	c := newChecker(b)
	for name, proof := range map[string]string{
		"garbage": "garbage", "old": me.proof(b, nil, map[string]any{"iat": 1}), "other_key": other.proof(b, nil, nil),
	} {
		b.Run(name, func(b *testing.B) {
			q := me.request(proof)
			b.ReportAllocs()
			for b.Loop() {
				if refusal, _ := c.Check(q); refusal == nil {
					b.Fatal("let in")
				}
			}
		})
	}
}

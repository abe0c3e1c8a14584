package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

var benchAlgorithms = []string{"RS256", "ES256", "EdDSA"}

// BenchmarkFloor is the bare cryptography of a token, hash included, and the
// fingerprint of one that is in the cache: what cannot be saved.
func BenchmarkFloor(b *testing.B) {
	g := newGate(b, benchAlgorithms...)
	for _, algorithm := range benchAlgorithms {
		token := g.usualToken(algorithm)
		parts, refusal := parseCompact(token)
		if refusal != nil {
			b.Fatal(refusal)
		}
		public := g.idp.PublicKey(parts.header.hint.KeyID)
		b.Run(algorithm, func(b *testing.B) {
			for b.Loop() {
				if !bareVerify(public, parts.Signed, parts.Signature) {
					b.Fatal("the signature does not hold")
				}
			}
		})
	}
	token := g.usualToken("RS256")
	b.Run("GMAC", func(b *testing.B) {
		prints, err := newFingerprinter()
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			_ = prints(token)
		}
	})
}

func bareVerify(public crypto.PublicKey, signed, signature []byte) bool {
	switch key := public.(type) {
	case *rsa.PublicKey:
		digest := sha256.Sum256(signed)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(signed)
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return ecdsa.Verify(key, digest[:], r, s)
	case ed25519.PublicKey:
		return ed25519.Verify(key, signed, signature)
	}
	return false
}

// BenchmarkVerify is the whole of it, to be held against BenchmarkFloor of the
// same run.
func BenchmarkVerify(b *testing.B) {
	g := newGate(b, benchAlgorithms...)
	remembering := g.verifier()
	forgetful := g.verifier(func(c *VerifierConfig) { c.CacheBytes = 0 })
	for name, v := range map[string]*Verifier{"remembered": remembering, "new": forgetful} {
		for _, algorithm := range benchAlgorithms {
			token := g.usualToken(algorithm)
			letIn(b, v, token)
			ctx := b.Context()
			b.Run(name+"/"+algorithm, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if v.Verify(ctx, token).Token == nil {
						b.Fatal("refused")
					}
				}
			})
			b.Run(name+"/"+algorithm+"/parallel", func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if v.Verify(ctx, token).Token == nil {
							b.Error("refused")
						}
					}
				})
			})
		}
	}
}

// BenchmarkOpaque is what a token costs that its issuer was asked about before, beside
// a JWT of the same claims that was verified before; and a JWT of an issuer that is
// asked about all its tokens.
func BenchmarkOpaque(b *testing.B) {
	g := newGate(b)
	claims := map[string]any{"sub": "jane", "sid": "1", "groups": []string{"a", "b"}, "scope": "x y", "exp": at(time.Hour)}
	jwt := g.idp.Mint(claims)
	asked := g.idp.Mint(claims)
	g.idp.Know(asked, map[string]any{"jti": idp.Absent, "sub": "jane"})
	all := g.verifier(g.asking(allTokens))
	for _, one := range []struct {
		name, token string
		v           *Verifier
	}{
		{"JWT", jwt, g.verifier()},
		{"opaque", g.idp.Opaque(claims), g.verifier(g.asking())},
		{"asked_JWT", asked, all},
	} {
		letIn(b, one.v, one.token)
		ctx := b.Context()
		b.Run("remembered/"+one.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if verdict := one.v.Verify(ctx, one.token); !verdict.Cached {
					b.Fatal("not remembered, or refused")
				}
			}
		})
	}
}

// BenchmarkRefused is what a token costs that is not let in, beside what
// decoding it with the standard library costs, which is all that the floor does
// for most of them. A bad signature is to be held against BenchmarkFloor.
func BenchmarkRefused(b *testing.B) {
	g := newGate(b, "RS256")
	v := g.verifier()
	good := g.usualToken("RS256")
	letIn(b, v, good)
	tokens := []struct{ name, token string }{
		{"garbage", "garbage"},
		{"expired", g.idp.Mint(map[string]any{"exp": at(-1)})},
		{"none", g.idp.Mint(nil, idp.WithHeader("alg", "none"), idp.WithSigner(idp.NoSignature))},
		{"unknown_issuer", g.idp.Mint(map[string]any{"iss": "https://issuer.invalid"})},
		{"unknown_kid", g.idp.Mint(nil, idp.WithHeader("kid", "invented"))},
		{"bad_signature", good[:len(good)-4] + "AAAA"},
	}
	for _, kind := range tokens {
		b.Run(kind.name, func(b *testing.B) {
			refused := v.Verify(b.Context(), kind.token).Refusal // may wait for keys
			b.ReportAllocs()
			for b.Loop() {
				if v.Verify(b.Context(), kind.token).Refusal != refused {
					b.Fatal("let in, or refused for another reason")
				}
			}
		})
		b.Run(kind.name+"/decoding", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decodeSimply(kind.token)
			}
		})
	}
}

// decodeSimply reads what the floor reads.
func decodeSimply(token string) (header struct{ Alg, Kid string }, claims struct {
	Iss string
	Exp int64
}) {
	parts := strings.Split(token, ".")
	for i, into := range []any{&header, &claims} {
		if len(parts) != 3 {
			break
		}
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			break
		}
	}
	return header, claims
}

// BenchmarkMemory measures the live heap that a token takes in the cache, with
// and without claims that routes ask for, beside what is counted for it.
func BenchmarkMemory(b *testing.B) {
	for _, asked := range []int{0, 1} {
		b.Run(fmt.Sprintf("claims=%d", asked), func(b *testing.B) { measureMemory(b, asked) })
	}
}

func measureMemory(b *testing.B, asked int) {
	const tokens = 100_000
	g := newGate(b, "RS256")
	a, err := newAuthority(g.policy(), g.engine)
	if err != nil {
		b.Fatal(err)
	}
	letIn(b, g.verifier(), g.usualToken("RS256"))
	key := g.engine.JWKS().All()[0]
	prints, err := newFingerprinter()
	if err != nil {
		b.Fatal(err)
	}
	// One token's parts, with another subject each time: signing 100 000 tokens
	// would take minutes and change nothing in memory.
	token := g.usualToken("RS256")
	parts, refusal := parseCompact(token)
	if refusal != nil {
		b.Fatal(refusal)
	}
	claims, _ := parseClaims(parts.Payload)
	subject, _ := claims.text("sub")
	for b.Loop() {
		before := liveHeap()
		c := newCache(1<<30, g.clock.now)
		for i := range tokens {
			own := fmt.Sprintf("%0*d", len(subject), i)
			payload := strings.Replace(string(parts.Payload), subject, own, 1)
			claims, _ := parseClaims([]byte(payload))
			r := &Token{sum: prints(token[:len(token)-10] + own[len(own)-10:])}
			if refusal := a.describe(r, &header{}, claims, key); refusal != nil {
				b.Fatal(refusal)
			}
			if asked > 0 {
				unregistered(b, r).Claim("tenant.plan")
			}
			c.add(r)
		}
		b.ReportMetric(float64(liveHeap()-before)/tokens, "B/token")
		_, counted := sizeOf(c)
		b.ReportMetric(float64(counted)/tokens, "counted/token")
		runtime.KeepAlive(c)
	}
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// BenchmarkCache looks tokens up, one after another, beside its floor: one map
// with one lock and no bound. Full is a cache in which every new token pushes
// another one out.
func BenchmarkCache(b *testing.B) {
	g := newGate(b, "ES256")
	key, now := verified(b, g.verifier(), g.idp.Mint(nil)).profile.key, g.clock.now().Unix()
	for _, n := range []int{1, 1000, 100_000} {
		list, each := entries(key, n, now+3600)
		var mu sync.RWMutex
		c, floor := newCache(2*each*int64(n), g.clock.now), make(map[fingerprint]*Token)
		for _, token := range list {
			c.add(token)
			floor[token.sum] = token
		}
		b.Run(fmt.Sprintf("floor/%d", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				mu.RLock()
				found := floor[list[i%n].sum]
				mu.RUnlock()
				if found == nil {
					b.Fatal("not found")
				}
			}
		})
		b.Run(fmt.Sprintf("find/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if c.find(list[i%n].sum, now) == nil {
					b.Fatal("not found")
				}
			}
		})
		b.Run(fmt.Sprintf("full/%d", n), func(b *testing.B) {
			full := newCache(each*int64((n+1)/2), g.clock.now)
			for i := 0; b.Loop(); i++ {
				full.add(list[i%n])
			}
		})
	}
}

// BenchmarkRules is what each rule of a route costs a cached token, beside a
// route without any.
func BenchmarkRules(b *testing.B) {
	g := newGate(b, "ES256")
	caller := letIn(b, g.verifier(), g.usualToken("ES256"))
	for _, rule := range []struct {
		name  string
		rules Rules
	}{
		{"floor", Rules{}},
		{"issuer", Rules{Issuers: []string{"other", "acme"}}},
		{"audience", Rules{Audiences: []string{"https://other.example.com", "https://gateway.example.com"}}},
		{"scope", Rules{Scopes: []string{"gateway.read"}}},
		{"group", Rules{Groups: [][]string{{"nobody", "team-billing"}}}},
		{"claim", Rules{Claims: []ClaimRule{{"tenant.plan", []string{"free", "pro"}}}}},
		{"service_account", Rules{ServiceAccount: "deny"}},
	} {
		p, err := rule.rules.Compile()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(rule.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if p.Check(caller) != nil {
					b.Fatal("refused")
				}
			}
		})
	}
}

// BenchmarkAdmit is what asking for a cached token's account costs, beside
// looking it up.
func BenchmarkAdmit(b *testing.B) {
	g := newGate(b, "ES256")
	token := verified(b, g.verifier(), g.idp.Mint(map[string]any{"sub": "ci", "azp": "ci"}))
	stored := account.New(registry.Options{})
	defer stored.Close()
	view, err := stored.WithDeclared([]account.Draft{{Subject: "ci", Issuer: "acme", Status: account.StatusActive}})
	if err != nil {
		b.Fatal(err)
	}
	registration := &Registration{Accounts: view, Required: true}
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			if _, ok := view.Lookup(token.Issuer(), token.Subject()); !ok {
				b.Fatal("not found")
			}
		}
	})
	b.Run("admit", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, refusal := registration.Admit(token, epoch); refusal != nil {
				b.Fatal(refusal)
			}
		}
	})
}

// BenchmarkBound is a request with a remembered token that is bound to a key, and a
// fresh proof by ES256; the floor is the bare verification of the proof's signature.
func BenchmarkBound(b *testing.B) {
	g := newGate(b)
	me := newHolder(b)
	v := g.verifier(binds(BoundOptional))
	token := g.idp.Mint(map[string]any{"cnf": map[string]any{"jkt": me.thumbprint}, "groups": []string{"deployers", "operators"}, "scope": "gateway.read"})
	b.Run("floor", func(b *testing.B) {
		parts := strings.Split(me.request(b, token, g.clock.now(), "").Proofs[0], ".")
		signed := []byte(parts[0] + "." + parts[1])
		signature, err := base64.RawURLEncoding.DecodeString(parts[2])
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if !bareVerify(&me.private.PublicKey, signed, signature) {
				b.Fatal("the signature does not hold")
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		senders := g.senders(func(c *bound.Config) { c.Replays = bound.NewReplays(1<<30, time.Minute) })
		requests := make([]*bound.Request, b.N)
		for i := range requests {
			requests[i] = me.request(b, token, g.clock.now(), "")
		}
		b.ReportAllocs()
		b.ResetTimer()
		for _, q := range requests {
			if verdict := v.Verify(b.Context(), token).CheckSender(senders, q); verdict.Token == nil {
				b.Fatal(verdict.Refusal)
			}
		}
	})
}

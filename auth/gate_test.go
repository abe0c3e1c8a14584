package auth

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// epoch is when all tests begin.
var epoch = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that goes when a test moves it.
type clock struct{ nanoseconds atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(0, c.nanoseconds.Load()) }
func (c *clock) advance(d time.Duration) { c.nanoseconds.Add(int64(d)) }

// gate is an issuer, the engine that holds its keys from a file, and a clock
// that both go by.
type gate struct {
	tb     testing.TB
	idp    *idp.Issuer
	file   string
	engine *issuer.Engine
	clock  *clock
}

func newGate(tb testing.TB, algorithms ...string) *gate {
	tb.Helper()
	if len(algorithms) == 0 {
		algorithms = []string{"ES256"}
	}
	g := &gate{tb: tb, clock: &clock{}, file: filepath.Join(tb.TempDir(), "jwks.json")}
	g.clock.nanoseconds.Store(epoch.UnixNano())
	var err error
	if g.idp, err = idp.New(idp.WithAlgorithms(algorithms...), idp.WithNow(g.clock.now)); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = g.idp.Close() })
	g.publish()
	g.engine = g.newEngine(g.idp.URL)
	return g
}

func (g *gate) newEngine(identifier string) *issuer.Engine {
	g.tb.Helper()
	engine, err := issuer.New(issuer.Config{Issuer: identifier, JWKSFile: g.file}, issuer.Options{Now: g.clock.now})
	if err != nil {
		g.tb.Fatal(err)
	}
	g.tb.Cleanup(func() { _ = engine.Close() })
	return engine
}

// publish writes the issuer's current keys to the file.
func (g *gate) publish() {
	g.tb.Helper()
	if err := os.WriteFile(g.file, g.idp.JWKS(), 0o600); err != nil {
		g.tb.Fatal(err)
	}
}

// refresh has the engine read the file again.
func (g *gate) refresh() {
	g.tb.Helper()
	if err := g.engine.Refresh(g.tb.Context()); err != nil {
		g.tb.Fatal(err)
	}
}

// policy is what the tests' issuer is asked for unless they say otherwise.
func (g *gate) policy() Policy {
	return Policy{Issuer: g.idp.URL, Name: "acme", Audiences: []string{idp.DefaultAudience}}
}

// verifier makes a verifier of the one issuer, with what the changes change.
func (g *gate) verifier(changes ...func(*VerifierConfig)) *Verifier {
	g.tb.Helper()
	config := VerifierConfig{
		Issuers:    []AcceptedIssuer{{Policy: g.policy(), Keys: g.engine}},
		CacheBytes: 1 << 20,
		Now:        g.clock.now,
	}
	for _, change := range changes {
		change(&config)
	}
	v, err := NewVerifier(config)
	if err != nil {
		g.tb.Fatal(err)
	}
	return v
}

// with changes the policy of the verifier's issuer.
func with(change func(*Policy)) func(*VerifierConfig) {
	return func(c *VerifierConfig) { change(&c.Issuers[0].Policy) }
}

// verified verifies a token that must be good.
func verified(tb testing.TB, v *Verifier, token string) *Token {
	tb.Helper()
	verdict := v.Verify(tb.Context(), token)
	if verdict.Refusal != nil || verdict.Token == nil {
		tb.Fatalf("a good token was refused: %v", verdict.Refusal)
	}
	return verdict.Token
}

// letIn verifies a token that must be good, and admits its caller.
func letIn(tb testing.TB, v *Verifier, token string) *Principal {
	tb.Helper()
	return unregistered(tb, verified(tb, v, token))
}

// unregistered admits everybody, as nobody is registered.
func unregistered(tb testing.TB, token *Token) *Principal {
	tb.Helper()
	caller, refusal := (&Registration{Accounts: nobody{}}).Admit(token, epoch)
	if refusal != nil {
		tb.Fatal(refusal)
	}
	return caller
}

// refused verifies a token that must be refused for one reason.
func refused(tb testing.TB, v *Verifier, token string, want *Refusal) Verdict {
	tb.Helper()
	verdict := v.Verify(tb.Context(), token)
	if verdict.Token != nil {
		tb.Fatalf("a bad token was let in, expected the refusal %q", want.Reason)
	}
	if verdict.Refusal == nil || verdict.Refusal.Reason != want.Reason {
		tb.Fatalf("refused with %v, expected %q", verdict.Refusal, want.Reason)
	}
	return verdict
}

// usualToken is a token with the claims that an identity provider sends, of 865
// bytes with RS256 and 610 with ES256 and EdDSA, give or take three.
func (g *gate) usualToken(algorithm string) string {
	claims := map[string]any{
		"sub": rand.Text(), "azp": "billing-frontend", "scope": "openid gateway.read",
		"groups": []string{"operators", "team-billing"}, "tenant": map[string]any{"plan": "pro"}, "pad": "",
	}
	want := 610
	if strings.HasSuffix(algorithm, "S256") && algorithm != "ES256" {
		want = 865
	}
	missing := want - len(g.idp.Mint(claims, idp.WithAlg(algorithm)))
	claims["pad"] = strings.Repeat("x", max(0, missing*3/4))
	return g.idp.Mint(claims, idp.WithAlg(algorithm))
}

// at is a moment of the tests' clock in Unix seconds.
func at(d time.Duration) int64 { return epoch.Add(d).Unix() }

package auth

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// Tokens of all sizes and kinds are examined at once on the same few desks, and
// none is taken for another.
func TestDesksDoNotMix(t *testing.T) {
	g := newGate(t)
	v := g.verifier(func(c *VerifierConfig) { c.CacheBytes = 0 })
	good := func(subject string, more map[string]any) string {
		more["sub"], more["groups"] = subject, []string{subject}
		return g.idp.Mint(more)
	}
	many := map[string]any{}
	for i := range 3 * usualClaims {
		many[fmt.Sprintf("claim-%d", i)] = i
	}
	cases := []struct {
		token, subject string
		refusal        *Refusal
	}{
		{good("short", map[string]any{}), "short", nil},
		{good("many", many), "many", nil},
		{good("long", map[string]any{"pad": strings.Repeat("x", 2*deskBytes)}), "long", nil},
		{good("escaped\n\u00e9", map[string]any{"aud": []string{"other", idp.DefaultAudience}}), "escaped\n\u00e9", nil},
		{g.idp.Mint(map[string]any{"exp": at(-1), "pad": strings.Repeat("y", 1000)}), "", ErrExpired},
		{g.idp.Mint(map[string]any{"iss": "https://other.example"}), "", ErrIssuer},
		{g.idp.Mint(nil, idp.WithHeader("crit", []string{"x"})), "", ErrCritical},
		{"garbage", "", ErrNotJWS},
		{"gar bage", "", ErrMalformedHeader},
	}
	var wait sync.WaitGroup
	for first := range cases {
		wait.Go(func() {
			for i := range 10 * len(cases) {
				c := cases[(first+i)%len(cases)]
				verdict := v.Verify(t.Context(), c.token)
				if verdict.Refusal != c.refusal {
					t.Errorf("%q: got %v, expected %v", c.subject, verdict.Refusal, c.refusal)
				}
				if verdict.Token == nil {
					continue
				}
				caller := unregistered(t, verdict.Token)
				if caller.Subject() != c.subject || !slices.Equal(caller.Groups(), []string{c.subject}) || caller.Claim("sub")[0] != c.subject {
					t.Errorf("%q is called %q, has the groups %q and the claim %q", c.subject, caller, caller.Groups(), caller.Claim("sub"))
				}
			}
		})
	}
	wait.Wait()
}

// Refusing must stay cheap: it is all that a flood of bad tokens costs.
func TestRefusingAllocatesLittle(t *testing.T) {
	g := newGate(t, "RS256")
	v := g.verifier()
	for name, token := range map[string]string{
		"garbage":        "garbage",
		"expired":        g.idp.Mint(map[string]any{"exp": at(-1), "pad": strings.Repeat("x", 300)}),
		"unknown issuer": g.idp.Mint(map[string]any{"iss": "https://other.example"}),
	} {
		v.Verify(t.Context(), token) // may fetch keys
		least := math.Inf(1)         // of a few counts: others allocate meanwhile, too
		for range 5 {
			least = min(least, testing.AllocsPerRun(200, func() { v.Verify(t.Context(), token) }))
		}
		if least > 10 {
			t.Errorf("%s: %v allocations", name, least)
		}
	}
}

// badSignature takes the last byte of a token's signature for another.
func badSignature(token string) string {
	cut := strings.LastIndex(token, ".") + 1
	return token[:cut] + strings.Repeat("A", len(token)-cut)
}

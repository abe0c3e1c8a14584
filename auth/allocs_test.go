//go:build !race

// Under the race detector a sync.Pool forgets at random, and so allocates.

package auth

import (
	"strings"
	"testing"
	"time"
)

// A token that was verified before costs no allocation, whatever the route asks
// and the upstream is given.
func TestCachedTokenCostsNoAllocation(t *testing.T) {
	g := newGate(t, "RS256")
	v := g.verifier()
	token := g.idp.Mint(map[string]any{
		"sub": "jane", "scope": "openid gateway.read", "groups": []string{"operators", "team-billing"},
		"tenant": map[string]any{"plan": "pro"}, "acr": "mfa", "auth_time": epoch.Unix(),
	})
	p, err := Rules{
		Issuers: []string{"acme"}, Audiences: []string{"https://gateway.example.com"}, Scopes: []string{"gateway.read"}, AnyScopes: [][]string{{"x", "gateway.read"}}, AuthenticatedWithin: time.Hour, ACR: []string{"0", "mfa"}, Now: g.clock.now,
		Groups: [][]string{{"nobody", "op*"}}, Claims: []ClaimRule{{"tenant.plan", []string{"free", "p*"}}}, ServiceAccount: "deny",
	}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	if refusal := p.Check(letIn(t, v, token)); refusal != nil {
		t.Fatal(refusal)
	}
	registration := &Registration{Accounts: nobody{}}
	ctx := t.Context()
	fields := []string{"Bearer " + token}
	if n := testing.AllocsPerRun(1000, func() {
		token, _ := ParseAuthorization(fields)
		verdict := v.Verify(ctx, token)
		caller, refusal := registration.Admit(verdict.Token, verdict.At)
		if !verdict.Cached || refusal != nil || p.Check(caller) != nil {
			t.Error("not cached, or refused")
		}
		for _, key := range []string{"id", "groups", "scopes", "token_id", "claims.tenant.plan"} {
			if text, _ := caller.Text(key); text.Value == "" {
				t.Errorf("%s is empty", key)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations, expected none", n)
	}
}

// Nor does one that its issuer was asked about.
func TestRememberedAnswerCostsNoAllocation(t *testing.T) {
	g := newGate(t)
	v := g.verifier(g.asking())
	token, ctx := g.idp.Opaque(map[string]any{"sid": "1", "groups": []string{"operators"}}), t.Context()
	letIn(t, v, token)
	registration := &Registration{Accounts: nobody{}}
	if n := testing.AllocsPerRun(1000, func() {
		verdict := v.Verify(ctx, token)
		caller, refusal := registration.Admit(verdict.Token, verdict.At)
		if text, _ := caller.Text("groups"); !verdict.Cached || refusal != nil || text.Value != "operators" {
			t.Error("not cached, or refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations, expected none", n)
	}
}

func TestParseAuthorizationCopiesNothing(t *testing.T) {
	fields := []string{"Bearer " + strings.Repeat("a", 800)}
	if n := testing.AllocsPerRun(100, func() {
		if _, refusal := ParseAuthorization(fields); refusal != nil {
			t.Error(refusal)
		}
	}); n != 0 {
		t.Errorf("%v allocations, expected none", n)
	}
}

func TestFingerprintCostsNoAllocation(t *testing.T) {
	f, err := newFingerprinter()
	if err != nil {
		t.Fatal(err)
	}
	token := strings.Repeat("a", 865)
	if n := testing.AllocsPerRun(1000, func() { _ = f(token) }); n != 0 {
		t.Errorf("%v allocations, expected none", n)
	}
}

package auth

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// richPrincipal is a caller with a claim of each kind.
func richPrincipal(t *testing.T) *Principal {
	t.Helper()
	g := newGate(t)
	v := g.verifier(with(func(p *Policy) { p.Leeway = 30 * time.Second }))
	return letIn(t, v, g.idp.Mint(map[string]any{
		"sub": "alice", "azp": "web", "jti": "id-1", "name": "Alice A.", "email": "alice@example.com",
		"groups": []string{"ops", "a,b", "dev"}, "scope": "read write", "exp": at(time.Hour),
		"tenant": map[string]any{"plan": "pro", "seats": 12, "trial": false, "none": nil},
		"list":   []any{"x", 1, true, nil, "y,z"}, "empty": []string{},
	}))
}

// Claim gives a claim's texts as the JSON has them.
func (p *Principal) Claim(path string) []string { return p.readClaim(path).list }

func TestPrincipalText(t *testing.T) {
	p := richPrincipal(t)
	tests := []struct {
		key, want string
		partial   bool
	}{
		{"id", "alice", false},
		{"kind", "user", false},
		{"issuer", "acme", false},
		{"client_id", "web", false},
		{"name", "Alice A.", false},
		{"email", "alice@example.com", false},
		{"groups", "ops,dev", true},
		{"scopes", "read,write", false},
		{"token_id", "id-1", false},
		{"expires_at", "2026-09-01T13:00:00Z", false},
		{"claims.sub", "alice", false},
		{"claims.tenant.plan", "pro", false},
		{"claims.tenant.seats", "12", false},
		{"claims.tenant.trial", "false", false},
		{"claims.tenant.none", "", false},
		{"claims.tenant", `{"none":null,"plan":"pro","seats":12,"trial":false}`, false},
		{"claims.list", "x,1,true", true},
		{"claims.empty", "", false},
		{"claims.absent", "", false},
		{"claims.absent.too", "", false},
		{"claims..", "", false},
	}
	for _, p := range []*Principal{p, unregistered(t, p.extended())} { // read anew, and at hand
		for _, tt := range tests {
			text, ok := p.Text(tt.key)
			if text.Value != tt.want || text.Partial != tt.partial || !ok {
				t.Errorf("%s: got %+v, %t; expected %q, %t", tt.key, text, ok, tt.want, tt.partial)
			}
		}
	}
	for _, key := range []string{"", "claims", "claims.", "ID", "subject", "claimsx.sub", "group"} {
		if text, ok := p.Text(key); ok || text.Value != "" {
			t.Errorf("%q is said to be a key: %+v", key, text)
		}
	}
	for _, key := range PrincipalKeys {
		if _, ok := p.Text(key); !ok {
			t.Errorf("%q is listed and not known", key)
		}
	}
}

// A single value keeps its commas: only lists are joined.
func TestTextOfOneValue(t *testing.T) {
	g := newGate(t)
	p := letIn(t, g.verifier(), g.idp.Mint(map[string]any{"x": "a,b", "groups": "c,d"}))
	if text, _ := p.Text("claims.x"); text.Value != "a,b" || text.Partial {
		t.Errorf("got %+v", text)
	}
	if text, _ := p.Text("groups"); text.Value != "" || !text.Partial {
		t.Errorf("a group with a comma: got %+v; expected it to be left out", text)
	}
}

func TestPrincipalProperties(t *testing.T) {
	p := richPrincipal(t)
	if got := p.ExpiresAt(); !got.Equal(epoch.Add(time.Hour)) || got.Location() != time.UTC {
		t.Errorf("expires at %v", got)
	}
	if got := p.Deadline(); !got.Equal(epoch.Add(time.Hour + 30*time.Second)) {
		t.Errorf("the deadline is %v", got)
	}
	if p.claim("jti").text.Value != "id-1" || p.String() != "alice" || fmt.Sprint(p) != "alice" {
		t.Errorf("token %q, shown as %v", p.claim("jti").text.Value, p)
	}
	if got := p.Claim("list"); !slices.Equal(got, []string{"x", "1", "true", "y,z"}) {
		t.Errorf("the claim's texts are %q", got)
	}
	if p.Claim("absent") != nil || p.Claim("") != nil {
		t.Error("an absent claim has texts")
	}
	var nobody *Principal
	if nobody.String() != "" {
		t.Error("nobody has a name")
	}
}

func TestSame(t *testing.T) {
	g := newGate(t)
	one, other := g.verifier(), g.verifier(with(func(p *Policy) { p.Name = "other" }))
	token := g.idp.Mint(nil)
	p := letIn(t, one, token)
	if !p.Same(p) || !p.Same(letIn(t, g.verifier(), token)) {
		t.Error("the same claims are said to differ")
	}
	if p.Same(nil) || p.Same(letIn(t, other, token)) || p.Same(letIn(t, one, g.idp.Mint(nil))) {
		t.Error("different callers are said to be the same")
	}
}

func TestClaimsTogether(t *testing.T) {
	p := richPrincipal(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				for _, key := range []string{"groups", "scopes", "name", "claims.list", "claims.tenant.plan"} {
					if text, ok := p.Text(key); !ok || text.Value == "" {
						t.Errorf("%s: got %q, %t", key, text.Value, ok)
					}
				}
			}
		})
	}
	group.Wait()
}

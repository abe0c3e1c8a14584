package auth

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

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
	declared, err := account.NewDeclared([]account.Draft{{Subject: "ci", Issuer: "acme", Status: account.StatusActive}})
	if err != nil {
		b.Fatal(err)
	}
	registry := account.New(account.Options{})
	defer registry.Close()
	view := account.View{Declared: declared, Registry: registry}
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

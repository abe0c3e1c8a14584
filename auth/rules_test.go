package auth

import (
	"strings"
	"testing"
)

func TestCompileErrors(t *testing.T) {
	tests := []struct {
		name  string
		rules Rules
		want  string
	}{
		{"kind", Rules{ServiceAccount: "maybe"}, `service_account: found "maybe", expected only or deny`},
		{"scope with a space", Rules{Scopes: []string{"a", "b c"}}, `scope: "b c" is no scope`},
		{"scope empty", Rules{Scopes: []string{""}}, `scope: "" is no scope`},
		{"scope with a quote", Rules{Scopes: []string{`a"`}}, "is no scope"},
		{"scope beyond ASCII", Rules{Scopes: []string{"é"}}, "is no scope"},
		{"a line without groups", Rules{Groups: [][]string{{"a"}, {}}}, "group: line 2 names no group"},
		{"claim without a path", Rules{Claims: []ClaimRule{{Values: []string{"a"}}}}, `claim "": expected a path`},
		{"claim without values", Rules{Claims: []ClaimRule{{Path: "a"}}}, `claim "a": expected a path and at least one value`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.rules.Compile(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, expected %q", err, tt.want)
			}
		})
	}
}

func TestRules(t *testing.T) {
	g := newGate(t)
	person := letIn(t, g.verifier(), g.idp.Mint(map[string]any{
		"sub": "alice", "azp": "web", "aud": []string{"https://gateway.example.com", "https://second.example"},
		"scope": "read write", "groups": []string{"ops", "dev"},
		"tenant": map[string]any{"plan": "pro", "seats": 12, "ok": true}, "roles": []any{"a", 7},
	}))
	machine := letIn(t, g.verifier(), g.idp.Mint(map[string]any{"sub": "ci", "azp": "ci"}))
	claim := func(path string, values ...string) Rules { return Rules{Claims: []ClaimRule{{path, values}}} }
	tests := []struct {
		name   string
		rules  Rules
		caller *Principal
		want   *Refusal
	}{
		{"nothing asked", Rules{}, person, nil},
		{"issuer", Rules{Issuers: []string{"other", "acme"}}, person, nil},
		{"another issuer", Rules{Issuers: []string{"other"}}, person, ErrIssuer},
		{"audience", Rules{Audiences: []string{"x", "https://second.example"}}, person, nil},
		{"another audience", Rules{Audiences: []string{"https://third.example"}}, person, ErrAudience},
		{"an audience as one string", Rules{Audiences: []string{"https://gateway.example.com"}}, machine, nil},
		{"all scopes", Rules{Scopes: []string{"write", "read"}}, person, nil},
		{"one scope missing", Rules{Scopes: []string{"read", "admin"}}, person, ErrScope},
		{"a part of a scope", Rules{Scopes: []string{"rea"}}, person, ErrScope},
		{"no scopes at all", Rules{Scopes: []string{"read"}}, machine, ErrScope},
		{"any group of a line", Rules{Groups: [][]string{{"x", "ops"}}}, person, nil},
		{"every line", Rules{Groups: [][]string{{"ops"}, {"dev", "x"}}}, person, nil},
		{"one line not", Rules{Groups: [][]string{{"ops"}, {"x", "y"}}}, person, ErrGroup},
		{"a scope and a group missing", Rules{Scopes: []string{"admin"}, Groups: [][]string{{"x"}}}, person, ErrGroup},
		{"a scope and a claim missing", Rules{Scopes: []string{"admin"}, Claims: []ClaimRule{{"tenant.plan", []string{"free"}}}}, person, ErrClaim},
		{"a scope missing to the wrong kind", Rules{Scopes: []string{"admin"}, ServiceAccount: "only"}, person, ErrOnlyMachines},
		{"no groups at all", Rules{Groups: [][]string{{"ops"}}}, machine, ErrGroup},
		{"claim", claim("tenant.plan", "free", "pro"), person, nil},
		{"claim, a number", claim("tenant.seats", "12"), person, nil},
		{"claim, a number written otherwise", claim("tenant.seats", "12.0"), person, ErrClaim},
		{"claim, a boolean", claim("tenant.ok", "true"), person, nil},
		{"claim, an element", claim("roles", "7"), person, nil},
		{"claim, another value", claim("tenant.plan", "Pro"), person, ErrClaim},
		{"claim, absent", claim("tenant.nothing", "x", ""), person, ErrClaim},
		{"claims, one not", Rules{Claims: []ClaimRule{{"tenant.plan", []string{"pro"}}, {"sub", []string{"bob"}}}}, person, ErrClaim},
		{"only machines", Rules{ServiceAccount: "only"}, machine, nil},
		{"only machines, a person", Rules{ServiceAccount: "only"}, person, ErrOnlyMachines},
		{"no machines", Rules{ServiceAccount: "deny"}, person, nil},
		{"no machines, a machine", Rules{ServiceAccount: "deny"}, machine, ErrNoMachines},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := tt.rules.Compile()
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				got := p.Check(tt.caller)
				if (got == nil) != (tt.want == nil) || got != nil && got.Reason != tt.want.Reason {
					t.Errorf("got %v, expected %v", got, tt.want)
				}
			}
		})
	}
}

// The refusal for a scope says which scopes the route needs, and is still the
// refusal it is made from.
func TestScopeRefusal(t *testing.T) {
	g := newGate(t)
	p, err := Rules{Scopes: []string{"read", "write"}}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	refusal := p.Check(letIn(t, g.verifier(), g.idp.Mint(nil)))
	if refusal == nil || refusal.Scope != "read write" || !refusal.Is(ErrScope) || ErrScope.Scope != "" {
		t.Errorf("got %+v", refusal)
	}
}

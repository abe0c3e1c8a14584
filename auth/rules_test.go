package auth

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"
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
		{"a line without scopes", Rules{AnyScopes: [][]string{{"a"}, {}}}, "scope any: line 2 names no scope"},
		{"any scope with a space", Rules{AnyScopes: [][]string{{"a", "b c"}}}, `scope: "b c" is no scope`},
		{"a group of anything", Rules{Groups: [][]string{{"a", "*"}}}, "group: found *, which every value would fit"},
		{"a claim with a star inside", Rules{Claims: []ClaimRule{{"sub", []string{"a*b"}}}}, `claim sub: found "a*b", expected * only at the end`},
		{"acr with a space", Rules{ACR: []string{"a b"}}, `acr: found "a b", expected printable ASCII`},
		{"within part of a second", Rules{AuthenticatedWithin: time.Second / 2}, "authenticated_within: found 500ms, expected whole seconds"},
		{"within less than nothing", Rules{AuthenticatedWithin: -time.Second}, "authenticated_within: found -1s"},
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
		{"any scope", Rules{AnyScopes: [][]string{{"admin", "read"}}}, person, nil},
		{"any scope of every line", Rules{AnyScopes: [][]string{{"admin", "read"}, {"write"}}}, person, nil},
		{"none of a line", Rules{AnyScopes: [][]string{{"read"}, {"admin", "x"}}}, person, ErrScope},
		{"any scope beside one missing", Rules{Scopes: []string{"admin"}, AnyScopes: [][]string{{"read"}}}, person, ErrScope},
		{"any scope, none at all", Rules{AnyScopes: [][]string{{"read"}}}, machine, ErrScope},
		{"groups by a pattern", Rules{Groups: [][]string{{"x", "op*"}}}, person, nil},
		{"groups, a pattern that nothing is left for", Rules{Groups: [][]string{{"ops*"}}}, person, ErrGroup},
		{"claim by a pattern", claim("tenant.plan", "free", "p*"), person, nil},
		{"claim, a pattern for a number", claim("tenant.seats", "1*"), person, nil},
		{"claim, a pattern for nothing", claim("tenant.plan", "pro*"), person, ErrClaim},
		{"claim, a pattern for an absent one", claim("tenant.nothing", "p*"), person, ErrClaim},
		{"claim, the character", claim("tenant.plan", `p\*`), person, ErrClaim},
		{"audiences are no patterns", Rules{Audiences: []string{"https://*"}}, person, ErrAudience},
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

// A challenge names the scopes that the route asks for, whatever includes them.
func TestScopeRefusalOfAny(t *testing.T) {
	g := newGate(t)
	p, err := Rules{Scopes: []string{"read"}, AnyScopes: [][]string{{"a", "read"}, {"b", "a"}}}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	v := g.verifier(with(func(c *Policy) { c.ScopeIncludes = map[string][]string{"admin": {"read", "a"}} }))
	if refusal := p.Check(letIn(t, v, g.idp.Mint(nil))); refusal == nil || refusal.Scope != "read a b" {
		t.Errorf("got %+v", refusal)
	}
	if refusal := p.Check(letIn(t, v, g.idp.Mint(map[string]any{"scope": "admin"}))); refusal != nil {
		t.Errorf("admin includes all that is asked for: got %+v", refusal)
	}
}

func TestScopeIncludes(t *testing.T) {
	g := newGate(t)
	v := g.verifier(with(func(p *Policy) {
		p.ScopeIncludes = map[string][]string{"owner": {"admin"}, "admin": {"write", "read"}, "write": {"draft"}}
	}))
	for scope, want := range map[any][]string{
		"admin":       {"admin", "draft", "read", "write"},
		"owner":       {"owner", "admin", "draft", "read", "write"},
		"write other": {"write", "other", "draft"},
		"read":        {"read"},
		"administer":  {"administer"},
		"":            nil,
	} {
		if got := letIn(t, v, g.idp.Mint(map[string]any{"scope": scope})).Scopes(); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, expected %v", scope, got, want)
		}
	}
	text, _ := letIn(t, v, g.idp.Mint(map[string]any{"scope": "admin"})).Text("claims.scope")
	if text.Value != "admin" {
		t.Errorf("the claim reads %q, expected it as it is in the token", text.Value)
	}
}

func TestScopeIncludesErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		includes map[string][]string
		want     string
	}{
		"itself":            {map[string][]string{"a": {"a"}}, "found the circle a > a, expected scopes that do not include themselves"},
		"a circle":          {map[string][]string{"a": {"x", "b"}, "b": {"c"}, "c": {"a"}}, "found the circle a > b > c > a"},
		"a circle further":  {map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"b"}}, "found the circle a > b > c > b"},
		"no scope":          {map[string][]string{"a b": {"c"}}, `"a b" is no scope`},
		"no scope included": {map[string][]string{"a": {""}}, `"" is no scope`},
		"nothing included":  {map[string][]string{"a": {}}, "scope_includes a: expected at least one scope"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := IncludedScopes(tt.includes); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, expected %q", err, tt.want)
			}
		})
	}
	// Two ways to the same scope are no circle.
	if _, err := IncludedScopes(map[string][]string{"a": {"b", "c"}, "b": {"d"}, "c": {"d"}}); err != nil {
		t.Error(err)
	}
}

// Step-up authentication (RFC 9470): a claim that is not there proves nothing.
func TestStepUp(t *testing.T) {
	g := newGate(t)
	v := g.verifier(with(func(p *Policy) { p.Leeway = 30 * time.Second }))
	now := epoch.Unix()
	acr := Rules{ACR: []string{"phrh", "urn:acme:mfa"}, Now: g.clock.now}
	lately := Rules{AuthenticatedWithin: 10 * time.Minute, Now: g.clock.now}
	both := Rules{ACR: acr.ACR, AuthenticatedWithin: lately.AuthenticatedWithin, Scopes: []string{"pay"}, Now: g.clock.now}
	tests := []struct {
		name   string
		rules  Rules
		claims map[string]any
		want   *Refusal
	}{
		{"acr", acr, map[string]any{"acr": "urn:acme:mfa"}, nil},
		{"another acr", acr, map[string]any{"acr": "1"}, ErrACR},
		{"no acr", acr, nil, ErrACR},
		{"an empty acr", acr, map[string]any{"acr": ""}, ErrACR},
		{"acr null", acr, map[string]any{"acr": nil}, ErrACR},
		{"acr is no pattern", Rules{ACR: []string{"urn:*"}}, map[string]any{"acr": "urn:x"}, ErrACR},
		{"lately", lately, map[string]any{"auth_time": now - 600}, nil},
		{"within leeway", lately, map[string]any{"auth_time": now - 629}, nil},
		{"too long ago", lately, map[string]any{"auth_time": now - 631}, ErrAuthTime},
		{"still to come", lately, map[string]any{"auth_time": now + 31}, ErrAuthTime},
		{"a clock ahead", lately, map[string]any{"auth_time": now + 29}, nil},
		{"no auth_time", lately, nil, ErrAuthTime},
		{"auth_time null", lately, map[string]any{"auth_time": nil}, ErrAuthTime},
		{"no number", lately, map[string]any{"auth_time": "today"}, ErrAuthTime},
		{"not a number", lately, map[string]any{"auth_time": "NaN"}, ErrAuthTime},
		{"infinite", lately, map[string]any{"auth_time": "Inf"}, ErrAuthTime},
		{"a list", lately, map[string]any{"auth_time": []any{now}}, ErrAuthTime},
		{"true", lately, map[string]any{"auth_time": true}, ErrAuthTime},
		{"milliseconds", lately, map[string]any{"auth_time": now * 1000}, ErrAuthTime},
		{"before 1970", lately, map[string]any{"auth_time": -1}, ErrAuthTime},
		{"both", both, map[string]any{"acr": "phrh", "auth_time": now, "scope": "pay"}, nil},
		{"both, one too old", both, map[string]any{"acr": "phrh", "auth_time": now - 700, "scope": "pay"}, ErrAuthTime},
		{"both, one too weak", both, map[string]any{"acr": "1", "auth_time": now, "scope": "pay"}, ErrACR},
		{"a scope, too", both, map[string]any{"acr": "phrh", "auth_time": now}, ErrScope},
		{"the login before the scope", both, nil, ErrACR},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := tt.rules.Compile()
			if err != nil {
				t.Fatal(err)
			}
			got := p.Check(letIn(t, v, g.idp.Mint(tt.claims)))
			if (got == nil) != (tt.want == nil) || got != nil && got.Reason != tt.want.Reason {
				t.Fatalf("got %v, expected %v", got, tt.want)
			}
			if got != nil && got.Reason != ErrScope.Reason && (got.ACR != strings.Join(tt.rules.ACR, " ") || got.MaxAge != tt.rules.AuthenticatedWithin) {
				t.Errorf("it tells %q and %s, expected all that is asked of the login", got.ACR, got.MaxAge)
			}
		})
	}
	// What was lately is so no more: nothing keeps the answer.
	p, _ := lately.Compile()
	caller := letIn(t, v, g.idp.Mint(map[string]any{"auth_time": now}))
	if refusal := p.Check(caller); refusal != nil {
		t.Fatal(refusal)
	}
	g.clock.advance(11 * time.Minute)
	if refusal := p.Check(caller); refusal == nil || refusal.Reason != ErrAuthTime.Reason {
		t.Errorf("eleven minutes later: got %v", refusal)
	}
}

// What a route's rules make of a caller is explained rule by rule, and by the very
// checks that requests meet.
func TestHoldRules(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	p, err := Rules{
		Issuers: []string{"acme"}, Audiences: []string{"https://gateway.example.com"}, ServiceAccount: "deny", Groups: [][]string{{"ops", "dev"}, {"eu"}},
		Claims: []ClaimRule{{"tenant.plan", []string{"pro", "team-*"}}}, ACR: []string{"phr"}, AuthenticatedWithin: time.Hour,
		Scopes: []string{"read"}, AnyScopes: [][]string{{"a", "b"}}, Now: g.clock.now,
	}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	token := g.idp.Mint(map[string]any{
		"sub": "jane", "groups": []string{"dev"}, "tenant": map[string]any{"plan": "free"}, "auth_time": epoch.Unix(), "scope": "read a",
	})
	registration := &Registration{Accounts: nobody{}}
	e := v.Explain(t.Context(), token, registration, nil, nil)
	e.HoldRules(p)
	if want := p.Check(letIn(t, v, token)); e.Refusal != want || want != ErrGroup {
		t.Errorf("explained as %v, requests meet %v", e.Refusal, want)
	}
	found := map[string]bound.Rule{}
	for _, rule := range e.Rules {
		found[rule.Rule] = rule
	}
	for name, want := range map[string]struct {
		held            bool
		expected, found string
	}{
		"route_issuer":    {true, "[acme]", "acme"},
		"route_audience":  {true, "[https://gateway.example.com]", "[https://gateway.example.com]"},
		"route_kind":      {true, "user", "user"},
		"route_group":     {false, "[ops or dev eu]", "[dev]"},
		"route_claim":     {false, "[tenant.plan pro or team-*]", "[tenant.plan free]"},
		"route_acr":       {false, "[phr]", "absent"},
		"route_auth_time": {true, "auth_time within 1h0m0s before 2026-09-01T12:00:00Z (now), with leeway", "auth_time 1788264000"},
		"route_scope":     {true, "[read a or b]", "[read a]"},
	} {
		rule := found[name]
		if rule.Held == nil || *rule.Held != want.held || fmt.Sprint(rule.Expected) != want.expected || fmt.Sprint(rule.Found) != want.found {
			t.Errorf("%s is explained as %+v, expected %+v", name, rule, want)
		}
	}
	bad := v.Explain(t.Context(), token+"x", registration, nil, nil)
	before := bad.Refusal
	bad.HoldRules(p)
	if last := bad.Rules[len(bad.Rules)-1]; last.Rule != "route_scope" || last.Held != nil || bad.Refusal != before {
		t.Errorf("of a token that is not good: %+v", last)
	}
}

func TestPattern(t *testing.T) {
	tests := []struct {
		value   string
		fit     []string
		misfits []string
	}{
		{"admin", []string{"admin"}, []string{"", "Admin", "admin ", "admins"}},
		{"", []string{""}, []string{"x"}},
		{"repo:acme/*", []string{"repo:acme/app", "repo:acme/app:ref:refs/heads/main", "repo:acme/*"},
			[]string{"repo:acme/", "repo:acme", "repo:acmeevil/app", "xrepo:acme/app", "repo:Acme/app"}},
		{"team-*", []string{"team-a", "team--"}, []string{"team-", "team"}},
		{"repo:acme/*:environment:prod", []string{"repo:acme/app:environment:prod", "repo:acme/my.app:environment:prod"},
			[]string{"repo:acme/:environment:prod", "repo:acme/app/x:environment:prod", "repo:acme/app:x:environment:prod",
				"repo:acme/app:environment:prod2", "repo:acme/app:environment:production", "repo:acme/app:ref:x:environment:prod"}},
		{"repo:*:ref:refs/heads/main", []string{"repo:acme/app:ref:refs/heads/main"}, []string{"repo::ref:refs/heads/main", "repo:a:b:ref:refs/heads/main"}},
		{"spiffe://acme.example/*/*/web", []string{"spiffe://acme.example/ns/prod/web"},
			[]string{"spiffe://acme.example/prod/web", "spiffe://acme.example//prod/web", "spiffe://acme.example/a/b/c/web", "spiffe://acme.example/ns/prod/web/"}},
		{"a/*/b*", []string{"a/x/bc"}, []string{"a/x/b", "a//bc"}},
		{`read:\*`, []string{"read:*"}, []string{"read:x", `read:\*`, "read:"}},
		{`a\*b`, []string{"a*b"}, []string{"axb"}},
		{`acme\ops`, []string{`acme\ops`}, []string{"acmeops"}},
		{`x:\**`, []string{"x:*y"}, []string{"x:*", "x:y"}},
	}
	for _, tt := range tests {
		p, err := compilePattern(tt.value)
		if err != nil {
			t.Errorf("%q: %v", tt.value, err)
			continue
		}
		for _, text := range tt.fit {
			if !p.match(text) {
				t.Errorf("%q does not fit %q", text, tt.value)
			}
		}
		for _, text := range tt.misfits {
			if p.match(text) {
				t.Errorf("%q fits %q", text, tt.value)
			}
		}
	}
}

func TestPatternErrors(t *testing.T) {
	for value, want := range map[string]string{
		"*":      "found *, which every value would fit: write \\* for the character itself",
		"*:read": `found "*:read", expected * only at the end, or between two of the separators /:.|@#`,
		"a*b":    "only at the end",
		"a/**":   "only at the end",
		"a/*b/c": "only at the end",
		"a/x*/c": "only at the end",
		"**":     "only at the end",
	} {
		if _, err := compilePattern(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, expected %q", value, err, want)
		}
	}
}

// FuzzPattern: what fits a pattern is what the regular expression of the same meaning
// matches.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"repo:acme/*", "repo:acme/app"}, {"repo:acme/*:environment:prod", "repo:acme/app:environment:prod"}, {"a/*/*", "a/b/c"},
		{`read:\*`, "read:*"}, {"*", ""}, {"a|*@b", "a|x@b"}, {"a.*.*.b*", "a.x.y.bz"}, {"", ""}, {"é/*", "é/\xff"}, {"a/*/b", "a/\xff/b"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, value, text string) {
		p, err := compilePattern(value)
		if err != nil {
			return
		}
		var same strings.Builder
		same.WriteString(`(?s)\A`)
		for i, part := range p.texts {
			if i > 0 {
				same.WriteString("[^" + regexp.QuoteMeta(p.stops[i-1]) + "]+")
			}
			same.WriteString(regexp.QuoteMeta(part))
		}
		if p.open {
			same.WriteString(".+")
		}
		expression, err := regexp.Compile(same.String() + `\z`)
		if err != nil {
			return // the value is no UTF-8
		}
		if got, want := p.match(text), expression.MatchString(text); got != want {
			t.Errorf("%q fits %q: %v, expected %v", text, value, got, want)
		}
		if !strings.Contains(value, "*") && p.match(text) != (text == value) {
			t.Errorf("%q without * is not taken by the letter", value)
		}
	})
}

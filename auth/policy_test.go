package auth

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPolicyValidate(t *testing.T) {
	good := Policy{Issuer: "https://login.example.com", Name: "acme", Audiences: []string{"a"}}
	tests := []struct {
		name   string
		change func(*Policy)
		want   string // part of the message; empty: no error
	}{
		{"good", func(*Policy) {}, ""},
		{"all that may be", func(p *Policy) {
			p.Preset, p.Algorithms, p.Leeway = "entra", []string{"RS256", "Ed25519"}, time.Hour
			p.MaxLifetime, p.Kind = time.Hour, KindServiceAccount
		}, ""},
		{"cognito needs no audience", func(p *Policy) { p.Preset, p.Audiences = "cognito", nil }, ""},
		{"no issuer", func(p *Policy) { p.Issuer = "" }, "issuer: an issuer identifier is required"},
		{"no name", func(p *Policy) { p.Name = "" }, "name: a name"},
		{"unknown preset", func(p *Policy) { p.Preset = "okat" }, `preset: found "okat", expected one of auth0, authentik, bitbucket`},
		{"no audience", func(p *Policy) { p.Audiences = nil }, "expected at least one audience"},
		{"an empty audience", func(p *Policy) { p.Audiences = []string{"a", ""} }, "audience: found an empty one"},
		{"an unknown algorithm", func(p *Policy) { p.Algorithms = []string{"RS257"} }, `algorithms: unknown algorithm "RS257": expected one of RS256`},
		{"a shared secret", func(p *Policy) { p.Algorithms = []string{"HS256"} }, `algorithm "HS256" is never accepted`},
		{"none", func(p *Policy) { p.Algorithms = []string{"none"} }, `algorithm "none" is never accepted`},
		{"negative leeway", func(p *Policy) { p.Leeway = -1 }, "leeway: found -1ns, expected at least 0s and at most 1h0m0s"},
		{"too much leeway", func(p *Policy) { p.Leeway = time.Hour + 1 }, "leeway: found"},
		{"negative lifetime", func(p *Policy) { p.MaxLifetime = -time.Second }, "max_lifetime: found -1s"},
		{"unknown kind", func(p *Policy) { p.Kind = "robot" }, `kind: found "robot", expected service_account or user`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := good
			tt.change(&p)
			err := p.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, expected %q", err, tt.want)
			}
		})
	}
}

func TestNewVerifierErrors(t *testing.T) {
	g := newGate(t)
	accepted := func(change func(*Policy)) AcceptedIssuer {
		p := g.policy()
		change(&p)
		return AcceptedIssuer{Policy: p, Keys: g.engine}
	}
	same := func(*Policy) {}
	tests := []struct {
		name   string
		config VerifierConfig
		want   string
	}{
		{"a bad policy", VerifierConfig{Issuers: []AcceptedIssuer{accepted(func(p *Policy) { p.Audiences = nil })}}, `issuer "` + g.idp.URL + `": expected at least one audience`},
		{"twice", VerifierConfig{Issuers: []AcceptedIssuer{accepted(same), accepted(same)}}, "is configured twice"},
		{"names alike", VerifierConfig{Issuers: []AcceptedIssuer{accepted(same), accepted(func(p *Policy) { p.Issuer += "/x" })}}, `are both named "acme"`},
		{"negative cache", VerifierConfig{CacheBytes: -1}, "bytes of the cache: found -1, expected 0 or more"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := NewVerifier(tt.config); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, expected %q", err, tt.want)
			}
		})
	}
}

func TestVerifierOfNobody(t *testing.T) {
	g := newGate(t)
	v, err := NewVerifier(VerifierConfig{CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if verdict := refused(t, v, g.idp.Mint(nil), ErrIssuer); verdict.Issuer != "" {
		t.Errorf("the refusal is laid to %q, which is not configured", verdict.Issuer)
	}
}

func TestPresets(t *testing.T) {
	want := []string{
		"auth0", "authentik", "bitbucket", "buildkite", "circleci", "cognito", "dex", "entra", "github", "gitlab", "google", "keycloak", "kubernetes",
		"okta", "spiffe", "terraform", "zitadel",
	}
	if got := Presets; !slices.Equal(got, want) {
		t.Errorf("got %q, expected %q", got, want)
	}
	for _, name := range Presets {
		if needsNone := (Policy{Preset: name}).CheckAudiences() == nil; needsNone != (name == "cognito") {
			t.Errorf("%s: wrong about the audience", name)
		}
	}
	if (Policy{}).CheckAudiences() == nil || (Policy{Preset: "unknown"}).CheckAudiences() == nil {
		t.Error("no preset needs no audience")
	}
}

func TestCheckAlgorithm(t *testing.T) {
	for _, name := range Algorithms {
		if err := CheckAlgorithm(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "none", "NONE", "HS256", "HS384", "HS512", "rs256", "ES256K", "RSA-OAEP", "EdDSA "} {
		if err := CheckAlgorithm(name); err == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

// What a policy names takes the place of the preset's, and leaves the preset
// itself alone.
func TestPolicyOverridesPreset(t *testing.T) {
	p := Policy{
		Preset: "keycloak", Audiences: []string{"a"}, Kind: KindUser,
		ClientClaim: "c", GroupsClaim: "g", ScopesClaim: "s",
	}
	got := presetOf(p)
	if !slices.Equal(got.clients, []string{"c"}) || !slices.Equal(got.groups, []string{"g"}) ||
		!slices.Equal(got.scopes, []string{"s"}) || got.kind != KindUser {
		t.Errorf("got %+v", got)
	}
	_ = presetOf(Policy{Preset: "keycloak", Audiences: []string{"x", "y"}})
	if got := presets["keycloak"].groups; !slices.Equal(got, []string{"realm_access.roles"}) {
		t.Errorf("the preset itself was changed: %q", got)
	}
}

package auth

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// TestTokenTypes is which tokens count as access tokens: by the header's type, and
// by the claims that tokens of other kinds have.
func TestTokenTypes(t *testing.T) {
	g := newGate(t)
	verifiers := map[string]*Verifier{
		"":                   g.verifier(),
		"keycloak":           g.verifier(with(func(p *Policy) { p.Preset = "keycloak" })),
		"entra":              g.verifier(with(func(p *Policy) { p.Preset = "entra" })),
		"okta":               g.verifier(with(func(p *Policy) { p.Preset = "okta" })),
		"auth0":              g.verifier(with(func(p *Policy) { p.Preset = "auth0" })),
		"google":             g.verifier(with(func(p *Policy) { p.Preset = "google" })),
		"id tokens":          g.verifier(with(func(p *Policy) { p.AcceptIDTokens = true })),
		"id tokens of entra": g.verifier(with(func(p *Policy) { p.AcceptIDTokens, p.Preset = true, "entra" })),
		"token_type JWT":     g.verifier(with(func(p *Policy) { p.TokenType = "JWT" })),
		"token_type JOSE":    g.verifier(with(func(p *Policy) { p.TokenType = "JOSE" })),
	}
	const dex = `{"sub":"CgR1","aud":"https://gateway.example.com","nonce":"n","at_hash":"h","email":"jane@example.com","groups":["ops"]}`
	tests := []struct {
		of     string
		typ    any // of the header
		claims string
		good   bool
	}{
		{"", "at+jwt", `{}`, true},
		{"", "application/at+jwt", `{}`, true},
		{"", "Application/AT+JWT", `{}`, true},
		{"", "JWT", `{}`, true},
		{"", "application/jwt", `{}`, true},
		{"", idp.Absent, `{}`, true},
		{"", "", `{}`, true},
		{"", "at+jwt", `{"nonce":"n"}`, true},
		{"", "at+jwt", `{"at_hash":"h"}`, true},
		{"", "at+jwt", `{"c_hash":"h"}`, true},
		{"", "JWT", `{"typ":"Bearer","token_use":"access","sid":"s","auth_time":1,"acr":"1","amr":["pwd"]}`, true},
		{"", "JWT", `{"typ":"bearer"}`, true},

		{"", "JWT", `{"nonce":"n"}`, false},
		{"", idp.Absent, `{"nonce":"n"}`, false},
		{"", "JWT", `{"nonce":"n","sid":"s"}`, false},
		{"", "JWT", `{"nonce":""}`, false},
		{"", "JWT", `{"at_hash":"h"}`, false},
		{"", "JWT", `{"c_hash":"h"}`, false},
		{"", "JWT", `{"s_hash":"h"}`, false},
		{"", "at+jwt", `{"nonce":"n","at_hash":"h"}`, false},
		{"", "JWT", `{"urn:openid:params:jwt:claim:rt_hash":"h"}`, false},
		{"", "JWT", `{"events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`, false},
		{"", "at+jwt", `{"events":{}}`, false},
		{"", "JWT", `{"typ":"Logout"}`, false},
		{"", "JWT", `{"typ":"ID"}`, false},
		{"", "JWT", `{"typ":"Refresh"}`, false},
		{"", "JWT", `{"typ":"Serialized-ID"}`, false},
		{"", "JWT", `{"typ":7}`, false},
		{"", "JWT", `{"token_use":"refresh"}`, false},
		{"", "JWT", `{"token_use":["access"]}`, false},
		{"", "JWT", `{"htm":"GET","htu":"https://x"}`, false},
		{"", "JWT", `{"vct":"https://x"}`, false},
		{"", "JWT", `{"_sd":[]}`, false},
		{"", "JWT", `{"status_list":{}}`, false},
		{"", "JWT", `{"token_introspection":{}}`, false},
		{"", "statuslist+jwt", `{}`, false},
		{"", "dc+sd-jwt", `{}`, false},
		{"", "oauth-id-jag+jwt", `{}`, false},
		{"", "logout+jwt;x=y", `{}`, false},
		{"", "at+jwt;x=y", `{}`, false},
		{"", "JOSE+JSON", `{}`, false},
		{"", "JOSE", `{}`, false},
		{"", " JWT", `{}`, false},
		{"", "jwt+at", `{}`, false},
		{"", "application/application/at+jwt", `{}`, false},

		{"token_type JOSE", "JOSE", `{}`, true},
		{"token_type JOSE", "JWT", `{}`, false},
		{"token_type JOSE", "JOSE", `{"events":{}}`, false},
		{"token_type JWT", "JWT", `{}`, true},
		{"token_type JWT", "JWT", `{"nonce":"n"}`, false},
		{"token_type JWT", idp.Absent, `{}`, false},

		{"keycloak", "JWT", `{"typ":"Bearer","azp":"spa","nonce":"n","sid":"s","session_state":"s"}`, true},
		{"keycloak", "JWT", `{"azp":"spa","nonce":"n"}`, false},
		{"keycloak", "JWT", `{"typ":"ID","azp":"spa","nonce":"n","at_hash":"h"}`, false},
		{"keycloak", "JWT", `{"typ":"Bearer","azp":"spa","at_hash":"h"}`, false},
		{"entra", "JWT", `{"azp":"c","scp":"x"}`, true},
		{"entra", "JWT", `{"appid":"c","scp":"x"}`, true},
		{"entra", "JWT", `{"oid":"o","tid":"t","preferred_username":"jane","uti":"u","ver":"2.0"}`, false},
		{"okta", idp.Absent, `{"cid":"c","uid":"u","scp":["openid"]}`, true},
		{"okta", idp.Absent, `{"jti":"ID.x","idp":"i","amr":["pwd"],"auth_time":1}`, false},
		{"auth0", "JWT", `{"sub":"auth0|1","azp":"c"}`, true},
		{"auth0", "JWT", `{"sub":"auth0|1","sid":"s","name":"jane"}`, false},
		{"google", "JWT", `{"sub":"1067","azp":"1067","email":"ci@acme.iam.gserviceaccount.com","email_verified":true}`, true},
		{"google", "JWT", `{"sub":"1067","azp":"32555940559.apps.googleusercontent.com","at_hash":"h"}`, false},

		{"id tokens", "JWT", dex, true},
		{"id tokens", idp.Absent, dex, true},
		{"id tokens", "JWT", `{"c_hash":"h","s_hash":"h"}`, true},
		{"id tokens", "JWT", `{"nonce":"n","events":{}}`, false},
		{"id tokens", "JWT", `{"typ":"Refresh"}`, false},
		{"id tokens", "logout+jwt", `{}`, false},
		{"id tokens of entra", "JWT", `{"oid":"o","nonce":"n"}`, true},
		{"", "JWT", dex, false},
	}
	for _, tt := range tests {
		token := g.idp.Mint(claimsOf(t, tt.claims), idp.WithHeader("typ", tt.typ))
		verdict := verifiers[tt.of].Verify(t.Context(), token)
		if (verdict.Refusal == nil) != tt.good || !tt.good && verdict.Refusal.Reason != ErrTokenType.Reason {
			t.Errorf("%s, typ %v, %s: refused with %v", tt.of, tt.typ, tt.claims, verdict.Refusal)
		}
	}
}

// A token bound to a key says so, whatever its issuer calls its type.
func TestBoundTokenOfKeycloak(t *testing.T) {
	g := newGate(t)
	v := g.verifier(with(func(p *Policy) { p.Preset = "keycloak" }))
	refused(t, v, g.idp.Mint(claimsOf(t, `{"typ":"DPoP","cnf":{"jkt":"x"}}`)), ErrBound)
	refused(t, v, g.idp.Mint(claimsOf(t, `{"typ":"DPoP"}`)), ErrTokenType)
}

// What is let in by the option alone is known as such.
func TestIDTokenMarksAreRemembered(t *testing.T) {
	g := newGate(t)
	v := g.verifier(with(func(p *Policy) { p.AcceptIDTokens = true }))
	for claims, want := range map[string]bool{`{"nonce":"n"}`: true, `{"at_hash":"h"}`: true, `{}`: false} {
		token := g.idp.Mint(claimsOf(t, claims), idp.WithHeader("typ", "JWT"))
		for range 2 {
			if got := letIn(t, v, token).HasIDTokenMarks(); got != want {
				t.Errorf("%s: %t", claims, got)
			}
		}
	}
	if letIn(t, v, g.idp.Mint(claimsOf(t, `{"nonce":"n"}`))).HasIDTokenMarks() {
		t.Error("a token of the type at+jwt counts as an ID token for its nonce")
	}
}

// The refusal says which claim told, and how to take such tokens all the same.
func TestTypeRefusalNamesTheClaim(t *testing.T) {
	g := newGate(t)
	verdict := refused(t, g.verifier(), g.idp.Mint(claimsOf(t, `{"nonce":"secret"}`), idp.WithHeader("typ", "JWT")), ErrTokenType)
	if cause := verdict.Refusal.Cause; cause == nil || !strings.Contains(cause.Error(), "nonce") ||
		!strings.Contains(cause.Error(), "id_tokens accept") || strings.Contains(cause.Error(), "secret") {
		t.Errorf("the cause is %v", cause)
	}
}

// A scope that is null is none, wherever else scopes may stand.
func TestNullBesideScopes(t *testing.T) {
	g := newGate(t)
	p := letIn(t, g.verifier(), g.idp.Mint(map[string]any{"scope": nil, "scp": []string{"a"}}))
	if got := p.Scopes(); len(got) != 1 || got[0] != "a" {
		t.Errorf("got the scopes %q", got)
	}
}

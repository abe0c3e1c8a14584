package auth

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func parseCompact(token string) (*parseBuffer, *Refusal) {
	b := new(parseBuffer)
	return b, b.takeApart(token)
}

func TestParseCompact(t *testing.T) {
	const head, body, sig = `{"alg":"RS256"}`, `{"sub":"a"}`, "signature"
	good := b64(head) + "." + b64(body) + "." + b64(sig)
	c, refusal := parseCompact(good)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if string(c.Payload) != body || string(c.Signature) != sig || string(c.Signed)+"."+b64(sig) != good || c.header.hint.Algorithm != "RS256" {
		t.Errorf("taken apart wrongly: %+v", c)
	}
	withHead := func(head string) string { return b64(head) + "." + b64(body) + "." + b64(sig) }
	tests := []struct {
		name, token string
		want        *Refusal
	}{
		{"empty", "", ErrNotJWS},
		{"one part", b64(head), ErrNotJWS},
		{"two parts", b64(head) + "." + b64(body), ErrNotJWS},
		{"four parts", good + "." + b64(sig), ErrNotJWS},
		{"five parts, as JWE has", good + "." + b64(sig) + "." + b64(sig), ErrNotJWS},
		{"no header", "." + b64(body) + "." + b64(sig), ErrNotJWS},
		{"no payload, as detached content has", b64(head) + ".." + b64(sig), ErrNotJWS},
		{"no signature", b64(head) + "." + b64(body) + ".", ErrNotJWS},
		{"only dots", "..", ErrNotJWS},
		{"padded", good + "==", ErrNotJWS},
		{"padded header", b64(head) + "=." + b64(body) + "." + b64(sig), ErrNotJWS},
		{"standard alphabet", b64(`{"alg":"RS256","x":"???>>>"}`)[:4] + "+/" + b64(head) + "." + b64(body) + "." + b64(sig), ErrNotJWS},
		{"a line break", good[:3] + "\n" + good[3:], ErrNotJWS},
		{"a carriage return behind", good + "\r", ErrNotJWS},
		{"a space", good + " ", ErrNotJWS},
		{"superfluous bits", b64(head) + "." + b64(body) + "." + "AB", ErrNotJWS},
		{"JSON serialization", `{"protected":"` + b64(head) + `","payload":"` + b64(body) + `","signature":"` + b64(sig) + `"}`, ErrNotJWS},
		{"header no JSON", withHead(`alg`), ErrNotJWS},
		{"header null", withHead(`null`), ErrNotJWS},
		{"header an array", withHead(`["RS256"]`), ErrNotJWS},
		{"header with something behind", withHead(head + `{}`), ErrNotJWS},
		{"header with a member twice", withHead(`{"alg":"none","alg":"RS256"}`), ErrRepeatedMember},
		{"header with a member twice, one escaped", withHead(`{"alg":"none","\u0061lg":"RS256"}`), ErrRepeatedMember},
		{"header with a member twice inside", withHead(`{"alg":"RS256","x":{"a":1,"a":2}}`), ErrRepeatedMember},
		{"header not UTF-8", withHead("{\"alg\":\"RS256\",\"x\":\"\xff\"}"), ErrNotUnicode},
		{"header with a lone surrogate", withHead(`{"alg":"RS256","x":"\ud800"}`), ErrNotUnicode},
		{"header with a byte order mark", withHead("\ufeff" + head), ErrNotJWS},
		{"alg a number", withHead(`{"alg":256}`), ErrHeaderMember},
		{"alg null", withHead(`{"alg":null}`), ErrHeaderMember},
		{"kid a number", withHead(`{"alg":"RS256","kid":1}`), ErrHeaderMember},
		{"kid null", withHead(`{"alg":"RS256","kid":null}`), ErrHeaderMember},
		{"typ an array", withHead(`{"alg":"RS256","typ":["JWT"]}`), ErrHeaderMember},
		{"crit", withHead(`{"alg":"RS256","crit":["exp"],"exp":1}`), ErrCritical},
		{"crit empty", withHead(`{"alg":"RS256","crit":[]}`), ErrCritical},
		{"crit null", withHead(`{"alg":"RS256","crit":null}`), ErrCritical},
		{"crit of b64", withHead(`{"alg":"RS256","crit":["b64"],"b64":false}`), ErrCritical},
		{"b64 false", withHead(`{"alg":"RS256","b64":false}`), ErrCritical},
		{"b64 of another type", withHead(`{"alg":"RS256","b64":0}`), ErrCritical},
		{"deep", withHead(`{"alg":"RS256","x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`), ErrNotJWS},
		{"b64 true, as everywhere", withHead(`{"alg":"RS256","b64":true}`), nil},
		{"keys brought along are not read", withHead(`{"alg":"RS256","jwk":{"kty":"oct"},"jku":"https://evil.example","x5u":"x","x5c":["y"]}`), nil},
		{"names in another case are other names", withHead(`{"ALG":"none","alg":"RS256","Crit":["x"]}`), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, refusal := parseCompact(tt.token); refusal != tt.want {
				t.Errorf("got %v, expected %v", refusal, tt.want)
			}
		})
	}
}

func TestReadHeader(t *testing.T) {
	tests := []struct {
		text string
		want header
	}{
		{`{"alg":"ES256"}`, header{hint: issuer.Hint{Algorithm: "ES256"}}},
		{`{"alg":"ES256","kid":""}`, header{hint: issuer.Hint{Algorithm: "ES256", HasKeyID: true}}},
		{`{"alg":"ES256","kid":"a\u00e9"}`, header{hint: issuer.Hint{Algorithm: "ES256", KeyID: "aé", HasKeyID: true}}},
		{`{"alg":"ES256","typ":"Application/AT+jwt"}`, header{hint: issuer.Hint{Algorithm: "ES256"}, mediaType: "at+jwt"}},
		{`{"alg":"ES256","typ":"JWT"}`, header{hint: issuer.Hint{Algorithm: "ES256"}, mediaType: "jwt"}},
		{`{}`, header{}},
	}
	for _, tt := range tests {
		c, refusal := parseCompact(b64(tt.text) + "." + b64(`{}`) + "." + b64("signature"))
		if refusal != nil || c.header != tt.want {
			t.Errorf("%s: got %+v, %v; expected %+v", tt.text, c, refusal, tt.want)
		}
	}
}

// Tokens of all sizes and kinds are examined at once on the same few buffers, and
// none is taken for another.
func TestParseBuffersDoNotMix(t *testing.T) {
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
		{good("long", map[string]any{"pad": strings.Repeat("x", 2*parseBytes)}), "long", nil},
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

// The refusal says which claim it was, and how to take such tokens all the same.
func TestTypeRefusalNamesTheClaim(t *testing.T) {
	g := newGate(t)
	verdict := refused(t, g.verifier(), g.idp.Mint(claimsOf(t, `{"nonce":"secret"}`), idp.WithHeader("typ", "JWT")), ErrTokenType)
	if cause := verdict.Refusal.Cause; cause == nil || !strings.Contains(cause.Error(), "nonce") ||
		strings.Index(cause.Error(), "id_tokens accept") < strings.Index(cause.Error(), "send the access token") || strings.Contains(cause.Error(), "secret") {
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

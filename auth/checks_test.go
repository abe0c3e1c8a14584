package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// TestRefusedTokens is every reason why a token of a configured issuer is not
// taken. All of them carry a signature that holds.
func TestRefusedTokens(t *testing.T) {
	g := newGate(t, "ES256", "RS256")
	v := g.verifier(with(func(p *Policy) { p.Leeway = 30 * time.Second; p.MaxLifetime = 24 * time.Hour }))
	type claims = map[string]any
	typ := func(typ string) idp.MintOption { return idp.WithHeader("typ", typ) }
	tests := []struct {
		name   string
		claims claims
		header []idp.MintOption
		want   *Refusal
	}{
		{"usual", nil, nil, nil},
		{"no typ", nil, []idp.MintOption{idp.WithHeader("typ", idp.Absent)}, nil},
		{"typ JWT", nil, []idp.MintOption{typ("JWT")}, nil},
		{"typ as a media type", nil, []idp.MintOption{typ("application/at+jwt")}, nil},
		{"no kid", nil, []idp.MintOption{idp.WithHeader("kid", idp.Absent)}, nil},
		{"aud an array", claims{"aud": []string{"other", idp.DefaultAudience}}, nil, nil},
		{"exp with a fraction", claims{"exp": float64(at(time.Hour)) + 0.5}, nil, nil},
		{"no iat, no jti", claims{"jti": idp.Absent}, nil, nil},
		{"nbf now", claims{"nbf": at(0)}, nil, nil},
		{"nbf within the leeway", claims{"nbf": at(30 * time.Second)}, nil, nil},
		{"iat within the leeway", claims{"iat": at(30 * time.Second)}, nil, nil},
		{"expired within the leeway", claims{"exp": at(-29 * time.Second)}, nil, nil},
		{"the longest lifetime", claims{"exp": at(24 * time.Hour)}, nil, nil},
		{"a nonce alone", claims{"nonce": "x"}, nil, nil},
		{"token_use access", claims{"token_use": "access"}, nil, nil},
		{"the claim typ Bearer", claims{"typ": "Bearer"}, nil, nil},

		{"expired", claims{"exp": at(-time.Hour)}, nil, ErrExpired},
		{"expired at the leeway's end", claims{"exp": at(-30 * time.Second)}, nil, ErrExpired},
		{"exp zero", claims{"exp": 0}, nil, ErrExpired},
		{"exp negative", claims{"exp": -1}, nil, ErrExpired},
		{"no exp", claims{"exp": idp.Absent}, nil, ErrNoExpiry},
		{"exp a string", claims{"exp": "1788267600"}, nil, ErrMalformedClaims},
		{"exp null", claims{"exp": nil}, nil, ErrMalformedClaims},
		{"exp an array", claims{"exp": []int64{at(time.Hour)}}, nil, ErrMalformedClaims},
		{"exp true", claims{"exp": true}, nil, ErrMalformedClaims},
		{"exp beyond all", claims{"exp": 1e308}, nil, ErrMalformedClaims},
		{"exp in milliseconds", claims{"exp": at(time.Hour) * 1000}, nil, ErrMalformedClaims},
		{"not yet valid", claims{"nbf": at(31 * time.Second)}, nil, ErrNotYetValid},
		{"nbf a string", claims{"nbf": "0"}, nil, ErrMalformedClaims},
		{"issued in the future", claims{"iat": at(31 * time.Second)}, nil, ErrNotYetValid},
		{"iat a string", claims{"iat": "0"}, nil, ErrMalformedClaims},
		{"too long a lifetime", claims{"exp": at(24*time.Hour + time.Second)}, nil, ErrLifetime},
		{"a lifetime nobody knows", claims{"iat": idp.Absent}, nil, ErrLifetime},
		{"no subject", claims{"sub": idp.Absent}, nil, ErrNoSubject},
		{"subject empty", claims{"sub": ""}, nil, ErrNoSubject},
		{"subject a number", claims{"sub": 42}, nil, ErrMalformedClaims},
		{"subject null", claims{"sub": nil}, nil, ErrMalformedClaims},
		{"subject an array", claims{"sub": []string{"a"}}, nil, ErrMalformedClaims},
		{"jti a number", claims{"jti": 1}, nil, ErrMalformedClaims},
		{"no issuer", claims{"iss": idp.Absent}, nil, ErrIssuer},
		{"another issuer", claims{"iss": "https://evil.example"}, nil, ErrIssuer},
		{"issuer with a slash", claims{"iss": g.idp.URL + "/"}, nil, ErrIssuer},
		{"issuer in upper case", claims{"iss": strings.ToUpper(g.idp.URL)}, nil, ErrIssuer},
		{"issuer a number", claims{"iss": 1}, nil, ErrMalformedClaims},
		{"issuer an array", claims{"iss": []string{g.idp.URL}}, nil, ErrMalformedClaims},
		{"no audience", claims{"aud": idp.Absent}, nil, ErrAudience},
		{"another audience", claims{"aud": "https://other.example"}, nil, ErrAudience},
		{"audience empty", claims{"aud": []string{}}, nil, ErrAudience},
		{"audience with a slash", claims{"aud": idp.DefaultAudience + "/"}, nil, ErrAudience},
		{"audience as a list in a string", claims{"aud": "x " + idp.DefaultAudience}, nil, ErrAudience},
		{"audience null", claims{"aud": nil}, nil, ErrMalformedClaims},
		{"audience an object", claims{"aud": claims{idp.DefaultAudience: true}}, nil, ErrMalformedClaims},
		{"audience with a null", claims{"aud": []any{idp.DefaultAudience, nil}}, nil, ErrMalformedClaims},
		{"bound to a key", claims{"cnf": claims{"jkt": "x"}}, nil, ErrBound},
		{"bound to a certificate", claims{"cnf": claims{"x5t#S256": "x"}}, nil, ErrBound},
		{"bound to nothing", claims{"cnf": nil}, nil, ErrBound},
		{"an ID token", claims{"nonce": "x", "at_hash": "y"}, nil, ErrTokenType},
		{"an ID token of Cognito", claims{"token_use": "id"}, nil, ErrTokenType},
		{"an ID token of Keycloak", claims{"typ": "ID"}, nil, ErrTokenType},
		{"a refresh token of Keycloak", claims{"typ": "Refresh"}, nil, ErrTokenType},
		{"an offline token of Keycloak", claims{"typ": "Offline"}, nil, ErrTokenType},
		{"a logout token", nil, []idp.MintOption{typ("logout+jwt")}, ErrTokenType},
		{"a logout token in other letters", nil, []idp.MintOption{typ("APPLICATION/Logout+JWT")}, ErrTokenType},
		{"a security event", nil, []idp.MintOption{typ("secevent+jwt")}, ErrTokenType},
		{"a DPoP proof", nil, []idp.MintOption{typ("dpop+jwt")}, ErrTokenType},
		{"crit", nil, []idp.MintOption{idp.WithHeader("crit", []string{"exp"})}, ErrCritical},
		{"crit of what is known", nil, []idp.MintOption{idp.WithHeader("crit", []string{"alg"})}, ErrCritical},
		{"b64", nil, []idp.MintOption{idp.WithHeader("b64", false)}, ErrCritical},
		{"payload no object", nil, []idp.MintOption{idp.WithRawPayload([]byte(`[]`))}, ErrNotJWS},
		{"payload no JSON", nil, []idp.MintOption{idp.WithRawPayload([]byte(`hello`))}, ErrNotJWS},
		{"payload with a claim twice", nil, []idp.MintOption{idp.WithRawPayload([]byte(`{"iss":"` + g.idp.URL + `","iss":"x"}`))}, ErrRepeatedMember},
		{"payload with an unused claim twice", nil, []idp.MintOption{idp.WithRawPayload([]byte(`{"iss":"` + g.idp.URL + `","x":1,"x":2}`))}, ErrRepeatedMember},
		{"payload with a lone surrogate", nil, []idp.MintOption{idp.WithRawPayload([]byte(`{"iss":"` + g.idp.URL + `","x":"\ud800"}`))}, ErrNotUnicode},
		{"payload in Latin-1", nil, []idp.MintOption{idp.WithRawPayload([]byte("{\"iss\":\"" + g.idp.URL + "\",\"x\":\"\xe9\"}"))}, ErrNotUnicode},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := g.idp.Mint(tt.claims, tt.header...)
			if tt.want == nil {
				letIn(t, v, token)
				return
			}
			refused(t, v, token, tt.want)
		})
	}
	if got, _ := v.Cached(); got != 16 {
		t.Errorf("%d tokens are cached, expected the 16 good ones", got)
	}
}

// TestForgedTokens is what an attacker without a key tries.
func TestForgedTokens(t *testing.T) {
	g := newGate(t, "RS256", "ES256", "EdDSA")
	v := g.verifier()
	mint := func(opts ...idp.MintOption) string { return g.idp.Mint(nil, opts...) }
	good := mint()
	letIn(t, v, good)
	rsaKey := g.idp.KeyID()
	secret := g.idp.PublicPEM(rsaKey)
	tests := []struct {
		name, token string
		want        *Refusal
	}{
		{"alg none", mint(idp.WithHeader("alg", "none"), idp.WithSigner(idp.NoSignature)), ErrNotJWS},
		{"alg none with a signature", mint(idp.WithHeader("alg", "none")), ErrAlgorithm},
		{"alg None", mint(idp.WithHeader("alg", "None")), ErrAlgorithm},
		{"alg nOnE", mint(idp.WithHeader("alg", "nOnE")), ErrAlgorithm},
		{"alg empty", mint(idp.WithHeader("alg", "")), ErrAlgorithm},
		{"no alg", mint(idp.WithHeader("alg", idp.Absent)), ErrAlgorithm},
		{"alg of another case", mint(idp.WithHeader("alg", "rs256")), ErrAlgorithm},
		{"HS256 with the public key", mint(idp.WithHeader("alg", "HS256"), idp.WithSigner(idp.HMACSHA256(secret))), ErrAlgorithm},
		{"HS256 with an empty secret", mint(idp.WithHeader("alg", "HS256"), idp.WithSigner(idp.HMACSHA256(nil))), ErrAlgorithm},
		{"ES256K", mint(idp.WithHeader("alg", "ES256K")), ErrAlgorithm},
		{"an encryption's algorithm", mint(idp.WithHeader("alg", "RSA-OAEP")), ErrAlgorithm},
		{"another algorithm of the same key", mint(idp.WithHeader("alg", "RS512")), ErrAlgorithm},
		{"PSS under a key for PKCS 1", mint(idp.WithKey(rsaKey), idp.WithAlg("PS256"), idp.WithHeader("alg", "PS256")), ErrAlgorithm},
		{"another kind of key", mint(idp.WithHeader("alg", "ES256")), ErrAlgorithm},
		{"Ed25519 for an EC key", mint(idp.WithAlg("ES256"), idp.WithHeader("alg", "EdDSA")), ErrAlgorithm},
		{"no signature", mint(idp.WithSigner(idp.NoSignature)), ErrNotJWS},
		{"signature of zeros", mint(idp.WithSigner(func([]byte) []byte { return make([]byte, 256) })), ErrSignature},
		{"ECDSA of zeros", mint(idp.WithHeader("alg", "ES256"), idp.WithHeader("kid", "es256-2"),
			idp.WithSigner(func([]byte) []byte { return make([]byte, 64) })), ErrSignature},
		{"EdDSA of zeros", mint(idp.WithHeader("alg", "EdDSA"), idp.WithHeader("kid", "eddsa-3"),
			idp.WithSigner(func([]byte) []byte { return make([]byte, 64) })), ErrSignature},
		{"another's signature", good[:strings.LastIndex(good, ".")] + mint()[strings.LastIndex(mint(), "."):], ErrSignature},
		{"an empty kid", mint(idp.WithHeader("kid", "")), ErrUnknownKey},
		{"an unknown kid", mint(idp.WithHeader("kid", "../../etc/passwd")), ErrUnknownKey},
		{"empty", "", ErrMalformedHeader},
		{"garbage", "garbage", ErrNotJWS},
		{"too long", strings.Repeat("a", MaxTokenBytes+1), ErrTooLong},
		{"the longest garbage", strings.Repeat("a", MaxTokenBytes), ErrNotJWS},
		{"a dot behind", good + ".", ErrNotJWS},
		{"twice", good + good, ErrNotJWS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refused(t, v, tt.token, tt.want) })
	}
	if got, _ := v.Cached(); got != 1 {
		t.Errorf("%d tokens are cached, expected the good one", got)
	}
}

// A key that the token brings along must not be used, even if its signature
// holds under it.
func TestEmbeddedKeysAreIgnored(t *testing.T) {
	g, attacker := newGate(t, "ES256"), newGate(t, "ES256")
	v := g.verifier()
	letIn(t, v, g.idp.Mint(nil))
	for name, member := range map[string]any{
		"jwk": map[string]any{"kty": "EC"}, "jku": attacker.idp.JWKSURL(), "x5u": attacker.idp.JWKSURL(), "x5c": []string{"MIIB"},
	} {
		for _, kid := range []any{g.idp.KeyID(), idp.Absent} {
			token := attacker.idp.Mint(map[string]any{"iss": g.idp.URL}, idp.WithHeader(name, member), idp.WithHeader("kid", kid))
			refused(t, v, token, ErrSignature)
		}
	}
	if n := attacker.idp.JWKSFetches(); n != 0 {
		t.Errorf("the attacker's key set was fetched %d times", n)
	}
}

// A good token of one issuer is nothing at another, though both be accepted.
func TestIssuersAreApart(t *testing.T) {
	one, other := newGate(t), newGate(t)
	v := one.verifier(func(c *VerifierConfig) {
		second := other.policy()
		second.Name = "other"
		c.Issuers = append(c.Issuers, AcceptedIssuer{Policy: second, Keys: other.engine})
	})
	if p := letIn(t, v, one.idp.Mint(nil)); p.Issuer() != "acme" {
		t.Errorf("the issuer is %q", p.Issuer())
	}
	if p := letIn(t, v, other.idp.Mint(nil)); p.Issuer() != "other" {
		t.Errorf("the issuer is %q", p.Issuer())
	}
	forged := other.idp.Mint(map[string]any{"iss": one.idp.URL})
	if verdict := refused(t, v, forged, ErrSignature); verdict.Issuer != "acme" {
		t.Errorf("the refusal is laid to %q, expected the issuer that the token claims", verdict.Issuer)
	}
}

func TestTokenTypeRequired(t *testing.T) {
	g := newGate(t)
	for _, required := range []string{"at+jwt", "application/at+jwt", "AT+JWT"} {
		v := g.verifier(with(func(p *Policy) { p.TokenType = required }))
		letIn(t, v, g.idp.Mint(nil))
		letIn(t, v, g.idp.Mint(nil, idp.WithHeader("typ", "application/AT+jwt")))
		refused(t, v, g.idp.Mint(nil, idp.WithHeader("typ", "JWT")), ErrTokenType)
		refused(t, v, g.idp.Mint(nil, idp.WithHeader("typ", idp.Absent)), ErrTokenType)
	}
}

func TestAlgorithmsAllowed(t *testing.T) {
	g := newGate(t, "RS256", "ES256")
	v := g.verifier(with(func(p *Policy) { p.Algorithms = []string{"ES256"} }))
	letIn(t, v, g.idp.Mint(nil, idp.WithAlg("ES256")))
	refused(t, v, g.idp.Mint(nil, idp.WithAlg("RS256")), ErrAlgorithm)
}

func TestEveryAlgorithm(t *testing.T) {
	g := newGate(t, idp.Algorithms()...)
	v := g.verifier()
	for _, algorithm := range idp.Algorithms() {
		letIn(t, v, g.idp.Mint(nil, idp.WithAlg(algorithm)))
		letIn(t, v, g.idp.Mint(nil, idp.WithAlg(algorithm), idp.WithHeader("kid", idp.Absent)))
	}
	letIn(t, v, g.idp.Mint(nil, idp.WithAlg("EdDSA"), idp.WithHeader("alg", "Ed25519")))
}

func TestLeewayZeroIsHonored(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	letIn(t, v, g.idp.Mint(map[string]any{"exp": at(time.Second)}))
	refused(t, v, g.idp.Mint(map[string]any{"exp": at(0)}), ErrExpired)
	refused(t, v, g.idp.Mint(map[string]any{"nbf": at(time.Second)}), ErrNotYetValid)
	refused(t, v, g.idp.Mint(map[string]any{"iat": at(time.Second)}), ErrNotYetValid)
}

func TestSubjectClaim(t *testing.T) {
	g := newGate(t)
	v := g.verifier(with(func(p *Policy) { p.SubjectClaim = "https://acme.com/who.id" }))
	p := letIn(t, v, g.idp.Mint(map[string]any{"https://acme.com/who": map[string]any{"id": "x-1"}}))
	if p.Subject() != "x-1" {
		t.Errorf("the subject is %q", p.Subject())
	}
	refused(t, v, g.idp.Mint(nil), ErrNoSubject)
}

package caddymodule_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

var (
	notJWS       = invalidToken("the token is not a signed JWT in compact form")
	headerMember = invalidToken("a member of the header of the token has the wrong type")
	repeated     = invalidToken("a member of the header or the claims of the token stands twice")
	notUnicode   = invalidToken("the token holds text that is not valid Unicode")
	wrongShape   = invalidToken("a claim of the token has the wrong type")
	badAlgorithm = invalidToken("the signature algorithm of the token is not accepted")
	critical     = invalidToken("the token has a critical header that is not understood")
	otherType    = invalidToken("the token is of another type than an access token")
	otherIssuer  = invalidToken("the issuer of the token is not accepted")
	noSubject    = invalidToken("the token has no subject")
	noExpiry     = invalidToken("the token has no expiry")
	expired      = invalidToken("the token has expired")
	notYet       = invalidToken("the token is not valid yet")
	tooLong      = invalidToken("the lifetime of the token is longer than accepted")
	badAudience  = invalidToken("the token is not meant for this audience")
	malformed    = invalidToken("the cnf claim of the token is malformed")
	unknownKey   = invalidToken("the key that signed the token is not known")
	badSignature = invalidToken("the signature of the token is not valid")
)

type tokenCase struct {
	name  string
	token string
	want  refused
}

func (g *gateway) refusesAll(t *testing.T, cases []tokenCase) {
	t.Helper()
	var all sync.WaitGroup
	for _, c := range cases {
		all.Go(func() {
			t.Run(c.name, func(t *testing.T) { g.refuses(t, c.want, "", bearer(c.token)) })
		})
	}
	all.Wait()
}

func TestForgedTokens(t *testing.T) {
	g, issuer := startGates(t)
	attacker := newIssuer(t, idp.WithAlgorithms("ES256", "RS256"))
	kid := kidOf(t, issuer, "RS256")
	der, _ := pem.Decode(issuer.PublicPEM(kid))
	pkcs1, err := x509.ParsePKIXPublicKey(der.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	good := mint(issuer, nil)
	hmac := func(secret []byte) string {
		return issuer.Mint(nil, idp.WithKey(kid), idp.WithSigner(idp.HMACSHA256(secret)), idp.WithHeader("alg", "HS256"))
	}
	// stolen is signed by the attacker's key and names the issuer; more of the
	// header brings that key along.
	stolen := func(member string, value any) string {
		return attacker.Mint(claims{"iss": issuer.URL}, idp.WithHeader(member, value), idp.WithHeader("kid", issuer.KeyID()))
	}
	g.refusesAll(t, []tokenCase{
		{"none without a signature", issuer.Mint(nil, idp.WithHeader("alg", "none"), idp.WithSigner(idp.NoSignature)), notJWS},
		{"none with a signature", issuer.Mint(nil, idp.WithHeader("alg", "none")), badAlgorithm},
		{"nOnE", issuer.Mint(nil, idp.WithHeader("alg", "nOnE")), badAlgorithm},
		{"no alg", issuer.Mint(nil, idp.WithHeader("alg", idp.Absent)), badAlgorithm},
		{"alg of a wrong type", issuer.Mint(nil, idp.WithHeader("alg", 1)), headerMember},
		{"HS256 with the public key in PEM", hmac(issuer.PublicPEM(kid)), badAlgorithm},
		{"HS256 with the public key in DER", hmac(der.Bytes), badAlgorithm},
		{"HS256 with the bare public key", hmac(x509.MarshalPKCS1PublicKey(rsaKey(t, pkcs1))), badAlgorithm},
		{"algorithm of another key", issuer.Mint(nil, idp.WithHeader("alg", "RS256")), badAlgorithm},
		{"PS256 under a key for RS256", issuer.Mint(nil, idp.WithKey(kid), idp.WithAlg("PS256")), badAlgorithm},
		{"embedded jwk", stolen("jwk", firstKey(t, attacker)), badSignature},
		{"jku", stolen("jku", attacker.JWKSURL()), badSignature},
		{"x5u", stolen("x5u", attacker.JWKSURL()), badSignature},
		{"x5c", stolen("x5c", []string{base64.StdEncoding.EncodeToString(der.Bytes)}), badSignature},
		{"the attacker's kid", attacker.Mint(claims{"iss": issuer.URL}, idp.WithHeader("kid", "theirs")), unknownKey},
		{"no kid, the attacker's key", attacker.Mint(claims{"iss": issuer.URL}, idp.WithHeader("kid", idp.Absent)), badSignature},
		{"kid of a wrong type", issuer.Mint(nil, idp.WithHeader("kid", 7)), headerMember},
		{"kid is a path", issuer.Mint(nil, idp.WithHeader("kid", "../../etc/passwd")), unknownKey},
		{"signature changed", flip(good), badSignature},
		{"signature cut", good[:len(good)-2], badSignature},
		{"payload changed", otherPayload(good, issuer), badSignature},
		{"crit", issuer.Mint(nil, idp.WithHeader("crit", []string{"exp"})), critical},
		{"crit, empty", issuer.Mint(nil, idp.WithHeader("crit", []string{})), critical},
		{"crit, null", issuer.Mint(nil, idp.WithHeader("crit", nil)), critical},
		{"b64 false", issuer.Mint(nil, idp.WithHeader("b64", false)), critical},
	})
	if n := attacker.JWKSFetches() + attacker.DiscoveryFetches(); n != 0 {
		t.Errorf("%d requests reached the address that tokens brought along, want none", n)
	}
}

func TestMalformedTokens(t *testing.T) {
	g, issuer := startGates(t)
	good := mint(issuer, nil)
	parts := strings.Split(good, ".")
	payload := func(s string) string { return issuer.Mint(nil, idp.WithRawPayload([]byte(s))) }
	head := func(s string) string { return issuer.Mint(nil, idp.WithRawHeader([]byte(s))) }
	claimed := func(more string) string {
		return payload(`{"iss":"` + issuer.URL + `","sub":"a","aud":"https://gateway.example.com","exp":9999999999` + more + `}`)
	}
	g.refusesAll(t, []tokenCase{
		{"one part", parts[0], notJWS},
		{"two parts", parts[0] + "." + parts[1], notJWS},
		{"four parts", good + ".x", notJWS},
		{"JWE", "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ." + parts[1] + ".YQ.YQ.YQ", notJWS},
		{"empty parts", "..", notJWS},
		{"no signature", parts[0] + "." + parts[1] + ".", notJWS},
		{"padded", good + "=", notJWS},
		{"padded twice", good + "==", notJWS},
		{"standard alphabet", parts[0] + "." + parts[1] + ".+/" + parts[2][2:], notJWS},
		{"superfluous bits", parts[0] + "." + parts[1] + ".YR", notJWS},
		{"a byte of base64", parts[0] + "." + parts[1] + ".A", notJWS},
		{"not a JWT", "opaque", notJWS},
		{"payload is no JSON", payload("hello"), notJWS},
		{"payload is an array", payload("[]"), notJWS},
		{"payload is null", payload("null"), notJWS},
		{"payload is two objects", payload("{}{}"), notJWS},
		{"payload is no UTF-8", payload("{\"iss\":\"\xff\"}"), notUnicode},
		{"payload with a lone surrogate", claimed(`,"x":"\udfff"`), notUnicode},
		{"header is null", head("null"), notJWS},
		{"header is an array", head("[]"), notJWS},
		{"header twice alg", head(`{"alg":"ES256","alg":"none"}`), repeated},
		{"header twice kid", head(`{"alg":"ES256","kid":"a","kid":"b"}`), repeated},
		{"header in another case", head(`{"ALG":"ES256"}`), badAlgorithm},
		{"twice sub", claimed(`,"sub":"b"`), repeated},
		{"twice exp", claimed(`,"exp":1`), repeated},
		{"twice an unknown one", claimed(`,"x":1,"x":1`), repeated},
		{"twice, deep inside", claimed(`,"x":{"y":1,"y":2}`), repeated},
		{"twice, one escaped", claimed(`,"\u0073ub":"b"`), repeated},
	})
}

func TestClaimsOfWrongTypes(t *testing.T) {
	g, issuer := startGates(t)
	now := time.Now().Unix()
	with := func(name string, value any) string { return issuer.Mint(claims{name: value}) }
	g.refusesAll(t, []tokenCase{
		{"no exp", with("exp", idp.Absent), noExpiry},
		{"exp is a string", with("exp", "9999999999"), wrongShape},
		{"exp is null", with("exp", nil), wrongShape},
		{"exp is a boolean", with("exp", true), wrongShape},
		{"exp is huge", with("exp", 1e300), wrongShape},
		{"exp is past", with("exp", now-1), expired},
		{"exp is zero", with("exp", 0), expired},
		{"exp is negative", with("exp", -now), expired},
		{"nbf is ahead", with("nbf", now+3600), notYet},
		{"nbf is a string", with("nbf", "0"), wrongShape},
		{"iat is ahead", with("iat", now+3600), notYet},
		{"iat is an object", with("iat", claims{}), wrongShape},
		{"no sub", with("sub", idp.Absent), noSubject},
		{"sub is empty", with("sub", ""), noSubject},
		{"sub is a number", with("sub", 42), wrongShape},
		{"sub is null", with("sub", nil), wrongShape},
		{"sub is an array", with("sub", []string{"a"}), wrongShape},
		{"no aud", with("aud", idp.Absent), badAudience},
		{"aud is empty", with("aud", ""), badAudience},
		{"aud is an empty array", with("aud", []string{}), badAudience},
		{"aud is another", with("aud", "https://other.example.com"), badAudience},
		{"aud with a slash more", with("aud", idp.DefaultAudience+"/"), badAudience},
		{"aud in another case", with("aud", strings.ToUpper(idp.DefaultAudience)), badAudience},
		{"aud is a number", with("aud", 5), wrongShape},
		{"aud is an array of numbers", with("aud", []int{5}), wrongShape},
		{"aud is an object", with("aud", claims{idp.DefaultAudience: true}), wrongShape},
		{"no iss", with("iss", idp.Absent), otherIssuer},
		{"iss is another", with("iss", "https://other.example.com"), otherIssuer},
		{"iss with a slash more", with("iss", issuer.URL+"/"), otherIssuer},
		{"iss is an array", with("iss", []string{issuer.URL}), wrongShape},
		{"iss is null", with("iss", nil), wrongShape},
		{"jti is a number", with("jti", 1), wrongShape},
		{"cnf with a thumbprint", with("cnf", claims{"jkt": "x"}), malformed},
		{"cnf, empty", with("cnf", claims{}), malformed},
		{"cnf, null", with("cnf", nil), malformed},
	})
}

func TestTokensOfOtherTypes(t *testing.T) {
	g, issuer := startGates(t)
	cases := []tokenCase{
		{"token_use id", issuer.Mint(claims{"token_use": "id"}), otherType},
		{"Keycloak's Refresh", issuer.Mint(claims{"typ": "Refresh"}), otherType},
		{"Keycloak's ID", issuer.Mint(claims{"typ": "ID"}), otherType},
		{"Keycloak's Offline", issuer.Mint(claims{"typ": "Offline"}), otherType},
		{"nonce with at_hash", issuer.Mint(claims{"nonce": "n", "at_hash": "h"}), otherType},
		{"an ID token", issuer.IDToken(idp.Person{Subject: "jane"}, idp.Login{ClientID: idp.DefaultAudience, Nonce: "n"}), otherType},
	}
	for _, typ := range []string{
		"logout+jwt", "secevent+jwt", "dpop+jwt", "oauth-authz-req+jwt", "token-introspection+jwt",
		"Logout+JWT", "application/logout+jwt", "APPLICATION/DPOP+JWT",
	} {
		cases = append(cases, tokenCase{"typ " + typ, issuer.Mint(nil, idp.WithHeader("typ", typ)), otherType})
	}
	g.refusesAll(t, cases)
}

func TestTokensThatMustPass(t *testing.T) {
	g, issuer := startGates(t)
	now := time.Now().Unix()
	for name, token := range map[string]string{
		"at+jwt":               mint(issuer, nil),
		"typ JWT":              mint(issuer, nil, idp.WithHeader("typ", "JWT")),
		"no typ":               mint(issuer, nil, idp.WithHeader("typ", idp.Absent)),
		"no kid":               mint(issuer, nil, idp.WithHeader("kid", idp.Absent)),
		"RS256":                mint(issuer, nil, idp.WithAlg("RS256")),
		"EdDSA":                mint(issuer, nil, idp.WithAlg("EdDSA")),
		"aud in an array":      mint(issuer, claims{"aud": []string{"x", idp.DefaultAudience}}),
		"exp with a fraction":  mint(issuer, claims{"exp": float64(now) + 3600.5}),
		"nbf now":              mint(issuer, claims{"nbf": now - 1}),
		"neither iat nor jti":  mint(issuer, claims{"iat": idp.Absent, "jti": idp.Absent}),
		"nonce alone":          mint(issuer, claims{"nonce": "n"}),
		"at_hash alone":        mint(issuer, claims{"at_hash": "h"}),
		"jku that nobody asks": mint(issuer, nil, idp.WithHeader("jku", "https://evil.example.com")),
		"a person's":           secret(issuer.PersonToken(idp.Person{Subject: "jane"}, idp.Login{ClientID: "web"})),
	} {
		t.Run(name, func(t *testing.T) {
			if got := g.get("/plain", bearer(token)); got.status != 200 {
				t.Errorf("got %d %s, want 200", got.status, got.header.Get("WWW-Authenticate"))
			}
		})
	}
}

// kidOf gives the id of the published key for an algorithm.
func kidOf(t *testing.T, issuer *idp.Issuer, alg string) string {
	t.Helper()
	for _, key := range keysOf(t, issuer) {
		if key["alg"] == alg {
			return key["kid"].(string)
		}
	}
	t.Fatalf("no key for %s", alg)
	return ""
}

func firstKey(t *testing.T, issuer *idp.Issuer) map[string]any { return keysOf(t, issuer)[0] }

func keysOf(t *testing.T, issuer *idp.Issuer) []map[string]any {
	t.Helper()
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(issuer.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	return set.Keys
}

// flip changes a byte in the middle of the signature.
func flip(token string) string {
	at := len(token) - 40
	other := byte('A')
	if token[at] == other {
		other = 'B'
	}
	return token[:at] + string(other) + token[at+1:]
}

// otherPayload puts another subject under the signature of a good token.
func otherPayload(token string, issuer *idp.Issuer) string {
	parts := strings.Split(token, ".")
	parts[1] = strings.Split(issuer.Mint(claims{"sub": "admin"}), ".")[1]
	return strings.Join(parts, ".")
}

func rsaKey(t *testing.T, key any) *rsa.PublicKey {
	t.Helper()
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		t.Fatalf("got a key of type %T, want one for RSA", key)
	}
	return public
}

package oidcprovider_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/e2e/oidcprovider"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"
)

func get(t *testing.T, url string) []byte {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, %v", url, res.StatusCode, err)
	}
	return b
}

// The tokens are what the gate will meet, so what they look like is logged.
func TestTokensOfEveryAlgorithm(t *testing.T) {
	issuer, fetchToken := oidcprovider.Start(t)
	var meta struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := json.Unmarshal(get(t, issuer+"/.well-known/openid-configuration"), &meta); err != nil {
		t.Fatal(err)
	}
	if meta.Issuer != issuer {
		t.Fatalf("metadata names %q, want %q", meta.Issuer, issuer)
	}
	set, err := jwk.Parse(get(t, meta.JWKSURI))
	if err != nil {
		t.Fatal(err)
	}
	if token := fetchToken("RS256"); token == fetchToken("RS256") {
		t.Error("two tokens are the same")
	}
	for _, alg := range oidcprovider.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			raw := []byte(fetchToken(alg))
			token, err := jwt.Parse(raw,
				jwt.WithKeySet(set, jws.WithInferAlgorithmFromKey(true)),
				jwt.WithIssuer(issuer), jwt.WithAudience(oidcprovider.Audience),
				jwt.WithRequiredClaim("exp"), jwt.WithClaimValue("client_id", oidcprovider.ClientID))
			if err != nil {
				t.Fatalf("jwx refuses it: %v", err)
			}
			msg, err := jws.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			header := msg.Signatures()[0].ProtectedHeaders()
			if header.Algorithm() != jwa.SignatureAlgorithm(alg) {
				t.Errorf("alg = %s", header.Algorithm())
			}
			claims, err := json.Marshal(token)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("typ %q, kid %q: %s", header.Type(), header.KeyID(), claims)
		})
	}
}

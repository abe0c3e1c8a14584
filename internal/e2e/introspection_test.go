package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/gatehouse-proxy/gatehouse/internal/e2e/oidcprovider"
)

// TestIntrospection asks an identity provider that is not ours about its opaque
// tokens, by a secret and by a key, for plain answers and for signed ones.
func TestIntrospection(t *testing.T) {
	private, public := keyPair(t)
	keyFile := filepath.Join(t.TempDir(), "gateway.json")
	if err := os.WriteFile(keyFile, private, 0o600); err != nil {
		t.Fatal(err)
	}
	issuer, fetch := oidcprovider.Start(t, string(public))
	t.Setenv("GATEWAY_SECRET", oidcprovider.GatewaySecret)
	bySecret := "client_id " + oidcprovider.Gateway + "\nclient_secret {env.GATEWAY_SECRET}\n"
	byKey := "client_id " + oidcprovider.Keyed + "\nprivate_key " + keyFile + "\n"
	for name, introspection := range map[string]string{
		"secret":           bySecret + "cache 0s",
		"secret, signed":   bySecret + "cache 0s\nsigned",
		"key":              byKey + "cache 0s",
		"key, signed":      byKey + "cache 0s\nsigned",
		"kept for seconds": bySecret + "cache 1s\nsigned",
	} {
		t.Run(name, func(t *testing.T) {
			site := serve(t, `{
	admin off
	auto_https off
	persist_config off
	storage file_system STORAGE
	gatehouse {
		issuer ISSUER {
			name certified
			audience AUDIENCE
			subject_claim client_id
			kind service_account
			introspection {
				INTROSPECTION
			}
		}
		service_accounts {
			account CLIENT
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth {
		scope read
	}
	respond "{http.auth.user.id} {http.auth.user.kind} {http.auth.user.scopes}"
}
`, "ISSUER", issuer, "AUDIENCE", oidcprovider.Audience, "CLIENT", oidcprovider.ClientID, "INTROSPECTION", introspection)
			token := fetch(oidcprovider.Opaque)
			if strings.Contains(token, ".") {
				t.Fatal("the token is not opaque")
			}
			for range 2 {
				if status, body := get(t, site, token); status != http.StatusOK || string(body) != oidcprovider.ClientID+" service_account read,write" {
					t.Fatalf("a good token was answered with %d %s", status, body)
				}
			}
			if status, _ := get(t, site, fetch("ES256")); status != http.StatusOK {
				t.Errorf("a JWT was answered with %d", status)
			}
			if status, _ := get(t, site, "invented"); status != http.StatusUnauthorized {
				t.Errorf("an invented token was answered with %d", status)
			}
			oidcprovider.Revoke(t, issuer, token)
			revoked := time.Now()
			status := http.StatusOK
			for status == http.StatusOK && time.Since(revoked) < 30*time.Second {
				status, _ = get(t, site, token)
			}
			if status != http.StatusUnauthorized {
				t.Errorf("a revoked token was answered with %d", status)
			}
		})
	}
}

// keyPair is a new key as a JWK, and its public half.
func keyPair(t *testing.T) (private, public []byte) {
	t.Helper()
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.FromRaw(made)
	if err != nil {
		t.Fatal(err)
	}
	if err := key.Set(jwk.KeyIDKey, "gateway"); err != nil {
		t.Fatal(err)
	}
	half, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if private, err = json.Marshal(key); err != nil {
		t.Fatal(err)
	}
	if public, err = json.Marshal(half); err != nil {
		t.Fatal(err)
	}
	return private, public
}

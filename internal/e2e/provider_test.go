package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	// What the Caddy of the tests is made of.
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/gatehouse-proxy/gatehouse/caddymodule"

	"github.com/gatehouse-proxy/gatehouse/internal/e2e/oidcprovider"
	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
)

// TestCertifiedProvider lets in machines with tokens of an identity provider
// that is not ours, in every algorithm it signs with. The package
// oidcprovider says what to install.
func TestCertifiedProvider(t *testing.T) {
	issuer, fetch := oidcprovider.Start(t)
	site := serve(t, `{
	admin off
	auto_https off
	persist_config off
	storage file_system STORAGE
	gatehouse {
		issuer ISSUER {
			name certified
			audience AUDIENCE
			token_type at+jwt
		}
		service_accounts {
			account CLIENT {
				groups deployers
			}
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth {
		service_account only
		group deployers
	}
	respond "{\"id\": \"{http.auth.user.id}\", \"kind\": \"{http.auth.user.kind}\", \"issuer\": \"{http.auth.user.issuer}\"}"
}
`, "ISSUER", issuer, "AUDIENCE", oidcprovider.Audience, "CLIENT", oidcprovider.ClientID)
	for _, algorithm := range oidcprovider.Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			token := fetch(algorithm)
			status, body := get(t, site, token)
			if status != http.StatusOK {
				t.Fatalf("a good token was answered with %d %s", status, body)
			}
			var caller struct{ ID, Kind, Issuer string }
			if err := json.Unmarshal(body, &caller); err != nil {
				t.Fatalf("%v in %q", err, body)
			}
			if caller.ID != oidcprovider.ClientID || caller.Kind != "service_account" || caller.Issuer != "certified" {
				t.Errorf("the caller is %+v", caller)
			}
			changed := token[:len(token)-8] + "AAAAAAAA"
			if status, _ := get(t, site, changed); status != http.StatusUnauthorized {
				t.Errorf("a changed signature was answered with %d", status)
			}
		})
	}
}

// serve runs a Caddy with the Caddyfile and gives its site's address.
func serve(t *testing.T, caddyfile string, pairs ...string) string {
	t.Helper()
	site, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	pairs = append(pairs, "SITE", site, "STORAGE", t.TempDir())
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(strings.NewReplacer(pairs...).Replace(caddyfile)), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + site + "/"
}

func get(t *testing.T, address, token string) (status int, body []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body
}

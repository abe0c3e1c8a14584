//go:build idp

package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/oidcprovider"
)

// TestCertifiedProvider lets in machines with tokens of an identity provider
// that is not ours, in every algorithm it signs with. What to install stands at
// the package oidcprovider.
func TestCertifiedProvider(t *testing.T) {
	issuer, fetch := oidcprovider.Start(t)
	g := start(t, `{
	GLOBALS
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
			got := g.get("/", bearer(token))
			if got.status != http.StatusOK {
				t.Fatalf("a good token was answered with %d %s", got.status, got.header.Get("WWW-Authenticate"))
			}
			var caller struct{ ID, Kind, Issuer string }
			if err := json.Unmarshal([]byte(got.body), &caller); err != nil {
				t.Fatalf("%v in %q", err, got.body)
			}
			if caller.ID != oidcprovider.ClientID || caller.Kind != "service_account" || caller.Issuer != "certified" {
				t.Errorf("the caller is %+v", caller)
			}
			changed := token[:len(token)-8] + "AAAAAAAA"
			if got := g.get("/", bearer(changed)); got.status != http.StatusUnauthorized {
				t.Errorf("a changed signature was answered with %d", got.status)
			}
		})
	}
}

package caddymodule_test

import (
	"strings"
	"testing"
)

const formed = `{
	GLOBALS
	gatehouse {
		issuer https://login.example.com {
			name acme
			audience https://gateway.example.com
		}
		license {
			trusted_key PUBLIC
		}
	}
}
http://SITE {
	bind 127.0.0.1
	require_license LICENSE
	BEARER
	respond "in"
}
`

// Where it is not said, a refusal for the license looks like those of the site's
// bearer_auth.
func TestLicenseRefusalsLookLikeTheSitesOthers(t *testing.T) {
	v := newVendor(t)
	const json = "bearer_auth /a/* {\nerror_body json\n}\n"
	for _, c := range []struct{ license, bearer, body string }{
		{"", "", ""},
		{"", "bearer_auth", ""},
		{"", json, `"license_missing"`},
		{"", json + "bearer_auth /b/*", ""},
		{"", json + strings.Replace(json, "/a/", "/b/", 1), `"license_missing"`},
		{"{\nerror_body none\n}", json, ""},
		{"{\nerror_body json\n}", "bearer_auth", `"license_missing"`},
	} {
		g := start(t, formed, "PUBLIC", v.public(), "LICENSE", c.license, "BEARER", c.bearer)
		got := g.get("/")
		if got.status != 403 || !strings.Contains(got.body, c.body) || (c.body == "") != (got.body == "") || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%q and %q: got %d %q, want 403 and %q", c.license, c.bearer, got.status, got.body, c.body)
		}
		g.stop()
	}
}

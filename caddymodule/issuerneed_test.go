package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
)

// Without tokens no issuer is needed: a vendor's license alone, login pages asked
// for by HMAC, and signing on a trusted admin endpoint.
func TestNoIssuerIsNeededWithoutTokens(t *testing.T) {
	v, admin := newVendor(t), freeAddress(t)
	v.write(v.sign(0, asks("127.0.0.1")))
	g := start(t, `{
	WITHADMIN
	gatehouse {
		license {
			file `+v.file()+`
			trusted_key `+v.public()+`
		}
		signing {
			key `+v.private()+`
		}
		sso {
			credential `+ssoKey+` `+ssoShared+`
			product my-product
			account acme {
				authorization_endpoint https://login.example.com/authorize
				client_id app
				redirect_uri https://app.example.com/callback
			}
		}
		api {
			trust_admin_endpoint
		}
	}
}
http://SITE {
	bind 127.0.0.1
	handle /api/* {
		gatehouse_api
	}
	handle {
		require_license
		respond "in"
	}
}
`, "WITHADMIN", strings.Replace(globals, "admin off", "admin "+admin, 1))
	if got := g.get("/"); got.status != 200 || got.body != "in" {
		t.Errorf("got %d %q, want to be let in on the license", got.status, got.body)
	}
	if got := g.get("/api/v4/sso_url?"+ssoAsk, signed()); got.status != 200 {
		t.Errorf("by HMAC: got %d %q", got.status, got.body)
	}
	wantCode(t, g.get("/api/v4/sso_url?"+ssoAsk, header("Authorization", "Bearer x")), sso.CodeInsufficientScope)
	if got := g.get("/api/status", header("Authorization", "Bearer x")); got.status != 403 || !strings.Contains(got.body, "no issuer is configured, so no token is good here") {
		t.Errorf("a token: got %d %q", got.status, got.body)
	}
	sign := "http://" + admin + "/api/orgs/license/sign"
	for _, c := range []struct {
		authorization []string
		status        int
	}{{nil, 200}, {[]string{"Bearer "}, 200}, {[]string{"bearer"}, 200}, {[]string{"Bearer x"}, 403}, {[]string{"Bearer ", "Bearer "}, 403}} {
		got := g.do(g.client, http.MethodPost, sign, sends(signAsk), header("Authorization", c.authorization...))
		if got.status != c.status {
			t.Errorf("Authorization %q: got %d %q, want %d", c.authorization, got.status, got.body, c.status)
		}
	}
	if got := g.get("/api/status", header("Authorization", "Bearer ")); got.status != 403 {
		t.Errorf("on a site: got %d %q, want 403: it is not trusted", got.status, got.body)
	}
}

// What needs an issuer says so, with file and line.
func TestWhatNeedsAnIssuerSaysSo(t *testing.T) {
	v := newVendor(t)
	licensed := "license {\ntrusted_key " + v.public() + "\n}\n"
	account := "product p\naccount acme {\nauthorization_endpoint https://a.example/x\nclient_id c\nredirect_uri https://a.example\n}\n"
	for name, c := range map[string]struct{ options, site, want, at string }{
		"bearer_auth":             {licensed, "bearer_auth", "bearer_auth: no issuer is configured", "Caddyfile:"},
		"gatehouse_api":           {licensed, "gatehouse_api", "gatehouse_api: no issuer is configured", "Caddyfile:"},
		"signing":                 {licensed + "signing {\nkey " + v.private() + "\n}\n", "", "signing needs one", "Caddyfile:"},
		"sso by bearer":           {licensed + "sso {\n" + account + "}\n", "", "sso needs one", "Caddyfile:"},
		"accounts":                {licensed + "service_accounts {\naccount x\n}\n", "", "service_accounts needs one", "Caddyfile:"},
		"nothing at all":          {"", "", "nor anything that needs none", "Caddyfile:"},
		"require_license, no app": {"none", "require_license", "require_license: the global option `gatehouse { … }` is missing", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := "{\nGLOBALS\ngatehouse {\n" + c.options + "}\n}\nhttp://SITE {\n" + c.site + "\n}\n"
			if c.options == "none" {
				text = "{\nGLOBALS\n}\nhttp://SITE {\n" + c.site + "\n}\n"
			}
			err := prepare(t).load(text)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.at) {
				t.Errorf("got the error %v, want %q and %q", err, c.want, c.at)
			}
		})
	}
}

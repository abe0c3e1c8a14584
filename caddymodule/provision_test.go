package caddymodule_test

import (
	"strings"
	"testing"
)

// What only shows when a configuration is loaded, or comes as JSON, past the
// Caddyfile's checks.
func TestConfigurationsThatDoNotLoad(t *testing.T) {
	const issuer = `{"issuer": "https://a.example.com", "audiences": ["a"]}`
	for _, c := range []struct{ name, issuers, app, gate, want string }{
		{"no issuer", "", "", "", "gatehouse: no issuer is configured"},
		{"no audience", `{"issuer": "https://a.example.com"}`, "", "", "gatehouse: issuer https://a.example.com: expected at least one audience"},
		{"no identifier", `{"audiences": ["a"], "name": "x"}`, "", "", "an issuer identifier is required"},
		{"same name", issuer + `, {"issuer": "https://b.example.com", "name": "a.example.com", "audiences": ["a"]}`, "", "",
			`issuers https://a.example.com and https://b.example.com are both named "a.example.com"`},
		{"same identifier", issuer + `, {"issuer": "https://a.example.com", "name": "b", "audiences": ["a"]}`, "", "", "configured twice"},
		{"unset placeholder", `{"issuer": "{env.GATEHOUSE_TEST_UNSET}", "audiences": ["a"]}`, "", "", `issuer: found "{env.GATEHOUSE_TEST_UNSET}"`},
		{"unknown placeholder", `{"issuer": "https://a.example.com", "audiences": ["{host}"]}`, "", "", `audience: found "{host}"`},
		{"algorithm", `{"issuer": "https://a.example.com", "audiences": ["a"], "algorithms": ["HS256"]}`, "", "", `algorithm "HS256" is never accepted`},
		{"preset", `{"issuer": "https://a.example.com", "audiences": ["a"], "preset": "x"}`, "", "", `preset: found "x"`},
		{"kind", `{"issuer": "https://a.example.com", "audiences": ["a"], "kind": "x"}`, "", "", `kind: found "x"`},
		{"leeway", `{"issuer": "https://a.example.com", "audiences": ["a"], "leeway": "2h"}`, "", "", "leeway: found 2h0m0s, expected at least 0s and at most 1h0m0s"},
		{"ca", `{"issuer": "https://a.example.com", "audiences": ["a"], "ca": "/nowhere.pem"}`, "", "", "/nowhere.pem"},
		{"http", `{"issuer": "http://a.example.com", "audiences": ["a"]}`, "", "", "insecure_http"},
		{"unknown member", `{"issuer": "https://a.example.com", "audience": ["a"]}`, "", "", `unknown field "audience"`},
		{"huge token cache", issuer, `, "token_cache": 1000000000000`, "", "token_cache: found \"1000000000000\", expected a number of KiB from 0 to 10000000 or a size"},
		{"huge size of the token cache", issuer, `, "token_cache": "17GiB"`, "", `token_cache: found "17GiB", expected`},
		{"tiny size of the token cache", issuer, `, "token_cache": "1KiB"`, "", `token_cache: found "1KiB", expected`},
		{"token cache of another type", issuer, `, "token_cache": {}`, "", `token_cache: found "{}", expected`},
		{"token cache of half a token", issuer, `, "token_cache": 1.5`, "", `token_cache: found "1.5", expected`},
		{"negative token cache", issuer, `, "token_cache": -1`, "", `token_cache: found "-1"`},
		{"unknown issuer", issuer, "", `, "issuers": ["b"]`, `bearer_auth: issuer: found "b", expected one of the configured names: a.example.com`},
		{"scope", issuer, "", `, "scopes": ["a b"]`, `scope: "a b" is no scope`},
		{"empty group line", issuer, "", `, "groups": [[]]`, "group: line 1 names no group"},
		{"claim without values", issuer, "", `, "claims": [{"path": "a"}]`, `claim "a": expected a path and at least one value`},
		{"service_account", issuer, "", `, "service_account": "yes"`, `service_account: found "yes"`},
		{"header", issuer, "", `, "headers": [{"name": "Host", "value": "x"}]`, `"Host" cannot tell who is calling`},
		{"preflight", issuer, "", `, "preflight": "allow"`, `preflight: found "allow"`},
		{"error_body", issuer, "", `, "error_body": "html"`, `error_body: found "html"`},
		{"token_from", issuer, "", `, "token_from": [{"in": "body", "name": "a"}]`, `token_from: found "body"`},
		{"protected_resource", issuer, "", `, "protected_resource": "x"`, `protected_resource: resource "x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := prepare(t)
			config := strings.NewReplacer("SITE", g.site, "DIR", g.dir, "ISSUERS", c.issuers, "APP", c.app, "GATE", c.gate).Replace(`{
				"admin": {"disabled": true, "config": {"persist": false}},
				"storage": {"module": "file_system", "root": "DIR/storage"},
				"apps": {
					"gatehouse": {"issuers": [ISSUERS]APP},
					"http": {"servers": {"a": {"listen": ["SITE"], "automatic_https": {"disable": true}, "routes": [
						{"handle": [{"handler": "bearer_auth"GATE}]}
					]}}}
				}
			}`)
			if err := g.loadJSON([]byte(config)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got the error %v, want one with %q", err, c.want)
			}
		})
	}
	t.Run("no app", func(t *testing.T) {
		g := prepare(t)
		err := g.load("{\nGLOBALS\n}\nhttp://SITE {\n\tbearer_auth\n}\n")
		if want := "bearer_auth: no issuer is configured: add the global option `gatehouse {"; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v, want one with %q", err, want)
		}
	})
}

// A placeholder of an option is resolved when the configuration is loaded.
func TestPlaceholdersOfOptions(t *testing.T) {
	issuer := newIssuer(t)
	t.Setenv("GATEHOUSE_TEST_ISSUER", issuer.URL)
	t.Setenv("GATEHOUSE_TEST_AUDIENCE", "https://gateway.example.com")
	g := start(t, `{
	GLOBALS
	gatehouse {
		issuer {env.GATEHOUSE_TEST_ISSUER} {
			name acme
			audience {env.GATEHOUSE_TEST_AUDIENCE}
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth {
		audience {env.GATEHOUSE_TEST_AUDIENCE}
	}
	respond "in"
}`)
	if got := g.get("/", bearer(issuer.Mint(nil))); got.status != 200 {
		t.Errorf("got %d %v", got.status, got.header)
	}
	badAudience.check(t, g.get("/", bearer(issuer.Mint(claims{"aud": "x"}))), "")
}

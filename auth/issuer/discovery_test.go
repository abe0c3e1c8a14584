package issuer

import (
	"errors"
	"strings"
	"testing"
)

func TestParseMetadata(t *testing.T) {
	cfg := Config{Issuer: "https://a/realms/x"}
	m, err := parseMetadata(cfg, []byte(`{"issuer":"https://a/realms/x","jwks_uri":"https://keys.example.com//certs",
		"authorization_endpoint":"https://a/auth","token_endpoint":"http://evil/","end_session_endpoint":"javascript:alert(1)",
		"response_types_supported":["code","id_token"],"scopes_supported":"openid","unknown":{"a":[1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "metadata", *m, Metadata{
		Issuer: "https://a/realms/x", JWKSURI: "https://keys.example.com//certs",
		AuthorizationEndpoint: "https://a/auth", ResponseTypesSupported: []string{"code", "id_token"},
	})
	for _, c := range []struct{ name, doc, want string }{
		{"html", `<html>SECRET`, "not metadata"},
		{"array", `[]`, "not metadata"},
		{"no issuer", `{"jwks_uri":"https://a"}`, "not metadata"},
		{"issuer a number", `{"issuer":5,"jwks_uri":"https://a"}`, "not metadata"},
		{"issuer twice", `{"issuer":"https://a/realms/x","issuer":"https://b","jwks_uri":"https://a"}`, "not metadata"},
		{"too large", `{"issuer":"https://a/realms/x"}` + strings.Repeat(" ", 1<<20), "not metadata"},
		{"slash more", `{"issuer":"https://a/realms/x/","jwks_uri":"https://a"}`, "trailing slash"},
		{"other issuer", `{"issuer":"https://a/realms/y","jwks_uri":"https://a"}`, `names issuer "https://a/realms/y"`},
		{"other case", `{"issuer":"https://A/realms/x","jwks_uri":"https://a"}`, "must be equal"},
		{"text for an issuer", `{"issuer":"SECRET text","jwks_uri":"https://a"}`, "another issuer than the configured"},
		{"no jwks_uri", `{"issuer":"https://a/realms/x"}`, "set jwks_uri"},
		{"http", `{"issuer":"https://a/realms/x","jwks_uri":"http://SECRET/x"}`, "is http, while the issuer is https: tell the issuer its public https address"},
		{"relative", `{"issuer":"https://a/realms/x","jwks_uri":"/SECRET"}`, "not an absolute URL"},
		{"user", `{"issuer":"https://a/realms/x","jwks_uri":"https://u:SECRET@a/"}`, "user information"},
		{"fragment", `{"issuer":"https://a/realms/x","jwks_uri":"https://a/#SECRET"}`, "fragment"},
		{"file", `{"issuer":"https://a/realms/x","jwks_uri":"file:///etc/SECRET"}`, "absolute"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseMetadata(cfg, []byte(c.doc))
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "SECRET") {
				t.Fatalf("got %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestParseMetadataBesideJWKSURI(t *testing.T) {
	cfg := Config{Issuer: "https://a", JWKSURI: "https://a/keys"}
	for _, doc := range []string{`{"issuer":"https://a"}`, `{"issuer":"https://a","jwks_uri":"http://b"}`} {
		if m, err := parseMetadata(cfg, []byte(doc)); err != nil || m.JWKSURI != "" {
			t.Errorf("%s: %v, %v", doc, m, err)
		}
	}
}

func TestParseMetadataWithoutKeys(t *testing.T) {
	cfg := Config{Issuer: "https://a", KeysOptional: true}
	for doc, good := range map[string]bool{
		`{"issuer":"https://a"}`:                          true,
		`{"issuer":"https://a","jwks_uri":null}`:          true,
		`{"issuer":"https://a","jwks_uri":"https://a/k"}`: true,
		`{"issuer":"https://a","jwks_uri":""}`:            false,
		`{"issuer":"https://a","jwks_uri":"http://b"}`:    false,
		`{"issuer":"https://a","jwks_uri":5}`:             false,
		`{"issuer":"https://b"}`:                          false,
	} {
		if m, err := parseMetadata(cfg, []byte(doc)); (err == nil) != good {
			t.Errorf("%s: %v, %v", doc, m, err)
		}
	}
}

func TestWellKnown(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://a":            "https://a/.well-known/openid-configuration https://a/.well-known/oauth-authorization-server",
		"https://a/":           "https://a/.well-known/openid-configuration https://a/.well-known/oauth-authorization-server",
		"https://a:8/realms/x": "https://a:8/realms/x/.well-known/openid-configuration https://a:8/.well-known/oauth-authorization-server/realms/x",
		"https://a/x/":         "https://a/x/.well-known/openid-configuration https://a/.well-known/oauth-authorization-server/x",
		"https://a/x%2Fy":      "https://a/x%2Fy/.well-known/openid-configuration https://a/.well-known/oauth-authorization-server/x%2Fy",
	} {
		urls, err := Config{Issuer: issuer}.wellKnown()
		if err != nil {
			t.Fatal(err)
		}
		equal(t, issuer, urls[0].String()+" "+urls[1].String(), want)
	}
}

func TestDiscovery(t *testing.T) {
	type change func(s *site)
	for _, c := range []struct {
		name   string
		change change
		want   string // part of the error; empty: keys are had
		asks   int64
	}{
		{"OpenID", func(*site) {}, "", 1},
		{"RFC 8414 after 404", func(s *site) { s.oauth, s.meta = s.meta, nil }, "", 2},
		{"RFC 8414 after something else", func(s *site) { s.oauth, s.meta = s.meta, map[string]any{"hello": "world"} }, "", 2},
		{"neither", func(s *site) { s.meta = nil }, "status 404", 2},
		{"broken server is asked once", func(s *site) { s.status = 500 }, "status 500", 1},
		{"login needed", func(s *site) { s.status = 401 }, "status 401", 1},
		{"wrong issuer is not passed over", func(s *site) {
			s.oauth = s.meta
			s.meta = map[string]any{"issuer": "https://evil.example.com", "jwks_uri": s.base + "/jwks"}
		}, `names issuer "https://evil.example.com"`, 1},
		{"slash", func(s *site) { s.meta["issuer"] = s.base + "/" }, "trailing slash", 1},
		{"double slash", func(s *site) { s.meta["jwks_uri"] = s.base + "//jwks" }, "", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, edKey("a"))
			s.do(func() { c.change(s) })
			e := start(t, Config{Issuer: s.base}, Options{})
			_, err := e.Await(t.Context(), holds("a"))
			equal(t, "metadata requests", s.metaHits.Load(), c.asks)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			down, ok := errors.AsType[*UnavailableError](err)
			if !ok || !strings.Contains(down.Error(), c.want) || strings.Contains(down.Error(), "SECRET") {
				t.Fatalf("got %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestDiscoveryAtIssuerWithSlash(t *testing.T) {
	s := serve(t, edKey("a"))
	s.do(func() { s.meta["issuer"] = s.base + "/" })
	e := start(t, Config{Issuer: s.base + "/"}, Options{})
	if _, err := e.Await(t.Context(), holds("a")); err != nil {
		t.Fatal(err)
	}
}

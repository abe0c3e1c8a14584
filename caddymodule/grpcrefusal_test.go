package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"
)

const grpcRefusals = `{
	GLOBALS
	servers {
		protocols h1 h2c
	}
	gatehouse {
		issuer ISSUER {
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
	bearer_auth /token*
	require_license /license*
	bearer_auth /off* {
		grpc off
	}
	require_license /lic-off* {
		grpc off
	}
	respond "in"
}
`

// A content type that any client may send with anything turns no refusal into
// status 200: only POST over HTTP/2 with exactly such a type is gRPC.
func TestOnlyGRPCIsAnsweredAsGRPC(t *testing.T) {
	g := start(t, grpcRefusals, "ISSUER", newIssuer(t).URL, "PUBLIC", newVendor(t).public())
	kind := func(values ...string) edit { return header("Content-Type", values...) }
	for _, c := range []struct {
		name, method string
		client       *http.Client
		types        edit
		grpc         bool
	}{
		{"gRPC", "POST", g.h2c, kind("application/grpc"), true},
		{"gRPC with a format", "POST", g.h2c, kind("Application/gRPC+proto; a=b"), true},
		{"GET", "GET", g.h2c, kind("application/grpc"), false},
		{"PUT", "PUT", g.h2c, kind("application/grpc"), false},
		{"HTTP/1.1", "POST", g.client, kind("application/grpc"), false},
		{"HTTP/1.1 GET", "GET", g.client, kind("application/grpc"), false},
		{"two types", "POST", g.h2c, kind("application/grpc", "text/plain"), false},
		{"another type", "POST", g.h2c, kind("application/grpcx"), false},
		{"two types in one", "POST", g.h2c, kind("application/grpc, text/plain"), false},
		{"grpc-web", "POST", g.client, kind("application/grpc-web+proto"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for path, want := range map[string]struct{ status, code int }{
				"/token": {401, 16}, "/license": {403, 7}, "/off": {401, -1}, "/lic-off": {403, -1},
			} {
				got := g.do(c.client, c.method, "http://"+g.site+path, c.types)
				status, code := want.status, ""
				if c.grpc && want.code > 0 {
					status = http.StatusOK
				}
				if want.code > 0 && (c.grpc || c.name == "grpc-web") {
					code = map[int]string{16: "16", 7: "7"}[want.code]
				}
				if got.status != status || got.header.Get("Grpc-Status") != code || (got.header.Get("Grpc-Message") == "") != (code == "") {
					t.Errorf("%s: got %d with grpc-status %q, want %d with %q", path, got.status, got.header.Get("Grpc-Status"), status, code)
				}
			}
		})
	}
}

// forwardAuth is the recipe, as it stands in the documentation.
func forwardAuth(t *testing.T) string {
	t.Helper()
	text := read(t, "../docs/recipes.md")
	_, recipe, found := strings.Cut(text, "\n## Gatehouse as another proxy's check\n")
	recipe, _, _ = strings.Cut(recipe, "\n## ")
	blocks := strings.Split(recipe, "```")
	if !found || len(blocks) != 5 {
		t.Fatalf("the recipe has %d parts, want two Caddyfiles", len(blocks))
	}
	check, front := strings.TrimPrefix(blocks[1], "caddyfile\n"), strings.TrimPrefix(blocks[3], "caddyfile\n")
	return strings.NewReplacer("http://127.0.0.1:9180 {", "http://SECOND {\n\tbind 127.0.0.1", "app.example.com {", "http://SITE {\n\tbind 127.0.0.1",
		"127.0.0.1:9180", "SECOND", "127.0.0.1:8009", "UPSTREAM").Replace(check + front)
}

// Behind a real forward_auth nobody gets in by saying to be gRPC, nor as somebody
// else by naming them.
func TestForwardAuthRecipe(t *testing.T) {
	issuer, up := newIssuer(t), newUpstream(t)
	app := `{
	GLOBALS
	servers {
		protocols h1 h2c
	}
	gatehouse {
		issuer ISSUER {
			audience https://gateway.example.com
		}
	}
}
`
	g := start(t, app+forwardAuth(t), "ISSUER", issuer.URL, "UPSTREAM", strings.TrimPrefix(up.URL, "http://"))
	token := mint(issuer, claims{"sub": "jane"})
	spoofed := header("X-User", "admin")
	for name, client := range map[string]*http.Client{"HTTP/1.1": g.client, "HTTP/2": g.h2c} {
		for _, method := range []string{"GET", "POST"} {
			for _, kind := range []string{"", "application/grpc", "application/grpc-web"} {
				before := up.Count()
				got := g.do(client, method, "http://"+g.site+"/x", spoofed, header("Content-Type", kind))
				if got.status != http.StatusUnauthorized || up.Count() != before {
					t.Errorf("%s %s %q without a token: got %d", name, method, kind, got.status)
				}
			}
			got := g.do(client, method, "http://"+g.site+"/x", spoofed, bearer(token), header("Content-Type", "application/grpc"))
			if seen := got.seen(t); seen.Headers.Get("X-User") != "jane" {
				t.Errorf("%s %s: the upstream saw X-User %q, want jane", name, method, seen.Headers["X-User"])
			}
		}
	}
}

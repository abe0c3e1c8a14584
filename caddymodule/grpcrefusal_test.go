package caddymodule_test

import (
	"net/http"
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

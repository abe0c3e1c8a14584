package caddymodule_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// benchCaddyfile is a server of one site, where GATE stands before the answer.
const benchCaddyfile = `{
	admin off
	persist_config off
	auto_https off
	storage file_system DIR/storage
	log {
		output discard
	}
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		service_accounts {
			account ci-deploy {
				groups deployers
			}
		}
	}
}
http://127.0.0.1:0 {
	GATE
	respond 200
}`

const (
	benchRules = `
		audience https://gateway.example.com
		scope gateway.read
		group deployers admins
		claim tenant.plan pro enterprise
		service_account only`
	benchHeaders = `
		header X-Auth-Subject {http.auth.user.id}
		header X-Auth-Kind {http.auth.user.kind}
		header X-Auth-Groups {http.auth.user.groups}
		header X-Auth-Scopes {http.auth.user.scopes}`
)

// benchGates are what stands before the answer: nothing, and more and more.
var benchGates = []struct{ name, directives string }{
	{"bare", ""},
	{"bearer", "bearer_auth"},
	{"rules", "bearer_auth {" + benchRules + "\n\t}"},
	{"headers", "bearer_auth {" + benchHeaders + "\n\t}"},
	{"all", "bearer_auth {" + benchRules + benchHeaders + "\n\t}"},
}

// BenchmarkServeHTTP is Caddy's whole way through a request with a remembered
// token, without the network; what Gatehouse adds is the difference to the bare
// site.
func BenchmarkServeHTTP(b *testing.B) {
	issuer, err := idp.New(idp.WithAlgorithms("RS256"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = issuer.Close() })
	authorization := []string{"Bearer " + issuer.Mint(map[string]any{
		"sub": "ci-deploy", "azp": "ci-deploy", "scope": "gateway.read gateway.write",
		"groups": []string{"deployers"}, "tenant": map[string]any{"plan": "pro"},
	})}
	for _, gate := range benchGates {
		b.Run(gate.name, func(b *testing.B) {
			server := benchServer(b, issuer, gate.directives)
			w := &discardingWriter{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				server.ServeHTTP(w, benchRequest(authorization))
			}
			if w.status != http.StatusOK {
				b.Fatalf("got status %d, want 200", w.status)
			}
		})
	}
}

// benchServer loads the site and gives the server that Caddy made of them.
func benchServer(b testing.TB, issuer *idp.Issuer, gate string) *caddyhttp.Server {
	b.Helper()
	text := strings.NewReplacer("DIR", filepath.ToSlash(b.TempDir()), "ISSUER", issuer.URL, "GATE", gate).Replace(benchCaddyfile)
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		b.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = caddy.Stop() })
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		b.Fatal(err)
	}
	for _, server := range app.(*caddyhttp.App).Servers {
		return server
	}
	b.Fatal("Caddy made no server")
	return nil
}

// An ordinary response pays one small allocation for the chance that it might have
// been a stream; the other two tell handlers behind who is calling.
func TestOrdinaryResponseCostsOneAllocation(t *testing.T) {
	issuer := newIssuer(t)
	authorization := []string{"Bearer " + mint(issuer, nil)}
	measure := func(gate string) float64 {
		server := benchServer(t, issuer, gate)
		w := &discardingWriter{header: make(http.Header)}
		return testing.AllocsPerRun(500, func() {
			clear(w.header)
			server.ServeHTTP(w, benchRequest(authorization))
		})
	}
	if bare, gated := measure(""), measure("bearer_auth"); gated-bare > 3 {
		t.Errorf("bearer_auth makes %v allocations a request, want 3 at most", gated-bare)
	}
}

// benchRequest is a request as the network would bring it: new each time,
// because what serves it changes its header.
func benchRequest(authorization []string) *http.Request {
	return &http.Request{
		Method: http.MethodGet, URL: &url.URL{Path: "/"}, RequestURI: "/",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Host: "127.0.0.1", RemoteAddr: "127.0.0.1:12345", Body: http.NoBody,
		Header: http.Header{
			"Accept":          {"*/*"},
			"Accept-Encoding": {"gzip"},
			"Authorization":   authorization,
			"User-Agent":      {"bench"},
		},
	}
}

// discardingWriter keeps nothing of an answer but its status.
type discardingWriter struct {
	header http.Header
	status int
}

func (w *discardingWriter) Header() http.Header         { return w.header }
func (w *discardingWriter) WriteHeader(status int)      { w.status = status }
func (w *discardingWriter) Write(p []byte) (int, error) { return len(p), nil }

package licensing

import (
	"context"
	"crypto"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// licensedBy gives what a configuration makes of a license for some hosts.
func licensedBy(tb testing.TB, hosts ...string) *Licensing {
	tb.Helper()
	key, err := keyfile.Generate(keyfile.Ed25519)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	if err := keyfile.Create(dir+"/vendor.key", key); err != nil {
		tb.Fatal(err)
	}
	text := signedFor(tb, key, hosts)
	l, err := Take(&Config{
		Inline: text, TrustedKeys: []*TrustedKey{{File: dir + "/vendor.key.pub"}},
	}, &certmagic.FileStorage{Path: dir}, account.New(registry.Options{}), zap.NewNop())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Release(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

func signedFor(tb testing.TB, key crypto.Signer, hosts []string) string {
	tb.Helper()
	signer, err := license.NewSigner(license.SignerConfig{Key: key})
	if err != nil {
		tb.Fatal(err)
	}
	signed, err := signer.Sign(license.Request{
		Type: license.Enterprise, AllowedHosts: hosts, Description: "Acme Corp", TTL: 1000 * time.Hour, Features: []string{"sso"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	text, err := signed.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

var served = caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })

// requestFor is a request as Caddy's server prepares it.
func requestFor(host string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+host+"/", nil)
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
}

func hostPatterns(n int) []string {
	hosts := []string{"*.deep.acme.example"}
	for i := 1; i < n; i++ {
		hosts = append(hosts, fmt.Sprintf("*.h%d.acme.example", i))
	}
	return hosts
}

// What the license costs a request: its state, its hosts and a feature.
func BenchmarkLicenseCheck(b *testing.B) {
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprintf("patterns=%d", n), func(b *testing.B) {
			l, features, ctx := licensedBy(b, hostPatterns(n)...), []string{"sso"}, b.Context()
			b.ReportAllocs()
			for b.Loop() {
				if fault := l.check(ctx, "a.b.deep.acme.example:8443", features); fault != nil {
					b.Fatal(fault)
				}
			}
		})
	}
}

// The handler as a request meets it. Each request is used once: Caddy's replacer
// keeps a list of who resolves placeholders, which grows with every use.
func BenchmarkRequireLicense(b *testing.B) {
	for _, n := range []int{1, 256} {
		b.Run(fmt.Sprintf("patterns=%d", n), func(b *testing.B) {
			l := &RequireLicense{Features: []string{"sso"}, licensing: licensedBy(b, hostPatterns(n)...), logger: zap.NewNop()}
			requests, w := make([]*http.Request, 256), httptest.NewRecorder()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if i%len(requests) == 0 {
					b.StopTimer()
					for j := range requests {
						requests[j] = requestFor("a.b.deep.acme.example:8443")
					}
					b.StartTimer()
				}
				if err := l.ServeHTTP(w, requests[i%len(requests)], served); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestRequireLicenseCostsNoMemory(t *testing.T) {
	for _, n := range []int{1, 256} {
		l := licensedBy(t, hostPatterns(n)...)
		features := []string{"sso"}
		got := testing.AllocsPerRun(200, func() {
			if fault := l.check(t.Context(), "a.b.deep.acme.example:8443", features); fault != nil {
				t.Fatal(fault)
			}
		})
		if got != 0 {
			t.Errorf("%d patterns: got %v allocations, want none", n, got)
		}
	}
}

// The list of resolvers has room for ours without growing: what is not used costs
// nothing.
func TestLicensePlaceholdersCostNoMemory(t *testing.T) {
	h := &RequireLicense{licensing: licensedBy(t, "acme.example")}
	w := httptest.NewRecorder()
	requests := make([]*http.Request, 102)
	for i := range requests {
		requests[i] = requestFor("acme.example")
	}
	next := 0
	got := testing.AllocsPerRun(100, func() {
		if err := h.ServeHTTP(w, requests[next], served); err != nil {
			t.Fatal(err)
		}
		next++
	})
	if got != 0 {
		t.Errorf("got %v allocations, want none", got)
	}
}

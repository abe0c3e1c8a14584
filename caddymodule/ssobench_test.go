package caddymodule_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// BenchmarkSSOURL is a whole answer over HTTP, client and gateway in one process
// on as many connections as -cpu says: every one must be good, and the provider
// is asked once for all of them, or twice if the first comes before the engine's
// own look. For a load of ten seconds, as of the API's
// clients: go test -run '^$' -bench SSOURL -benchtime 10s ./caddymodule
func BenchmarkSSOURL(b *testing.B) {
	for _, kind := range []string{"plain", "signed"} {
		b.Run(kind, func(b *testing.B) { benchmarkSSO(b, kind == "signed") })
	}
}

func benchmarkSSO(b *testing.B, withKey bool) {
	provider, err := idp.New(ssoApplication, idp.WithStopped())
	if err != nil {
		b.Fatal(err)
	}
	defer provider.Close()
	if err := provider.Start(); err != nil {
		b.Fatal(err)
	}
	ask := benchmarkGateway(b, provider, withKey)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	defer client.CloseIdleConnections()
	var failed atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	began := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := askOnce(client, ask); err != nil {
				failed.Add(1)
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "requests/s")
	if n := provider.DiscoveryFetches(); n > 2 || failed.Load() > 0 {
		b.Errorf("%d fetches of metadata and %d failures for %d requests", n, failed.Load(), b.N)
	}
}

// benchmarkGateway starts a Caddy for a benchmark and gives the address to ask.
func benchmarkGateway(b *testing.B, provider *idp.Issuer, withKey bool) string {
	b.Helper()
	dir := b.TempDir()
	b.Setenv("SSO_TEST_SHARED", ssoShared)
	more := ""
	if withKey {
		_, path := signingKey(b)
		more = "response_signing_key " + path
	}
	site := freeAddress(b)
	text := strings.NewReplacer("SSOGLOBALS", globals, "SSOMORE", more, "APPMORE", "", "DOWN", provider.URL, "ISSUER", provider.URL,
		"SITE", site, "SECOND", freeAddress(b)).Replace(ssoFile)
	text = strings.NewReplacer("DIR", dir, "level DEBUG", "level ERROR").Replace(text)
	adapted, err := adapt(text)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "storage"), 0o700); err != nil {
		b.Fatal(err)
	}
	if err := caddy.Load(adapted, true); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = caddy.Stop() })
	return "http://" + site + "/api/v4/sso_url?" + ssoAsk
}

func askOnce(client *http.Client, address string) error {
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	signed()(request)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	return err
}

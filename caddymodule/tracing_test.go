package caddymodule_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// A collector of traces, as Caddy's own handler `tracing` sends them, hears who
// was let in and who was not, and no token.
func TestCaddysSpansTellTheResult(t *testing.T) {
	var mu sync.Mutex
	var heard bytes.Buffer
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = io.Copy(&heard, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
	issuer := newIssuer(t)
	g := start(t, `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	tracing
	bearer_auth
	respond "in"
}`, "ISSUER", issuer.URL)
	token := mint(issuer, nil)
	if got := g.get("/", bearer(token)); got.status != http.StatusOK {
		t.Fatalf("got %d", got.status)
	}
	if got := g.get("/", bearer(flip(token))); got.status != http.StatusUnauthorized {
		t.Fatalf("got %d", got.status)
	}
	g.stop() // which sends what has not been sent
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"gatehouse.result", "let_in", "signature", "gatehouse.issuer", "acme", "gatehouse.kind", "user"} {
		if !bytes.Contains(heard.Bytes(), []byte(want)) {
			t.Errorf("the spans lack %q", want)
		}
	}
	if bytes.Contains(heard.Bytes(), []byte(token)) {
		t.Error("the spans hold a token")
	}
}

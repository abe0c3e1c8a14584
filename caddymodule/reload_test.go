package caddymodule_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const reloadable = `{
	GLOBALS
	gatehouse {
		service_accounts {
			registration optional
		}
		issuer ISSUER {
			name acme
			audience AUDIENCE
			leeway 0s
			MORE
		}
	}
}
http://SITE {
	bind 127.0.0.1
	handle /metrics {
		metrics
	}
	@guarded not path /metrics
	bearer_auth @guarded
	respond "VERSION {http.auth.user.id}"
}
`

// reloading fills in what differs between configurations.
func reloading(version string, pairs ...string) string {
	pairs = append(pairs, "VERSION", version, "AUDIENCE", idp.DefaultAudience, "MORE", "")
	return strings.NewReplacer(pairs...).Replace(reloadable)
}

// traffic is many clients that send good tokens without a pause, until it has
// to stop.
type traffic struct {
	sent   atomic.Int64
	mu     sync.Mutex
	failed []string
	stop   context.CancelFunc
	done   sync.WaitGroup
}

func (g *gateway) traffic(clients int, tokens func(client int) string) *traffic {
	ctx, stop := context.WithCancel(context.Background())
	tr := &traffic{stop: stop}
	for i := range clients {
		tr.done.Go(func() {
			for ctx.Err() == nil {
				tr.once(g, tokens(i))
			}
		})
	}
	return tr
}

func (tr *traffic) once(g *gateway, token string) {
	got, err := try(g.client, http.MethodGet, "http://"+g.site+"/", bearer(token))
	tr.sent.Add(1)
	if err == nil && got.status == 200 {
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.failed = append(tr.failed, fmt.Sprint(got.status, " ", got.header.Get("WWW-Authenticate"), " ", err))
}

// end gives what failed.
func (tr *traffic) end() []string {
	tr.stop()
	tr.done.Wait()
	return tr.failed
}

// more waits until so many requests more have been answered.
func (tr *traffic) more(t *testing.T, n int64) {
	t.Helper()
	until := tr.sent.Load() + n
	eventually(t, "requests are answered", func() bool { return tr.sent.Load() >= until })
}

func TestReloadsUnderLoad(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, reloading("v0"), "ISSUER", issuer.URL)
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i] = mint(issuer, nil)
	}
	tr := g.traffic(len(tokens), func(i int) string { return tokens[i] })
	tr.more(t, 100)
	if err := g.load(reloading("warm")); err != nil {
		t.Fatal(err)
	}
	tr.more(t, 100)
	fetched, routines := issuer.JWKSFetches()+issuer.DiscoveryFetches(), runtime.NumGoroutine()
	for i := range 15 {
		if err := g.load(reloading(fmt.Sprint("v", i+1))); err != nil {
			t.Fatal(err)
		}
		tr.more(t, 20)
	}
	if failed := tr.end(); len(failed) > 0 {
		t.Errorf("%d of %d requests failed, the first with %s", len(failed), tr.sent.Load(), failed[0])
	}
	if n := issuer.JWKSFetches() + issuer.DiscoveryFetches(); n != fetched {
		t.Errorf("the reloads cost %d fetches, want none", n-fetched)
	}
	g.client.CloseIdleConnections()
	// A leak of one goroutine a reload would be 15 more.
	eventually(t, "no more goroutines than before the reloads", func() bool { return runtime.NumGoroutine() <= routines+5 })
	if got := g.get("/", bearer(tokens[0])); got.body != "v15 subject" {
		t.Errorf("got %d %q, want the last configuration's answer", got.status, got.body)
	}
}

// When the keys' source is configured otherwise, requests that the old
// configuration still serves must not find their keys gone.
func TestReloadsThatChangeTheIssuerUnderLoad(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, reloading("v0"), "ISSUER", issuer.URL)
	token := mint(issuer, nil)
	tr := g.traffic(8, func(int) string { return token })
	tr.more(t, 100)
	for i := range 15 {
		if err := g.load(reloading(fmt.Sprint("v", i+1), "MORE", fmt.Sprintf("refresh %dm", i+1))); err != nil {
			t.Fatal(err)
		}
		tr.more(t, 20)
	}
	if failed := tr.end(); len(failed) > 0 {
		t.Errorf("%d of %d requests failed, the first with %s", len(failed), tr.sent.Load(), failed[0])
	}
}

// What was verified is remembered over a reload, as the metric tells; but it is
// judged anew when the rules have changed.
func TestRememberedTokensAndReloads(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, reloading("v1"), "ISSUER", issuer.URL)
	token := mint(issuer, nil)
	const hit, miss = `token_cache_total{result="hit"}`, `token_cache_total{result="miss"}`
	passes := func(want, counted string) {
		t.Helper()
		before := g.scrape()
		if got := g.get("/", bearer(token)); got.body != want {
			t.Fatalf("got %d %q %s, want %q", got.status, got.body, got.header.Get("WWW-Authenticate"), want)
		}
		now := g.scrape()
		for _, series := range []string{hit, miss} {
			if n := now.since(t, before, series); (n == 1) != (series == counted) || n > 1 {
				t.Errorf("%s: %s grew by %v, and %s was to grow by 1", want, series, n, counted)
			}
		}
	}
	passes("v1 subject", miss)
	passes("v1 subject", hit)
	if err := g.load(reloading("v2")); err != nil {
		t.Fatal(err)
	}
	passes("v2 subject", hit)
	if err := g.load(reloading("v3", "AUDIENCE", "https://other.example.com")); err != nil {
		t.Fatal(err)
	}
	badAudience.check(t, g.get("/", bearer(token)), "")
	if err := g.load(reloading("v4", "MORE", "algorithms RS256")); err != nil {
		t.Fatal(err)
	}
	badAlgorithm.check(t, g.get("/", bearer(token)), "")
	if err := g.load(reloading("v5", "MORE", "kind service_account")); err != nil {
		t.Fatal(err)
	}
	passes("v5 subject", miss)
	if n := issuer.JWKSFetches(); n != 1 {
		t.Errorf("the keys were fetched %d times, want once: their source never changed", n)
	}
}

// A configuration that fails, early or late, leaves the running one as it was:
// with its keys, and the storage to keep new ones in.
func TestFailedReload(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, reloading("v1"), "ISSUER", issuer.URL)
	token := mint(issuer, nil)
	if got := g.get("/", bearer(token)); got.body != "v1 subject" {
		t.Fatalf("got %d %q", got.status, got.body)
	}
	occupied := newUpstream(t)
	for name, text := range map[string]string{
		"another app does not provision": reloading("v2") + "\nhttp://SITE2:1 {\n\ttls /nowhere.pem /nowhere.key\n}\n",
		"another app does not start":     reloading("v2") + "\nhttp://" + strings.TrimPrefix(occupied.URL, "http://") + " {\n\trespond x\n}\n",
		"our app does not start":         reloading("v2") + "\nhttp://SECOND {\n\thandle /x/* {\n\t\tbearer_auth {\n\t\t\tprotected_resource https://a.example.com\n\t\t}\n\t}\n}\n",
		"our app does not provision":     reloading("v2", "MORE", "jwks_uri http://10.0.0.1/jwks"),
		"another issuer, and no start":   reloading("v2", "AUDIENCE", "https://other.example.com") + "\nhttp://" + strings.TrimPrefix(occupied.URL, "http://") + " {\n\trespond x\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			text = strings.ReplaceAll(text, "SITE2:1", "127.0.0.1:1")
			if err := g.load(text); err == nil {
				t.Fatal("it was loaded")
			}
			if got := g.get("/", bearer(token)); got.body != "v1 subject" {
				t.Errorf("got %d %q, want the running configuration's answer", got.status, got.body)
			}
		})
	}
	if n := issuer.JWKSFetches(); n != 1 {
		t.Errorf("the keys were fetched %d times, want once", n)
	}
	kid := issuer.Rotate("ES256", idp.KeepOld)
	if got := g.get("/", bearer(mint(issuer, nil, idp.WithKey(kid)))); got.body != "v1 subject" {
		t.Errorf("after a rotation: got %d %q", got.status, got.body)
	}
	eventually(t, "the new key is kept in storage", func() bool { return strings.Contains(g.kept(t), kid) })
}

package caddymodule_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const twoIssuers = `{
	GLOBALS
	servers {
		protocols h1 h2c
	}
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
			kind user
		}
		issuer OTHER {
			name other
			audience https://gateway.example.com
			kind user
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth /json/* {
		error_body json
	}
	@none not path /json/*
	bearer_auth @none
	respond "in"
	handle_errors {
		respond "handled"
	}
}
`

// kept is everything that is kept in storage.
func (g *gateway) kept(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(g.dir, "storage", "gatehouse"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".json") {
			return nil // not there yet, gone meanwhile, or still being written
		}
		if data, err := os.ReadFile(path); err == nil {
			all.Write(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

// all sends one request for each token at once and counts the statuses.
func (g *gateway) all(tokens []string) map[int]int {
	counts := make(map[int]int)
	var mu sync.Mutex
	var requests sync.WaitGroup
	for _, token := range tokens {
		requests.Go(func() {
			got, err := try(g.client, http.MethodGet, "http://"+g.site+"/", bearer(token))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				got.status = -1
			}
			counts[got.status]++
		})
	}
	requests.Wait()
	return counts
}

func TestIssuerDownAtStart(t *testing.T) {
	if apart(t) {
		return
	}
	issuer, other := newIssuer(t, idp.WithStopped()), newIssuer(t)
	g := start(t, twoIssuers, "ISSUER", issuer.URL, "OTHER", other.URL)
	unavailable := refused{503, "", "the keys of the token's issuer cannot be had at the moment"}
	token := mint(issuer, nil)
	for name, c := range map[string]struct{ path, body string }{
		"plain, not by handle_errors": {"/x", ""},
		"json":                        {"/json/x", unavailable.jsonBody()},
	} {
		t.Run(name, func(t *testing.T) {
			got := g.get(c.path, bearer(token))
			unavailable.check(t, got, c.body)
			if after, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || after < 1 || after > 5 {
				t.Errorf("got Retry-After %q, want 1 to 5 seconds", got.header.Get("Retry-After"))
			}
		})
	}
	t.Run("gRPC", func(t *testing.T) { g.refusesGRPC(t, unavailable, "", bearer(token)) })
	t.Run("the other issuer is unharmed", func(t *testing.T) {
		if got := g.get("/", bearer(mint(other, nil))); got.status != 200 {
			t.Errorf("got %d %v", got.status, got.header)
		}
	})
	eventually(t, "the log tells of the outage", func() bool { return strings.Contains(g.log(), "cannot be fetched") })
	log := g.log()
	if n := strings.Count(log, `"level":"warn"`) - strings.Count(log, "admin endpoint disabled"); n != 1 || strings.Contains(log, `"level":"error"`) {
		t.Errorf("the log has %d warnings, or errors; want one warning for the outage:\n%s", n, log)
	}
	t.Run("it recovers by itself", func(t *testing.T) {
		if err := issuer.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the token is let in", func() bool { return g.get("/", bearer(token)).status == 200 })
		eventually(t, "the log says that the outage is over", func() bool { return strings.Contains(g.log(), "can be fetched again") })
	})
}

// Of an issuer that knows itself by http only, behind a proxy, the log says to mend that at
// the issuer, and not to write the http address into the configuration.
func TestHTTPKeysOfAnHTTPSIssuer(t *testing.T) {
	issuer := newIssuer(t, idp.WithTLS())
	issuer.EditMetadata(func(metadata map[string]any) {
		metadata["jwks_uri"] = strings.Replace(issuer.JWKSURL(), "https:", "http:", 1)
	})
	g := prepare(t, "ISSUER", issuer.URL)
	if err := os.WriteFile(filepath.Join(g.dir, "ca.pem"), issuer.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	err := g.load(`{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
			ca DIR/ca.pem
			kind user
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth
}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.get("/", bearer(mint(issuer, nil))); got.status != http.StatusServiceUnavailable {
		t.Errorf("got %d", got.status)
	}
	const want = "is http, while the issuer is https: tell the issuer its public https address, or set an https jwks_uri"
	if log := g.log(); !strings.Contains(log, want) {
		t.Errorf("the log does not say %s: %s", want, log)
	}
}

func TestIssuerDownAtARestart(t *testing.T) {
	issuer, other := newIssuer(t), newIssuer(t)
	g := start(t, twoIssuers, "ISSUER", issuer.URL, "OTHER", other.URL)
	token := mint(issuer, nil)
	if got := g.get("/", bearer(token)); got.status != 200 {
		t.Fatalf("got %d %v", got.status, got.header)
	}
	eventually(t, "the keys are kept in storage", func() bool { return strings.Contains(g.kept(t), issuer.URL) })
	g.stop()
	if err := issuer.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := g.load(twoIssuers); err != nil {
		t.Fatal(err)
	}
	if got := g.get("/", bearer(token)); got.status != 200 {
		t.Errorf("got %d %v, want the kept keys to serve", got.status, got.header)
	}
	if got := g.get("/", bearer(flip(token))); got.status != 401 {
		t.Errorf("got %d for a forged token, want 401", got.status)
	}
}

func TestRotationRefusesNobody(t *testing.T) {
	issuer, other := newIssuer(t), newIssuer(t)
	g := start(t, twoIssuers, "ISSUER", issuer.URL, "OTHER", other.URL)
	old := mint(issuer, nil)
	if got := g.get("/", bearer(old)); got.status != 200 {
		t.Fatalf("got %d", got.status)
	}
	before := issuer.JWKSFetches()
	kid := issuer.Rotate("ES256", idp.WithdrawOld)
	fresh := make([]string, 40)
	for i := range fresh {
		fresh[i] = mint(issuer, claims{"sub": fmt.Sprint(i)}, idp.WithKey(kid))
	}
	if counts := g.all(fresh); counts[200] != len(fresh) {
		t.Errorf("got the statuses %v, want 200 only", counts)
	}
	if n := issuer.JWKSFetches() - before; n > 2 {
		t.Errorf("the rotation cost %d fetches, want at most 2", n)
	}
	// The old key left the set: what it had signed is remembered, and refused.
	if got := g.get("/", bearer(old)); got.status != 401 {
		t.Errorf("a token of the withdrawn key: got %d, want 401", got.status)
	}
}

// A rotation refuses nobody while strangers with invented key ids spend the issuer's
// turns, and those with a known key do not wait.
func TestRotationAmongStrangers(t *testing.T) {
	if apart(t) {
		return
	}
	issuer, other := newIssuer(t), newIssuer(t)
	g := start(t, twoIssuers, "ISSUER", issuer.URL, "OTHER", other.URL)
	token := mint(issuer, nil)
	if got := g.get("/", bearer(token)); got.status != 200 {
		t.Fatalf("got %d", got.status)
	}
	invented := func(n int) string { return mint(issuer, nil, idp.WithHeader("kid", fmt.Sprint("invented-", n))) }
	for n := range 4 { // one after the other: beyond what may be asked in a row
		if got := g.get("/", bearer(invented(n))); got.status != 401 {
			t.Errorf("a stranger got %d, want 401", got.status)
		}
	}
	before, began := issuer.JWKSFetches(), time.Now()
	stop := make(chan struct{})
	var strangers sync.WaitGroup
	for i := range 8 {
		strangers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					g.get("/", bearer(invented(1000*(i+1)+n)))
				}
			}
		})
	}
	known := g.traffic(2, func(int) string { return token })
	for round := range 2 {
		kid := issuer.Rotate("ES256", idp.KeepOld)
		fresh := make([]string, 40)
		for i := range fresh {
			fresh[i] = mint(issuer, claims{"sub": fmt.Sprint(round, i)}, idp.WithKey(kid))
		}
		if counts := g.all(fresh); counts[200] != len(fresh) {
			t.Errorf("got the statuses %v, want 200 only", counts)
		}
	}
	if failed := known.end(); len(failed) > 0 {
		t.Errorf("%d requests with a known key failed, the first with %s", len(failed), failed[0])
	}
	close(stop)
	strangers.Wait()
	most := 1 + int(time.Since(began)/(5*time.Second))
	if n := issuer.JWKSFetches() - before; n > most {
		t.Errorf("%d fetches in %s, want %d at most", n, time.Since(began), most)
	}
}

func TestInventedKeyIDs(t *testing.T) {
	if apart(t) {
		return
	}
	issuer, other := newIssuer(t), newIssuer(t)
	g := start(t, twoIssuers, "ISSUER", issuer.URL, "OTHER", other.URL)
	token := mint(issuer, nil)
	if got := g.get("/", bearer(token)); got.status != 200 {
		t.Fatalf("got %d", got.status)
	}
	before, began := issuer.JWKSFetches(), time.Now()
	known := g.traffic(2, func(int) string { return token })
	invented := make([]string, 300)
	for i := range invented {
		invented[i] = mint(issuer, nil, idp.WithHeader("kid", fmt.Sprint("invented-", i)))
	}
	counts := g.all(invented)
	if counts[401] != len(invented) {
		t.Errorf("got the statuses %v, want 401 only", counts)
	}
	if failed := known.end(); len(failed) > 0 {
		t.Errorf("%d requests with a known key failed, the first with %s", len(failed), failed[0])
	}
	most := 3 + int(time.Since(began)/(5*time.Second)) // a few at once, then one in 5 s
	if n := issuer.JWKSFetches() - before; n > most {
		t.Errorf("invented key ids cost %d fetches, want %d at most", n, most)
	}
}

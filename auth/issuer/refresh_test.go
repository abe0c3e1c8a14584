package issuer

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// attached starts an engine in the background and lets its first fetch land.
func attached(t *testing.T, s *site, cfg Config, h Host) *Engine {
	t.Helper()
	e := start(t, cfg, Options{Client: s.client()})
	e.Attach(h)
	synctest.Wait()
	return e
}

// nextFetch sleeps until the issuer is asked again, and says how long it took.
func nextFetch(t *testing.T, s *site) time.Duration {
	t.Helper()
	began, before := time.Now(), s.keyHits.Load()
	for s.keyHits.Load() == before {
		if time.Since(began) > 48*time.Hour {
			t.Fatal("no fetch in two days")
		}
		time.Sleep(100 * time.Millisecond)
	}
	synctest.Wait()
	return time.Since(began)
}

func between(t *testing.T, what string, got, low, high time.Duration) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: %s, want %s to %s", what, got, low, high)
	}
}

func TestRefreshInterval(t *testing.T) {
	for _, c := range []struct {
		name      string
		cfg       Config
		header    string
		low, high time.Duration
	}{
		{"default", Config{}, "", 13*time.Minute + 30*time.Second, 16*time.Minute + 31*time.Second},
		{"configured", Config{Refresh: time.Minute}, "", 54 * time.Second, 67 * time.Second},
		{"floor", Config{Refresh: time.Second}, "", 10 * time.Second, 12 * time.Second},
		{"sooner", Config{}, "public, max-age=100", 90 * time.Second, 111 * time.Second},
		{"not later", Config{Refresh: time.Minute}, "max-age=86400", 54 * time.Second, 67 * time.Second},
		{"too soon", Config{}, "max-age=1", 10 * time.Second, 12 * time.Second},
		{"at once", Config{}, "max-age=0", 10 * time.Second, 12 * time.Second},
		{"not to be kept", Config{Refresh: time.Minute}, "no-store, max-age=0", 54 * time.Second, 67 * time.Second},
		{"half of max_stale", Config{MaxStale: 2 * time.Minute}, "", 54 * time.Second, 67 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *site) {
				s.header = map[string]string{"Cache-Control": c.header}
				c.cfg.Issuer = base
				attached(t, s, c.cfg, Host{})
				seen := map[string]bool{}
				for range 5 {
					took := nextFetch(t, s)
					// nextFetch looks every 100 ms, so it may see the last one late.
					between(t, "interval", took, c.low-100*time.Millisecond, c.high)
					seen[took.String()] = true
				}
				if c.low > time.Minute && len(seen) == 1 {
					t.Error("no jitter")
				}
			}, edKey("k"))
		})
	}
}

func TestBackOff(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.status = 500
		attached(t, s, Config{Issuer: base, JWKSURI: base + "/jwks"}, Host{})
		for _, want := range []time.Duration{5, 10, 20, 40, 60, 60} {
			want *= time.Second
			between(t, "without keys", nextFetch(t, s), want*9/10, want*11/10+time.Second)
		}
		s.do(func() { s.status = 0 })
		nextFetch(t, s)
		s.do(func() { s.status = 500 })
		nextFetch(t, s)
		for _, want := range []time.Duration{5, 10, 20, 40, 80, 160, 320, 640, 900, 900} {
			want *= time.Second
			between(t, "with keys", nextFetch(t, s), want*9/10, want*11/10+time.Second)
		}
	}, edKey("k"))
}

// TestDemandLeavesTheBackOffAlone: callers who meet an outage again and again
// neither hasten nor delay the background.
func TestDemandLeavesTheBackOffAlone(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := attached(t, s, Config{Issuer: base}, Host{})
		s.do(func() { s.status = 500 })
		for range 5 { // the refresh, and retries after 5, 10, 20 and 40 s
			nextFetch(t, s)
		}
		next := e.Status().NextRefresh
		for range 3 {
			time.Sleep(holdOff)
			equal(t, "outcomes", together(e, 10, invented), outcomes{unavailable: 10})
		}
		equal(t, "next refresh", e.Status().NextRefresh, next)
	}, edKey("k"))
}

// TestFailureOnDemandBringsRetryForward: an outage that callers met is not left
// alone until the next refresh.
func TestFailureOnDemandBringsRetryForward(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		l := &log{}
		e := attached(t, s, Config{Issuer: base}, Host{Observe: l.observe})
		s.do(func() { s.status = 500 })
		together(e, 1, invented)
		s.do(func() { s.status = 0 })
		between(t, "retry", nextFetch(t, s), 4*time.Second, 6*time.Second)
		equal(t, "recovered", len(l.of(Recovered)), 1)
	}, edKey("k"))
}

func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		l := &log{}
		e := attached(t, s, Config{Issuer: base, MaxStale: time.Hour}, Host{Observe: l.observe})
		k := e.JWKS().byID["k"][0]
		s.do(func() { s.status = 500 })
		time.Sleep(59 * time.Minute)
		if e.JWKS() == nil || !k.Trusted() {
			t.Fatal("the last good keys do not serve")
		}
		time.Sleep(16 * time.Minute)
		if e.JWKS() != nil || k.Trusted() || !e.Status().Stale {
			t.Fatal("keys serve beyond max_stale")
		}
		equal(t, "reported as too old", len(l.of(Warned)), 1)
		equal(t, "unavailable", len(l.of(Unavailable)), 1)
		equal(t, "recovered", len(l.of(Recovered)), 0)
		if len(l.of(FetchFailed)) < 5 {
			t.Errorf("%d failures in an hour", len(l.of(FetchFailed)))
		}
		s.do(func() { s.status = 0 })
		time.Sleep(20 * time.Minute)
		if e.JWKS() == nil || !k.Trusted() {
			t.Fatal("an unchanged key does not come back with its issuer")
		}
		equal(t, "unavailable", len(l.of(Unavailable)), 1)
		equal(t, "recovered", len(l.of(Recovered)), 1)
		equal(t, "last error", e.Status().LastError, "")
		equal(t, "keys changed", len(l.of(KeysChanged)), 1)
	}, edKey("k"))
}

// TestMaxStaleByInjectedClock holds the same without any timer at work.
func TestMaxStaleByInjectedClock(t *testing.T) {
	s := newSite(base, edKey("k"))
	at := time.Now()
	e := start(t, Config{Issuer: base, MaxStale: time.Hour}, Options{Client: s.client(), Now: func() time.Time { return at }})
	if _, err := e.Await(t.Context(), holds("k")); err != nil {
		t.Fatal(err)
	}
	k := e.JWKS().byID["k"][0]
	at = at.Add(time.Hour - 1)
	if e.JWKS() == nil || !k.Trusted() {
		t.Error("too early")
	}
	at = at.Add(1)
	if e.JWKS() != nil || k.Trusted() {
		t.Error("too late")
	}
}

func TestWithdrawnKeyLosesTrust(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		a := edKey("a")
		s.rotate(a, edKey("b"))
		l := &log{}
		e := attached(t, s, Config{Issuer: base}, Host{Observe: l.observe})
		keyA, keyB := e.JWKS().byID["a"][0], e.JWKS().byID["b"][0]
		s.rotate(a, edKey("c"))
		nextFetch(t, s)
		if !keyA.Trusted() || e.JWKS().byID["a"][0] != keyA {
			t.Error("a key that stayed lost its identity")
		}
		if keyB.Trusted() {
			t.Error("a key that went is trusted")
		}
		s.rotate(a.with("alg", "Ed25519"))
		nextFetch(t, s)
		if keyA.Trusted() {
			t.Error("a key that changed is trusted as it was")
		}
		changes := l.of(KeysChanged)
		equal(t, "changes", len(changes), 3)
		s.rotate(edKey("").with("kid", nil))
		nextFetch(t, s)
		equal(t, "name of a key without one", l.of(KeysChanged)[3].Added[0], e.Status().Keys[0].Thumbprint)
		equal(t, "second change", fmt.Sprint(changes[1].Added, changes[1].Removed), "[c] [b]")
	})
}

func TestMovedKeySetIsFollowed(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := attached(t, s, Config{Issuer: base}, Host{})
		s.do(func() { s.asked = make(chan string, 10) })
		s.do(func() { s.meta = map[string]any{"issuer": base, "jwks_uri": base + "/moved//jwks"} })
		nextFetch(t, s)
		equal(t, "metadata", <-s.asked, "/.well-known/openid-configuration")
		equal(t, "keys", <-s.asked, "/moved//jwks")
		equal(t, "status", e.Status().JWKSURI, base+"/moved//jwks")
	}, edKey("k"))
}

// TestMetadataTurnsBad: metadata that names another issuer is refused and reported,
// once, and what was good stays.
func TestMetadataTurnsBad(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		l := &log{}
		e := attached(t, s, Config{Issuer: base}, Host{Observe: l.observe})
		s.do(func() { s.meta = map[string]any{"issuer": base + "/evil", "jwks_uri": base + "/evil"} })
		s.do(func() { s.asked = make(chan string, 100) })
		for range 3 {
			nextFetch(t, s)
			equal(t, "metadata", <-s.asked, "/.well-known/openid-configuration")
			equal(t, "keys", <-s.asked, "/jwks")
		}
		warnings := l.of(Warned)
		if len(warnings) != 1 || !strings.Contains(warnings[0].Err.Error(), "names issuer") {
			t.Fatalf("warnings: %v", warnings)
		}
		if !strings.Contains(e.Status().LastError, "names issuer") || e.JWKS() == nil {
			t.Errorf("status: %+v", e.Status())
		}
		if err := e.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "names issuer") {
			t.Errorf("an operator's refresh: %v", err)
		}
		equal(t, "unavailable", len(l.of(Unavailable)), 0)
		s.do(func() { s.meta = map[string]any{"issuer": base, "jwks_uri": base + "/jwks"} })
		<-s.asked
		<-s.asked
		nextFetch(t, s)
		equal(t, "last error", e.Status().LastError, "")
	}, edKey("k"))
}

func TestIgnoredKeysAreToldOnce(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		l := &log{}
		e := attached(t, s, Config{Issuer: base}, Host{Observe: l.observe})
		nextFetch(t, s)
		equal(t, "warnings", len(l.of(Warned)), 1)
		equal(t, "ignored", len(e.Status().Ignored), 2)
		s.rotate(edKey("k"))
		nextFetch(t, s)
		s.rotate(edKey("k"), edKey("p").with("d", "x"))
		nextFetch(t, s)
		equal(t, "warnings", len(l.of(Warned)), 2)
	}, edKey("k"), edKey("p").with("d", "x"), edKey("q").with("kty", "?"))
}

// TestStartWithIssuerDown: the engine is up at once, and recovers by itself.
func TestStartWithIssuerDown(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.status = http.StatusBadGateway
		l := &log{}
		e := attached(t, s, Config{Issuer: base}, Host{Observe: l.observe, Storage: newMemory()})
		equal(t, "outcomes", together(e, 5, anythingFor), outcomes{unavailable: 5})
		equal(t, "events", l.kinds(), []EventKind{FetchFailed, Unavailable})
		s.do(func() { s.status = 0 })
		time.Sleep(7 * time.Second)
		synctest.Wait()
		equal(t, "outcomes", together(e, 5, anythingFor), outcomes{good: 5})
		equal(t, "events", l.kinds(), []EventKind{FetchFailed, Unavailable, FetchSucceeded, Recovered, KeysChanged})
	}, edKey("k"))
}

func TestEmptySetKeepsTheLastGood(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := attached(t, s, Config{Issuer: base}, Host{})
		s.rotate()
		if err := e.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "no key for signatures") {
			t.Errorf("got %v", err)
		}
		if e.JWKS() == nil || !e.JWKS().byID["k"][0].Trusted() {
			t.Error("the last good keys are gone")
		}
	}, edKey("k"))
}

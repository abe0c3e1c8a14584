package issuer

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// keptBy runs an engine once and returns the storage it leaves behind.
func keptBy(t *testing.T, s *site, cfg Config) *memory {
	t.Helper()
	m := newMemory()
	e := attached(t, s, cfg, Host{Storage: m})
	if e.JWKS() == nil {
		t.Fatal("no keys to keep")
	}
	_ = e.Close()
	if len(m.values) != 1 {
		t.Fatalf("%d records kept", len(m.values))
	}
	return m
}

func (m *memory) only() (key string, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, value = range m.values {
	}
	return key, value
}

func TestRestartWithIssuerDown(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		m := keptBy(t, s, Config{Issuer: base})
		key, _ := m.only()
		if !regexp.MustCompile(`^gatehouse/issuers/[0-9a-f]{64}\.json$`).MatchString(key) {
			t.Errorf("storage key %q", key)
		}
		fetched := time.Now()
		time.Sleep(time.Hour)
		s.do(func() { s.status = 500 })
		l := &log{}
		e := attached(t, s, Config{Issuer: base}, Host{Storage: m, Observe: l.observe})
		equal(t, "known", together(e, 5, func(int) func(*JWKS) bool { return holds("k") }), outcomes{good: 5})
		equal(t, "unknown", together(e, 5, invented), outcomes{unavailable: 5})
		st := e.Status()
		if !st.FromStorage || !st.FetchedAt.Equal(fetched) || st.JWKSURI != base+"/jwks" {
			t.Errorf("status: %+v", st)
		}
		equal(t, "restored", len(l.of(Restored)), 1)
		k := e.JWKS().byID["k"][0]
		time.Sleep(22*time.Hour + 59*time.Minute)
		if e.JWKS() == nil || !k.Trusted() {
			t.Error("kept keys ended too early")
		}
		time.Sleep(2 * time.Minute)
		if e.JWKS() != nil || k.Trusted() {
			t.Error("kept keys are as old as when they were fetched, and serve beyond max_stale")
		}
	}, edKey("k"))
}

// Right after a start the issuer may have refused the connection before storage
// has answered: who asks for the metadata then waits for storage.
func TestMetadataWaitsForTheRecord(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		m := keptBy(t, s, Config{Issuer: base})
		s.do(func() { s.status = 500 })
		gate := make(chan struct{})
		m.do(func() { m.gate = gate })
		e := attached(t, s, Config{Issuer: base}, Host{Storage: m})
		answers := make(chan *Metadata, 2)
		ask := func() {
			known, err := e.Metadata(t.Context())
			if err != nil {
				t.Error(err)
			}
			answers <- known
		}
		go ask()
		synctest.Wait() // the issuer has answered
		go ask()        // this one meets the pause after a failure
		synctest.Wait()
		if len(answers) != 0 {
			t.Error("somebody did not wait for storage")
		}
		close(gate)
		for range 2 {
			if known := <-answers; known == nil || known.JWKSURI != base+"/jwks" {
				t.Errorf("got %+v, want what was kept", known)
			}
		}
	}, edKey("k"))
}

func TestRestartFindsTheSameKeys(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		m := keptBy(t, s, Config{Issuer: base})
		gate := make(chan struct{})
		s.do(func() { s.gate = gate })
		l := &log{}
		e := attached(t, s, Config{Issuer: base}, Host{Storage: m, Observe: l.observe})
		k := e.JWKS().byID["k"][0]
		close(gate)
		synctest.Wait()
		if e.JWKS().byID["k"][0] != k || !k.Trusted() || e.Status().FromStorage {
			t.Error("the fetched key is another than the kept one")
		}
		equal(t, "changes", len(l.of(KeysChanged)), 0)
	}, edKey("k"), rsaKey("r").with("alg", "RS256"))
}

// TestFirstNeedTakesWhatComesFirst: storage and fetch run together; what
// satisfies first lets the caller go.
func TestFirstNeedTakesWhatComesFirst(t *testing.T) {
	t.Run("storage first", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *site) {
			m := keptBy(t, s, Config{Issuer: base})
			fetch, load := make(chan struct{}), make(chan struct{})
			s.do(func() { s.gate = fetch })
			m.gate = load
			e := attached(t, s, Config{Issuer: base}, Host{Storage: m})
			time.AfterFunc(time.Second, func() { close(load) })
			began := time.Now()
			equal(t, "kept", together(e, 5, func(int) func(*JWKS) bool { return holds("k") }), outcomes{good: 5})
			equal(t, "time taken", time.Since(began), time.Second)
			s.rotate(edKey("new")) // too late for the fetch in the air
			time.AfterFunc(time.Second, func() { s.do(func() { s.gate = nil }); close(fetch) })
			equal(t, "not kept", together(e, 5, func(int) func(*JWKS) bool { return holds("new") }), outcomes{good: 5})
			equal(t, "time taken", time.Since(began), 2*time.Second)
		}, edKey("k"))
	})
	t.Run("fetch first", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *site) {
			m := keptBy(t, s, Config{Issuer: base})
			s.rotate(edKey("new"))
			load := make(chan struct{})
			m.gate = load
			e := attached(t, s, Config{Issuer: base}, Host{Storage: m})
			equal(t, "fetched", together(e, 5, func(int) func(*JWKS) bool { return holds("new") }), outcomes{good: 5})
			close(load)
			synctest.Wait()
			if e.JWKS().byID["k"] != nil {
				t.Error("older kept keys replaced fetched ones")
			}
		}, edKey("k"))
	})
	t.Run("fetch failed, storage to come", func(t *testing.T) {
		bubble(t, func(t *testing.T, s *site) {
			m := keptBy(t, s, Config{Issuer: base})
			s.do(func() { s.status = 500 })
			load := make(chan struct{})
			m.gate = load
			e := attached(t, s, Config{Issuer: base}, Host{Storage: m})
			time.AfterFunc(time.Second, func() { close(load) })
			equal(t, "kept", together(e, 5, func(int) func(*JWKS) bool { return holds("k") }), outcomes{good: 5})
		}, edKey("k"))
	})
}

func TestRecordsThatAreNotUsed(t *testing.T) {
	change := func(name string, value any) func([]byte) []byte {
		return func(data []byte) []byte {
			var rec map[string]any
			_ = json.Unmarshal(data, &rec)
			rec[name] = value
			data, _ = json.Marshal(rec)
			return data
		}
	}
	for _, c := range []struct {
		name   string
		damage func([]byte) []byte
		want   string
	}{
		{"cut off", func(b []byte) []byte { return b[:len(b)/2] }, "damaged"},
		{"empty", func([]byte) []byte { return nil }, "damaged"},
		{"enormous", func(b []byte) []byte { return append(b, make([]byte, maxRecordBytes)...) }, "damaged"},
		{"of another issuer", change("issuer", "https://evil.example.com"), "another issuer"},
		{"of another source", change("source", "url https://evil.example.com"), "another issuer"},
		{"without a time", change("fetched_at", "0001-01-01T00:00:00Z"), "its time"},
		{"keys gone", change("key_set", map[string]any{"keys": []any{}}), "no key"},
		{"keys no set", change("key_set", 5), "damaged"},
		{"too old", change("fetched_at", "1999-01-01T00:00:00Z"), "older than max_stale"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *site) {
				m := keptBy(t, s, Config{Issuer: base})
				key, value := m.only()
				m.values[key] = c.damage(value)
				s.do(func() { s.status = 500 })
				l := &log{}
				e := attached(t, s, Config{Issuer: base}, Host{Storage: m, Observe: l.observe})
				if e.JWKS() != nil {
					t.Error("it is used")
				}
				warnings := l.of(Warned)
				if len(warnings) != 1 || !strings.Contains(warnings[0].Err.Error(), c.want) {
					t.Fatalf("warnings: %v, want one with %q", warnings, c.want)
				}
				s.do(func() { s.status = 0 })
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if e.JWKS() == nil {
					t.Error("a bad record keeps the engine from fetching")
				}
			}, edKey("k"))
		})
	}
}

// TestRecordFromTheFuture: another node's clock must not lengthen the life of
// kept keys.
func TestRecordFromTheFuture(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		m := keptBy(t, s, Config{Issuer: base})
		key, value := m.only()
		now := time.Now().UTC().Format(time.RFC3339)
		future := time.Now().Add(1000 * time.Hour).UTC().Format(time.RFC3339)
		m.values[key] = []byte(strings.Replace(string(value), now, future, 1))
		s.do(func() { s.status = 500 })
		e := attached(t, s, Config{Issuer: base}, Host{Storage: m})
		if !e.Status().FetchedAt.Equal(time.Now()) {
			t.Errorf("age of the keys: %s, now is %s", e.Status().FetchedAt, time.Now())
		}
	}, edKey("k"))
}

// TestKeptAddressIsHeldAgainstTheConfiguration: what was allowed when it was
// kept may not be any more.
func TestKeptAddressIsHeldAgainstTheConfiguration(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		const issuer = "http://localhost"
		s.meta["issuer"], s.meta["jwks_uri"] = issuer, "http://keys.example.com/jwks"
		m := keptBy(t, s, Config{Issuer: issuer, InsecureHTTP: true})
		gate := make(chan struct{})
		s.do(func() { s.gate = gate; s.asked = make(chan string, 10) })
		e := attached(t, s, Config{Issuer: issuer}, Host{Storage: m})
		if e.JWKS() == nil || e.Status().JWKSURI != "" {
			t.Errorf("status: %+v", e.Status())
		}
		close(gate)
	}, edKey("k"))
}

func TestStoringIsRare(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.header = map[string]string{"Cache-Control": "max-age=10"}
		m := newMemory()
		e := attached(t, s, Config{Issuer: base, Refresh: 10 * time.Minute}, Host{Storage: m})
		equal(t, "at the start", m.stored(), 1)
		time.Sleep(7 * time.Minute)
		equal(t, "unchanged keys", m.stored(), 1)
		time.Sleep(2 * time.Minute)
		equal(t, "after about a refresh", m.stored(), 2)
		s.rotate(edKey("new"))
		if err := e.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		equal(t, "changed keys", m.stored(), 3)
		s.do(func() { s.meta["authorization_endpoint"] = base + "/auth" })
		if err := e.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		equal(t, "changed metadata", m.stored(), 4)
		_, value := m.only()
		if !strings.Contains(string(value), `"kid":"new"`) || !strings.Contains(string(value), "/auth") {
			t.Errorf("kept: %s", value)
		}
	}, edKey("k"))
}

func TestStorageFails(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		m, l := newMemory(), &log{}
		m.err = errors.New("disk full")
		e := attached(t, s, Config{Issuer: base}, Host{Storage: m, Observe: l.observe})
		if e.JWKS() == nil {
			t.Fatal("storage cost the keys")
		}
		time.Sleep(5 * time.Minute)
		equal(t, "warnings", len(l.of(Warned)), 2) // reading, writing; each once
		if n := m.stored(); n < 4 || n > 7 {
			t.Errorf("tried %d times in 5 minutes", n)
		}
		m.do(func() { m.err = nil })
		time.Sleep(2 * time.Minute)
		m.mu.Lock()
		defer m.mu.Unlock()
		equal(t, "records", len(m.values), 1)
	}, edKey("k"))
}

// TestStorageNeverAnswers: neither callers nor the background nor Close wait
// for a storage that ignores its context.
func TestStorageNeverAnswers(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		m, l := newMemory(), &log{}
		m.gate, m.deaf = make(chan struct{}), true
		e := attached(t, s, Config{Issuer: base}, Host{Storage: m, Observe: l.observe})
		began := time.Now()
		equal(t, "outcomes", together(e, 5, anythingFor), outcomes{good: 5})
		equal(t, "time taken", time.Since(began), time.Duration(0))
		nextFetch(t, s)
		time.Sleep(time.Minute)
		if len(l.of(Warned)) < 2 {
			t.Errorf("warnings: %v", l.of(Warned))
		}
		began = time.Now()
		_ = e.Close()
		between(t, "closing", time.Since(began), 0, storage.DefaultLimit*6/5)
		close(m.gate)
	}, edKey("k"))
}

func TestKeysBeforeAttachAreStoredThen(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		m, l := newMemory(), &log{}
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		if _, err := e.Await(t.Context(), holds("k")); err != nil {
			t.Fatal(err)
		}
		e.Attach(Host{Storage: m, Observe: l.observe})
		synctest.Wait()
		equal(t, "stored", m.stored(), 1)
		equal(t, "read", m.loads, 0)
		equal(t, "fetches", s.keyHits.Load(), 1)
		equal(t, "events", l.kinds(), []EventKind{FetchSucceeded, KeysChanged})
	}, edKey("k"))
}

// TestReloadWhileReading: a configuration that goes while its storage is read
// leaves the reading to its successor.
func TestReloadWhileReading(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		m := keptBy(t, s, Config{Issuer: base})
		s.do(func() { s.status = 500 })
		stuck := newMemory()
		stuck.gate = make(chan struct{})
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		detach := e.Attach(Host{Storage: stuck})
		synctest.Wait()
		e.Attach(Host{Storage: m})
		detach()
		synctest.Wait()
		if e.JWKS() == nil {
			t.Error("the kept keys were never read")
		}
	}, edKey("k"))
}

func TestSecretsInQueriesAreNotKept(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		cfg := Config{Issuer: base, JWKSURI: base + "/jwks?apikey=SECRET"}
		m := keptBy(t, s, cfg)
		_, value := m.only()
		st, _ := json.Marshal(start(t, cfg, Options{}).Status())
		if strings.Contains(string(value)+string(st), "SECRET") {
			t.Errorf("kept %s, shown %s", value, st)
		}
		if (Config{Issuer: base, JWKSURI: base + "/jwks?apikey=other"}).storageKey() == cfg.storageKey() {
			t.Error("two addresses share a record")
		}
	}, edKey("k"))
}

// TestRecordOfAnEarlierVersion: what an earlier version has stored, under the key that
// it chose, is read by all later ones.
func TestRecordOfAnEarlierVersion(t *testing.T) {
	value, err := os.ReadFile("testdata/record/v1.json")
	if err != nil {
		t.Fatal(err)
	}
	bubble(t, func(t *testing.T, s *site) {
		s.do(func() { s.status = 500 })
		m := newMemory()
		m.values["gatehouse/issuers/ec7c720758718a9efcbb1a1e1e810d8e9b3a1014b53881eeec2ad9aeb5e304f2.json"] = value
		e := attached(t, s, Config{Issuer: base}, Host{Storage: m})
		jwks := e.JWKS()
		if jwks == nil || len(jwks.byID["ed"]) != 1 || len(jwks.byID["rsa"]) != 1 {
			t.Fatalf("keys %v, %s", jwks, e.Status().LastError)
		}
		known, err := e.Metadata(t.Context())
		if err != nil || known.JWKSURI != base+"/jwks" || known.AuthorizationEndpoint != base+"/authorize" {
			t.Errorf("metadata %+v, %v", known, err)
		}
	})
}

package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

func TestNewDoesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		time.Sleep(24 * time.Hour)
		equal(t, "requests", s.keyHits.Load()+s.metaHits.Load(), 0)
		if e.JWKS() != nil {
			t.Error("keys from nowhere")
		}
		equal(t, "status", e.Status().Source, "discovery")
	}, edKey("k"))
}

// An issuer that is only asked about its tokens has no keys, which is no fault; that it
// does not answer is one, and so is it when an issuer that had keys has none any more.
func TestIssuerWithoutKeys(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.do(func() { delete(s.meta, "jwks_uri") })
		events, kept := &log{}, newMemory()
		e := start(t, Config{Issuer: base, KeysOptional: true}, Options{Client: s.client()})
		e.Attach(Host{Observe: events.observe, Storage: kept})
		synctest.Wait()
		status := e.Status()
		equal(t, "keyless, keys, error", fmt.Sprint(status.Keyless, len(status.Keys), status.LastError), "true 0")
		if _, err := e.Await(t.Context(), holds("k")); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("a key of nobody: %v", err)
		}
		before := s.metaHits.Load()
		time.Sleep(time.Hour)
		synctest.Wait()
		if asked := s.metaHits.Load() - before; asked < 3 || asked > 6 {
			t.Errorf("asked %d times in an hour", asked)
		}
		equal(t, "failures, key sets fetched, stored", fmt.Sprint(len(events.of(FetchFailed)), s.keyHits.Load(), kept.stored()), "0 0 0")

		s.do(func() { s.status = http.StatusBadGateway })
		if err := e.Refresh(t.Context()); err == nil {
			t.Error("no error while the issuer does not answer")
		}
		synctest.Wait()
		equal(t, "reports of the outage", len(events.of(Unavailable)), 1)
		var unavailable *UnavailableError
		if _, err := e.Await(t.Context(), holds("k")); !errors.As(err, &unavailable) {
			t.Errorf("while the issuer does not answer: %v", err)
		}

		s.do(func() { s.status, s.meta["jwks_uri"] = 0, base+"/jwks" })
		time.Sleep(time.Minute)
		if _, err := e.Await(t.Context(), holds("k")); err != nil {
			t.Errorf("the issuer has keys now: %v", err)
		}
		s.do(func() { delete(s.meta, "jwks_uri") })
		if err := e.Refresh(t.Context()); !errors.Is(err, errKeysGone) || len(e.JWKS().All()) != 1 || e.Status().Keyless {
			t.Errorf("the keys are gone: %v, %+v", err, e.Status())
		}
	}, edKey("k"))
}

func TestAttachIsAStack(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		first, second, third := &log{}, &log{}, &log{}
		a, b := newMemory(), newMemory()
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		refresh := func() {
			t.Helper()
			s.rotate(edKey(fmt.Sprint("k", s.keyHits.Load()))) // so that it is stored
			if err := e.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		detach1 := e.Attach(Host{Observe: first.observe, Storage: a})
		synctest.Wait()
		fetches := s.keyHits.Load()
		detach2 := e.Attach(Host{Observe: second.observe, Storage: b})
		synctest.Wait()
		equal(t, "fetches because of a reload", s.keyHits.Load()-fetches, 0)
		before := len(first.kinds())
		refresh()
		equal(t, "first, when the second is there", len(first.kinds()), before)
		equal(t, "second", len(second.of(FetchSucceeded)), 1)
		equal(t, "stored in a, b", fmt.Sprint(a.stored(), b.stored()), "1 1")
		detach2()
		detach2()
		refresh()
		equal(t, "first, when the second is gone", len(first.of(FetchSucceeded)), 2)
		equal(t, "stored in a, b", fmt.Sprint(a.stored(), b.stored()), "2 1")
		detach1()
		refresh()
		equal(t, "first, when gone", len(first.of(FetchSucceeded)), 2)
		e.Attach(Host{Observe: third.observe})
		synctest.Wait()
		equal(t, "what nobody heard goes to the next", len(third.of(FetchSucceeded)), 1)
	}, edKey("k"))
}

func TestEventsWithoutAnObserverAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		for range storage.MaxEvents + 10 {
			if err := e.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		l := &log{}
		e.Attach(Host{Observe: l.observe})
		synctest.Wait()
		equal(t, "events", len(l.kinds()), storage.MaxEvents)
	}, edKey("k"))
}

// TestObserverMayAsk: it is called without a lock, one event at a time.
func TestObserverMayAsk(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		var at, most int
		var mu sync.Mutex
		e.Attach(Host{Observe: func(ev Event) {
			mu.Lock()
			at++
			most = max(most, at)
			mu.Unlock()
			if st := e.Status(); st.Issuer != ev.Issuer || ev.Time.IsZero() {
				t.Errorf("event %+v of %s", ev, st.Issuer)
			}
			e.Suspect()
			mu.Lock()
			at--
			mu.Unlock()
		}})
		time.Sleep(time.Hour)
		_ = e.Close()
		equal(t, "events at a time", most, 1)
	}, edKey("k"))
}

// TestSlowObserver: it is given one thing at a time, in order, and holds up
// nobody who fetches.
func TestSlowObserver(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		var mu sync.Mutex
		var at, most int
		var times []time.Time
		e.Attach(Host{Observe: func(ev Event) {
			mu.Lock()
			at++
			most, times = max(most, at), append(times, ev.Time)
			mu.Unlock()
			time.Sleep(time.Minute)
			mu.Lock()
			at--
			mu.Unlock()
		}})
		synctest.Wait()
		began := time.Now()
		for range 5 {
			time.Sleep(time.Second)
			if err := e.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		equal(t, "time taken", time.Since(began), 5*time.Second)
		time.Sleep(8 * time.Minute)
		_ = e.Close()
		equal(t, "events at a time", most, 1)
		equal(t, "events", len(times), 7)
		if !slices.IsSortedFunc(times, time.Time.Compare) {
			t.Errorf("out of order: %v", times)
		}
	}, edKey("k"))
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := attached(t, s, Config{Issuer: base}, Host{Storage: newMemory()})
		k := e.JWKS().byID["k"][0]
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _ = e.Close() })
		}
		wg.Wait()
		if e.JWKS() != nil || k.Trusted() {
			t.Error("keys are trusted after the end")
		}
		e.Attach(Host{})()
		fetches := s.keyHits.Load()
		time.Sleep(24 * time.Hour)
		equal(t, "fetches after the end", s.keyHits.Load(), fetches)
	}, edKey("k"))
}

func TestSetAllocatesNothing(t *testing.T) {
	s := newSite(base, edKey("k"))
	e := start(t, Config{Issuer: base}, Options{Client: s.client()})
	if _, err := e.Await(t.Context(), holds("k")); err != nil {
		t.Fatal(err)
	}
	trusted := true
	equal(t, "allocations", testing.AllocsPerRun(100, func() {
		trusted = trusted && e.JWKS().byID["k"][0].Trusted()
	}), 0)
	if !trusted {
		t.Error("not trusted")
	}
}

func TestOneBadIssuerDoesNotHarmAnother(t *testing.T) {
	bad, good := serve(t, edKey("a")), serve(t, edKey("b"))
	bad.do(func() { bad.gate = make(chan struct{}) })
	e := start(t, Config{Issuer: bad.base}, Options{})
	f := start(t, Config{Issuer: good.base}, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := e.Await(ctx, anything)
		done <- err
	}()
	if _, err := f.Await(t.Context(), holds("b")); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_ = e.Close()
}

// TestEverythingAtOnce is for the race detector: rotation, floods, reloads,
// suspicion and status together; trust must never outlive a key.
func TestEverythingAtOnce(t *testing.T) {
	s := serve(t, edKey("k0"))
	e := start(t, Config{Issuer: s.base}, Options{})
	m := newMemory()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				switch i % 4 {
				case 0:
					ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
					_, _ = e.Await(ctx, holds(fmt.Sprint("k", n)))
					cancel()
				case 1:
					e.Attach(Host{Storage: m, Observe: (&log{}).observe})()
				case 2:
					e.Suspect()
					_ = e.Status()
				case 3:
					if set := e.JWKS(); set != nil {
						for _, k := range set.All() {
							_ = k.Trusted()
						}
					}
				}
			}
		})
	}
	for n := range 30 {
		s.rotate(edKey(fmt.Sprint("k", n)))
		if err := e.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if err := e.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	k := e.JWKS().byID["k29"]
	if len(k) != 1 || !k[0].Trusted() {
		t.Error("the last key is not trusted")
	}
}

func TestMetadata(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.meta["authorization_endpoint"] = base + "/auth"
		e := start(t, Config{Issuer: base, JWKSURI: base + "/jwks"}, Options{Client: s.client()})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if m, err := e.Metadata(context.Background()); err != nil || m.AuthorizationEndpoint != base+"/auth" {
					t.Errorf("got %v, %v", m, err)
				}
			})
		}
		wg.Wait()
		equal(t, "metadata fetches", s.metaHits.Load(), 1)
		equal(t, "key fetches", s.keyHits.Load(), 0)
		time.Sleep(16 * time.Minute)
		s.do(func() { s.meta["authorization_endpoint"] = base + "/new" })
		if m, err := e.Metadata(t.Context()); err != nil || m.AuthorizationEndpoint != base+"/auth" {
			t.Errorf("it waits for news: %v, %v", m, err)
		}
		synctest.Wait()
		if m, err := e.Metadata(t.Context()); err != nil || m.AuthorizationEndpoint != base+"/new" {
			t.Errorf("it is not renewed: %v, %v", m, err)
		}
		s.do(func() { s.status = http.StatusInternalServerError })
		time.Sleep(time.Hour)
		for range 5 {
			if _, err := e.Metadata(t.Context()); err != nil {
				t.Errorf("an outage costs what was known: %v", err)
			}
			synctest.Wait()
		}
		equal(t, "metadata fetches", s.metaHits.Load(), 3)
	})
}

func TestMetadataUnavailable(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.status = 500
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		for range 3 {
			_, err := e.Metadata(t.Context())
			if _, ok := errors.AsType[*UnavailableError](err); !ok {
				t.Errorf("got %v", err)
			}
		}
		equal(t, "fetches", s.metaHits.Load(), 1)
		for name, cfg := range map[string]Config{
			"file":      {Issuer: base, JWKSFile: "/x"},
			"not a URL": {Issuer: "me", JWKSURI: base},
		} {
			if _, err := start(t, cfg, Options{Client: s.client()}).Metadata(t.Context()); !errors.Is(err, ErrNoMetadata) {
				t.Errorf("%s: %v", name, err)
			}
		}
		_ = e.Close()
		_, err := e.Metadata(t.Context())
		if !errors.Is(err, errClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

func TestMetadataWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		e := start(t, Config{Issuer: base}, Options{Client: &http.Client{Transport: local{hang}}})
		var wg sync.WaitGroup
		began := time.Now()
		for range maxWaiters {
			wg.Go(func() { _, _ = e.Metadata(context.Background()) })
		}
		synctest.Wait()
		_, err := e.Metadata(t.Context())
		if !errors.Is(err, errTooMany) || time.Since(began) != 0 {
			t.Errorf("one too many: %v", err)
		}
		wg.Wait()
		equal(t, "time taken", time.Since(began), waitLimit)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		time.Sleep(holdOff)
		if _, err := e.Metadata(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("after its context: %v", err)
		}
	})
}

func BenchmarkTrusted(b *testing.B) {
	s := newSite(base, edKey("k"))
	e, err := New(Config{Issuer: base}, Options{Client: s.client()})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	set, err := e.Await(b.Context(), holds("k"))
	if err != nil {
		b.Fatal(err)
	}
	k := set.byID["k"][0]
	b.ReportAllocs()
	for b.Loop() {
		if !k.Trusted() {
			b.Fatal("not trusted")
		}
	}
}

package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const base = "https://login.example.com"

// bubble runs a test in which time stands still while anybody works, with an
// issuer in this process.
func bubble(t *testing.T, run func(t *testing.T, s *site), keys ...any) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { run(t, newSite(base, keys...)) })
}

// outcomes counts what many callers got.
type outcomes struct{ good, unknown, unavailable, other int }

// together lets n callers wait at once, each for its own key.
func together(e *Engine, n int, want func(i int) func(*JWKS) bool) outcomes {
	var mu sync.Mutex
	var got outcomes
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			set, err := e.Await(context.Background(), want(i))
			mu.Lock()
			defer mu.Unlock()
			_, down := errors.AsType[*UnavailableError](err)
			switch {
			case err == nil && set != nil:
				got.good++
			case errors.Is(err, ErrUnknownKey):
				got.unknown++
			case down:
				got.unavailable++
			default:
				got.other++
			}
		})
	}
	wg.Wait()
	return got
}

func invented(i int) func(*JWKS) bool { return holds(fmt.Sprint("invented-", i)) }

func TestRotationRefusesNobody(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		e.Attach(Host{})
		synctest.Wait()
		equal(t, "fetches at the start", s.keyHits.Load(), 1)
		s.rotate(edKey("new"))
		got := together(e, 40, func(int) func(*JWKS) bool { return holds("new") })
		equal(t, "outcomes", got, outcomes{good: 40})
		equal(t, "fetches", s.keyHits.Load(), 2)
	}, edKey("old"))
}

// Beyond the bound of those who wait, a flood costs no more than saying so.
func TestFloodBeyondTheBoundCostsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		if _, err := e.Await(t.Context(), anything); err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		s.do(func() { s.gate = gate })
		done := make(chan outcomes)
		go func() { done <- together(e, maxWaiters, invented) }()
		synctest.Wait()
		ctx, want := t.Context(), holds("invented")
		if n := testing.AllocsPerRun(100, func() { _, _ = e.Await(ctx, want) }); n > 1 {
			t.Errorf("%v allocations, want the error's one", n)
		}
		equal(t, "one more", together(e, 1, invented), outcomes{unavailable: 1})
		equal(t, "fetches", s.keyHits.Load(), 2)
		close(gate)
		<-done
	}, edKey("known"))
}

// Whoever comes with a key that the issuer publishes gets in, however many ask for
// keys that there are not, and the issuer is asked once in five seconds.
func TestRotationAmongStrangers(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		if _, err := e.Await(t.Context(), anything); err != nil {
			t.Fatal(err)
		}
		var strangers, good sync.WaitGroup
		stop := make(chan struct{})
		for i := range 20 {
			strangers.Go(func() {
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					case <-time.After(time.Duration(100+i*90) * time.Millisecond):
					}
					if _, err := e.Await(context.Background(), invented(i*1000+n)); !errors.Is(err, ErrUnknownKey) {
						t.Errorf("a stranger got %v", err)
					}
				}
			})
		}
		began, before := time.Now(), s.keyHits.Load()
		for round := range 6 {
			key := fmt.Sprint("k", round)
			s.rotate(edKey(key))
			for range 50 {
				good.Go(func() {
					at := time.Now()
					if _, err := e.Await(context.Background(), holds(key)); err != nil {
						t.Errorf("%s after %s: %v", key, time.Since(at), err)
					}
					if waited := time.Since(at); waited > waitLimit+answerTime {
						t.Errorf("waited %s", waited)
					}
				})
				time.Sleep(137 * time.Millisecond)
			}
			good.Wait()
		}
		close(stop)
		strangers.Wait()
		most := int64(time.Since(began)/holdOff) + demandBurst + 1
		if fetches := s.keyHits.Load() - before; fetches > most {
			t.Errorf("%d fetches in %s, want at most %d", fetches, time.Since(began), most)
		}
	}, edKey("old"))
}

// TestRotationOverRealHTTP is the same with a real server and real time.
func TestRotationOverRealHTTP(t *testing.T) {
	s := serve(t, edKey("old"))
	e := start(t, Config{Issuer: s.base}, Options{})
	if _, err := e.Await(t.Context(), holds("old")); err != nil {
		t.Fatal(err)
	}
	s.rotate(edKey("new"))
	got := together(e, 40, func(int) func(*JWKS) bool { return holds("new") })
	equal(t, "outcomes", got, outcomes{good: 40})
	if hits := s.keyHits.Load(); hits != 2 {
		t.Errorf("%d fetches, want 2", hits)
	}
}

func TestInventedKeysCostOneFetchInFiveSeconds(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		if _, err := e.Await(t.Context(), holds("k")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 12 {
			equal(t, "outcomes", together(e, 300, invented), outcomes{unknown: 300})
		}
		took := time.Since(began)
		if most := int64(took/holdOff) + demandBurst + 1; s.keyHits.Load() > most {
			t.Errorf("%d fetches in %s, want at most %d", s.keyHits.Load(), took, most)
		}
	}, edKey("k"))
}

func TestKnownKeysDoNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		if _, err := e.Await(t.Context(), holds("k")); err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		s.do(func() { s.gate = gate })
		go together(e, 10, invented)
		synctest.Wait()
		began := time.Now()
		if _, err := e.Await(t.Context(), holds("k")); err != nil {
			t.Fatal(err)
		}
		equal(t, "time taken", time.Since(began), time.Duration(0))
		close(gate)
	}, edKey("k"))
}

// TestFetchBegunTooEarly: who joins a fetch that had left before the key was
// published gets another one, if need be after the pause.
func TestFetchBegunTooEarly(t *testing.T) {
	for _, spent := range []bool{false, true} {
		t.Run(fmt.Sprintf("turns spent %t", spent), func(t *testing.T) {
			bubble(t, func(t *testing.T, s *site) {
				e := start(t, Config{Issuer: base}, Options{Client: s.client()})
				if _, err := e.Await(t.Context(), holds("old")); err != nil {
					t.Fatal(err)
				}
				for range demandBurst {
					if spent {
						together(e, 1, invented)
					}
				}
				gate := make(chan struct{})
				s.do(func() { s.gate = gate })
				refreshed := make(chan error)
				go func() { refreshed <- e.Refresh(context.Background()) }()
				synctest.Wait() // the fetch holds the old keys, and waits
				s.do(func() { s.gate, s.keys = nil, setOf(edKey("new")) })
				before := s.keyHits.Load()
				time.AfterFunc(time.Second, func() { close(gate) })
				got := together(e, 40, func(int) func(*JWKS) bool { return holds("new") })
				if err := <-refreshed; err != nil {
					t.Fatal(err)
				}
				equal(t, "outcomes", got, outcomes{good: 40})
				equal(t, "more fetches", s.keyHits.Load()-before, 1)
			}, edKey("old"))
		})
	}
}

// Those who asked together for what there is not are not all answered at once, and
// one alone is.
func TestRefusalsAreSpread(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		w := waiter{engine: e}
		e.waiters.Store(1)
		began := time.Now()
		w.giveWay(t.Context())
		equal(t, "time taken alone", time.Since(began), time.Duration(0))
		e.waiters.Store(301)
		var longest time.Duration
		for range 50 {
			began = time.Now()
			w.giveWay(t.Context())
			longest = max(longest, time.Since(began))
		}
		if longest == 0 || longest > 150*time.Millisecond {
			t.Errorf("of 301 one gave way for %s, want up to 150ms", longest)
		}
	}, edKey("k"))
}

// Nobody waits longer than was promised, not even for one fetch after another.
func TestTheWaitIsBoundedOverSeveralFetches(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		if _, err := e.Await(t.Context(), holds("old")); err != nil {
			t.Fatal(err)
		}
		for range demandBurst {
			together(e, 1, invented)
		}
		gate := make(chan struct{})
		s.do(func() { s.gate = gate })
		refreshed := make(chan error)
		go func() { refreshed <- e.Refresh(context.Background()) }()
		synctest.Wait()
		s.do(func() { s.gate = make(chan struct{}) }) // the next never answers
		time.AfterFunc(4900*time.Millisecond, func() { close(gate) })
		began := time.Now()
		equal(t, "outcomes", together(e, 10, invented), outcomes{unavailable: 10})
		if err := <-refreshed; err != nil {
			t.Fatal(err)
		}
		equal(t, "time taken", time.Since(began), waitLimit+answerTime)
	}, edKey("old"))
}

func TestFailingIssuerIsAskedOnceInFiveSeconds(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.status = http.StatusInternalServerError
		e := start(t, Config{Issuer: base, JWKSURI: base + "/jwks"}, Options{Client: s.client()})
		equal(t, "outcomes", together(e, 300, invented), outcomes{unavailable: 300})
		time.Sleep(1500 * time.Millisecond)
		_, err := e.Await(t.Context(), anything)
		down, ok := errors.AsType[*UnavailableError](err)
		if !ok {
			t.Fatalf("got %v", err)
		}
		equal(t, "retry after", down.RetryAfter, 4*time.Second) // 3.5, rounded up
		equal(t, "fetches", s.keyHits.Load(), 1)
		time.Sleep(3500 * time.Millisecond)
		s.do(func() { s.status = 0 })
		equal(t, "outcomes", together(e, 40, func(int) func(*JWKS) bool { return holds("k") }), outcomes{good: 40})
		equal(t, "fetches", s.keyHits.Load(), 2)
	}, edKey("k"))
}

// TestUnknownKeyDuringOutage: with keys at hand but the issuer failing, an
// unknown key is a matter of the issuer, a known one of nobody.
func TestUnknownKeyDuringOutage(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		if _, err := e.Await(t.Context(), holds("k")); err != nil {
			t.Fatal(err)
		}
		s.do(func() { s.status = 503 })
		equal(t, "unknown", together(e, 10, invented), outcomes{unavailable: 10})
		equal(t, "known", together(e, 10, func(int) func(*JWKS) bool { return holds("k") }), outcomes{good: 10})
		equal(t, "fetches", s.keyHits.Load(), 2)
	}, edKey("k"))
}

func TestHangingIssuer(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		s.gate = make(chan struct{})
		e := start(t, Config{Issuer: base, JWKSURI: base + "/jwks"}, Options{Client: s.client()})
		began := time.Now()
		equal(t, "outcomes", together(e, 10, invented), outcomes{unavailable: 10})
		equal(t, "time taken", time.Since(began), 5*time.Second)
		began = time.Now()
		equal(t, "outcomes after", together(e, 10, invented), outcomes{unavailable: 10})
		equal(t, "time taken after", time.Since(began), time.Duration(0))
		equal(t, "fetches", s.keyHits.Load(), 1)
	}, edKey("k"))
}

// TestSlowFetchDelaysNobodyTwice: a fetch of several slow exchanges is waited
// for by those who came in its first five seconds only.
func TestSlowFetchDelaysNobodyTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(4 * time.Second):
			case <-r.Context().Done():
			}
			http.NotFound(w, r)
		})
		e := start(t, Config{Issuer: base}, Options{Client: &http.Client{Transport: local{slow}}})
		go together(e, 1, invented)
		time.Sleep(6 * time.Second)
		began := time.Now()
		equal(t, "outcomes", together(e, 1, invented), outcomes{unavailable: 1})
		equal(t, "time taken", time.Since(began), time.Duration(0))
	})
}

// TestFetchOutlivesItsCaller: the fetch belongs to all who wait, not to the one
// who came first.
func TestFetchOutlivesItsCaller(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		gate := make(chan struct{})
		s.gate = gate
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error)
		go func() {
			_, err := e.Await(ctx, holds("k"))
			first <- err
		}()
		synctest.Wait()
		second := make(chan error)
		go func() {
			_, err := e.Await(t.Context(), holds("k"))
			second <- err
		}()
		time.Sleep(time.Second)
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("the first got %v", err)
		}
		close(gate)
		if err := <-second; err != nil {
			t.Errorf("the second got %v", err)
		}
		equal(t, "fetches", s.keyHits.Load(), 1)
	}, edKey("k"))
}

func TestWaitersAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		gate := make(chan struct{})
		s.gate = gate
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		done := make(chan outcomes)
		go func() { done <- together(e, maxWaiters+50, func(int) func(*JWKS) bool { return holds("k") }) }()
		synctest.Wait()
		equal(t, "one more", together(e, 1, invented), outcomes{unavailable: 1})
		close(gate)
		equal(t, "outcomes", <-done, outcomes{good: maxWaiters, unavailable: 50})
		equal(t, "waiters left", e.waiters.Load(), 0)
	}, edKey("k"))
}

func TestFirstLoadDoesNotSpendTheBudget(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		equal(t, "asked for what is not there", together(e, 1, invented), outcomes{unknown: 1})
		equal(t, "fetches", s.keyHits.Load(), 1)
		s.rotate(edKey("new"))
		equal(t, "outcomes", together(e, 1, func(int) func(*JWKS) bool { return holds("new") }), outcomes{good: 1})
		equal(t, "fetches", s.keyHits.Load(), 2)
	}, edKey("k"))
}

func TestSuspect(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		if _, err := e.Await(t.Context(), holds("k")); err != nil {
			t.Fatal(err)
		}
		old := e.JWKS().byID["k"][0]
		s.rotate(edKey("k")) // another key under the same id
		for range 100 {
			e.Suspect()
		}
		synctest.Wait()
		equal(t, "fetches", s.keyHits.Load(), 2)
		if old.Trusted() || e.JWKS().byID["k"][0] == old {
			t.Error("the replaced key is still trusted")
		}
		for range 2 * demandBurst {
			e.Suspect()
			synctest.Wait()
		}
		equal(t, "fetches within 5 s", s.keyHits.Load(), 1+demandBurst)
		time.Sleep(holdOff + time.Millisecond)
		s.do(func() { s.status = 500 })
		e.Suspect()
		synctest.Wait()
		equal(t, "fetches after 5 s", s.keyHits.Load(), 2+demandBurst)
		e.Suspect()
		synctest.Wait()
		equal(t, "fetches of a failing issuer", s.keyHits.Load(), 2+demandBurst)
		if e.JWKS() == nil || !e.JWKS().byID["k"][0].Trusted() {
			t.Error("a failed fetch cost the last good keys")
		}
	}, edKey("k"))
}

func TestRefreshByAnOperator(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		for i := range 3 {
			if err := e.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			equal(t, "fetches", s.keyHits.Load(), int64(i+1))
		}
		equal(t, "metadata fetches", s.metaHits.Load(), 3)
		s.do(func() { s.status = 500 })
		if err := e.Refresh(t.Context()); err == nil {
			t.Error("no error of a failed refresh")
		}
		s.do(func() { s.status, s.gate = 0, make(chan struct{}) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := e.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v after its context", err)
		}
	}, edKey("k"))
}

func TestAwaitAfterClose(t *testing.T) {
	bubble(t, func(t *testing.T, s *site) {
		e := start(t, Config{Issuer: base}, Options{Client: s.client()})
		s.gate = make(chan struct{})
		done := make(chan outcomes)
		go func() { done <- together(e, 5, invented) }()
		synctest.Wait()
		began := time.Now()
		_ = e.Close()
		equal(t, "outcomes", <-done, outcomes{unavailable: 5})
		equal(t, "outcomes after", together(e, 1, anythingFor), outcomes{unavailable: 1})
		equal(t, "time taken", time.Since(began), time.Duration(0))
		if err := e.Refresh(t.Context()); !errors.Is(err, errClosed) {
			t.Errorf("Refresh: %v", err)
		}
		e.Suspect()
	}, edKey("k"))
}

func anythingFor(int) func(*JWKS) bool { return anything }

func TestFindSigner(t *testing.T) {
	named := func(kid string) Hint { return Hint{Algorithm: "EdDSA", KeyID: kid, HasKeyID: true} }
	first, later := edKey("k"), edKey("k")
	errBusy := errors.New("busy")
	tests := []struct {
		name    string
		hint    Hint
		signer  member
		rotate  any // what the issuer publishes meanwhile
		down    bool
		err     error
		tried   int
		fetches int64
	}{
		{"known key", named("k"), first, nil, false, nil, 1, 1},
		{"key without its id", Hint{Algorithm: "EdDSA"}, first, nil, false, nil, 1, 1},
		{"key that was replaced", named("k"), later, later, false, ErrWrongSignature, 1, 2},
		{"key that was replaced, without its id", Hint{Algorithm: "EdDSA"}, later, later, false, nil, 1, 2},
		{"new key", named("new"), later.with("kid", "new"), later.with("kid", "new"), false, nil, 1, 2},
		{"new key that did not sign", named("new"), first, later.with("kid", "new"), false, ErrUnknownKey, 1, 2},
		{"unknown key", named("x"), first, nil, false, ErrUnknownKey, 0, 2},
		{"nobody's", Hint{Algorithm: "EdDSA"}, later, nil, false, ErrUnknownKey, 1, 2},
		{"unknown key of an issuer that is down", named("x"), first, nil, true, new(UnavailableError), 0, 2},
		{"attempt that fails", named("k"), nil, nil, false, errBusy, 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *site) {
				e := start(t, Config{Issuer: base}, Options{Client: s.client()})
				if _, err := e.Await(t.Context(), anything); err != nil {
					t.Fatal(err)
				}
				if tt.rotate != nil {
					s.rotate(tt.rotate)
				}
				if tt.down {
					s.do(func() { s.status = 500 })
				}
				signer, tried, err := FindSigner(t.Context(), e, tt.hint, func(keys []*Key) (*Key, error) {
					for _, k := range keys {
						if tt.signer == nil {
							return nil, errBusy
						}
						if k.members.X == tt.signer["x"] {
							return k, nil
						}
					}
					return nil, nil
				})
				if want := new(UnavailableError); !errors.Is(err, tt.err) && !(errors.As(tt.err, &want) && errors.As(err, &want)) {
					t.Errorf("got the error %v, want %v", err, tt.err)
				}
				if (signer == nil) != (tt.err != nil) || signer != nil && signer != tried.Keys[0] {
					t.Errorf("got the signer %+v", signer)
				}
				equal(t, "keys tried", len(tried.Keys), tt.tried)
				synctest.Wait()
				equal(t, "fetches", s.keyHits.Load(), tt.fetches)
			}, first)
		})
	}
}

package storage

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// sleep is a call that takes so long, and heeds its context or not.
func sleep(d time.Duration, heeds bool) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if !heeds {
			ctx = context.WithoutCancel(ctx)
		}
		if err := Pause(ctx, d); err != nil {
			return "", err
		}
		return "answer", nil
	}
}

// TestCallsEnd: a call is waited for as long as its limit, and a little for an
// answer that is late.
func TestCallsEnd(t *testing.T) {
	for _, c := range []struct {
		name  string
		takes time.Duration
		heeds bool
		ends  time.Duration // of the caller's context; zero: never
		took  time.Duration
		err   error
	}{
		{"in time", 4 * time.Second, false, 0, 4 * time.Second, nil},
		{"a little late", DefaultLimit + 900*time.Millisecond, false, 0, DefaultLimit + 900*time.Millisecond, nil},
		{"too late", time.Minute, true, 0, DefaultLimit, ErrNoAnswer},
		{"too late, and deaf", time.Minute, false, 0, DefaultLimit + DefaultLimit/5, ErrNoAnswer},
		{"the caller ends", time.Minute, true, time.Second, time.Second, context.Canceled},
		{"the caller ends, and deaf", time.Minute, false, time.Second, 2 * time.Second, context.Canceled},
		{"the caller has ended", time.Minute, false, -1, 0, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				switch {
				case c.ends < 0:
					cancel()
				case c.ends > 0:
					time.AfterFunc(c.ends, cancel)
				}
				calls, begun := NewCalls(0), time.Now()
				got, err := Do(ctx, calls, sleep(c.takes, c.heeds))
				wantTook(t, begun, c.took)
				if c.err == nil && (err != nil || got != "answer") {
					t.Errorf("%q, %v", got, err)
				}
				if c.err != nil {
					wantError(t, err, c.err)
				}
				time.Sleep(time.Minute)
				if n := calls.late.Load(); n != 0 {
					t.Errorf("%d calls are stuck", n)
				}
			})
		})
	}
}

// TestStuckCallsAreBounded: a storage that never answers does not collect
// goroutines, and is used again once it answers.
func TestStuckCallsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := NewCalls(0)
		gate := make(chan struct{})
		hang := func(context.Context) (int, error) { <-gate; return 0, nil }
		for i := range MaxCalls {
			if i > 0 { // one that never returns does not end the use of a storage
				got, err := Do(t.Context(), calls, sleep(0, true))
				if err != nil || got != "answer" {
					t.Fatalf("after %d stuck calls: %q, %v", i, got, err)
				}
			}
			_, err := Do(t.Context(), calls, hang)
			wantError(t, err, ErrNoAnswer)
		}
		begun := time.Now()
		_, err := Do(t.Context(), calls, hang)
		wantError(t, err, ErrStuck)
		wantTook(t, begun, 0)
		if n := calls.late.Load(); n != MaxCalls {
			t.Errorf("%d calls are stuck, want %d", n, MaxCalls)
		}
		// The storage of another configuration is not held up.
		if _, err := Do(t.Context(), NewCalls(0), sleep(0, true)); err != nil {
			t.Error(err)
		}
		close(gate)
		synctest.Wait()
		if n := calls.late.Load(); n != 0 {
			t.Errorf("%d calls are stuck still", n)
		}
		if _, err := Do(t.Context(), calls, sleep(0, true)); err != nil {
			t.Error(err)
		}
	})
}

// TestMoreCallsWaitForTheirTurn: calls of a storage that is only slow are not
// refused, however many there are, and there are no more at once than the bound.
func TestMoreCallsWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := NewCalls(0)
		var now, most atomic.Int32
		var all sync.WaitGroup
		for range 4 * MaxCalls {
			all.Go(func() {
				_, err := Do(t.Context(), calls, func(ctx context.Context) (int, error) {
					most.Store(max(most.Load(), now.Add(1)))
					defer now.Add(-1)
					return 0, Pause(ctx, time.Second)
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := most.Load(); n != MaxCalls {
			t.Errorf("%d calls at once, want %d", n, MaxCalls)
		}
	})
}

// TestWaitingForATurnEnds with the time of the call, and is no outage of the
// caller's.
func TestWaitingForATurnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := NewCalls(0)
		for range MaxCalls {
			go func() { _, _ = Do(context.Background(), calls, sleep(time.Minute, false)) }()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := Do(ctx, calls, sleep(0, true))
		wantError(t, err, context.DeadlineExceeded)
		_, err = Do(t.Context(), calls, sleep(0, true))
		wantError(t, err, ErrStuck)
		time.Sleep(time.Minute)
	})
}

func TestEach(t *testing.T) {
	var mu sync.Mutex
	var done []int
	err := Each(20, 4, func(i int) error {
		mu.Lock()
		defer mu.Unlock()
		done = append(done, i)
		return nil
	})
	slices.Sort(done)
	if err != nil || len(done) != 20 || done[19] != 19 {
		t.Errorf("%v, %v", done, err)
	}
	failed := errors.New("failed")
	var calls atomic.Int32
	err = Each(1000, 4, func(i int) error {
		calls.Add(1)
		if i == 3 {
			return failed
		}
		time.Sleep(time.Millisecond)
		return nil
	})
	wantError(t, err, failed)
	if n := calls.Load(); n > 100 {
		t.Errorf("%d calls, though the fourth failed", n)
	}
	must(t, Each(0, 4, func(int) error { return failed }))
}

func TestSpread(t *testing.T) {
	for range 1000 {
		if d := Spread(time.Second, 0.1); d < 900*time.Millisecond || d > 1100*time.Millisecond {
			t.Fatalf("%s", d)
		}
	}
}

package storage

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

func TestNewestLeaseIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leases Leases[string]
		want := func(host string) {
			t.Helper()
			got := ""
			if l := leases.Newest(); l != nil {
				got = l.Host
			}
			if got != host {
				t.Errorf("%q is used, want %q", got, host)
			}
		}
		want("")
		if leases.Use() != nil {
			t.Error("a lease that nobody gave")
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		one := leases.Attach(ctx, NewClient(nil, 0), "one")
		want("one")
		two := leases.Attach(ctx, NewClient(nil, 0), "two")
		want("two")
		two.Detach()
		two.Detach()
		want("one")
		if two.Context().Err() == nil || two.Use() {
			t.Error("a detached lease can be used")
		}
		one.Detach()
		want("")
		three := leases.Attach(ctx, NewClient(nil, 0), "three")
		cancel()
		if three.Context().Err() == nil {
			t.Error("the owner ended, and its lease did not")
		}
		three.Detach()
	})
}

// TestDetachWaits for what uses the lease, but not for ever, and ends its context
// only then.
func TestDetachWaits(t *testing.T) {
	for _, c := range []struct{ use, want time.Duration }{{time.Second, time.Second}, {time.Hour, detachLimit}} {
		synctest.Test(t, func(t *testing.T) {
			var leases Leases[int]
			l := leases.Attach(t.Context(), NewClient(nil, 0), 1)
			if leases.Use() != l {
				t.Fatal("not the lease that was attached")
			}
			go func() {
				defer l.Done()
				if err := Pause(l.Context(), c.use); (err == nil) != (c.use == c.want) {
					t.Errorf("its context ended: %v", err)
				}
			}()
			begun := time.Now()
			l.Detach()
			wantTook(t, begun, c.want)
			synctest.Wait()
		})
	}
}

// TestNoCallAfterDetach: the storage may be gone then, so calls under way are
// waited for, a second at most, and none begins any more, but for giving back a
// lock.
func TestNoCallAfterDetach(t *testing.T) {
	for _, c := range []struct{ takes, want time.Duration }{{500 * time.Millisecond, 500 * time.Millisecond}, {time.Minute, DefaultLimit / 5}} {
		synctest.Test(t, func(t *testing.T) {
			e := faultstorage.New(faultstorage.Faults{})
			d := &deaf{Storage: e.Node()}
			var leases Leases[int]
			l := leases.Attach(t.Context(), NewClient(d, 0), 1)
			must(t, l.Lock(l.Context(), lockName))
			d.shut()
			time.AfterFunc(c.takes, d.open)
			go func() { _, _ = l.Load(l.Context(), "a") }()
			synctest.Wait()
			begun := time.Now()
			l.Detach()
			wantTook(t, begun, c.want)
			time.Sleep(c.takes)
			loads := e.Calls("Load")
			_, err := l.Load(l.Context(), "a")
			wantError(t, err, context.Canceled)
			if n := e.Calls("Load"); n != loads {
				t.Error("the storage was called after its lease had ended")
			}
			l.UnlockSurely(l.Context(), lockName)
			if e.Held(lockName) {
				t.Error("the lock is held")
			}
		})
	}
}

package account_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// The callers that wait for the first reading are bounded; those beyond are
// answered at once, the others with it.
func TestWaitersForTheFirstReadingAreBounded(t *testing.T) {
	n := account.New(registry.Options{})
	t.Cleanup(func() { _ = n.Close() })
	const most, more = 1000, 200
	var turnedAway, let atomic.Int32
	var callers sync.WaitGroup
	for range most + more {
		callers.Go(func() {
			if n.AwaitReading(t.Context()) {
				let.Add(1)
				return
			}
			turnedAway.Add(1)
		})
	}
	eventually(t, "those beyond the bound are answered", func() bool { return turnedAway.Load() == more })
	n.Attach(registry.Host[account.Account]{Storage: engine(t, faultstorage.Faults{}).Node(), Refresh: refresh})
	callers.Wait()
	if let.Load() != most {
		t.Errorf("%d of %d that waited have the accounts", let.Load(), most)
	}
}

// Once a reading has failed nobody waits, until storage answers again.
func TestNobodyWaitsForAStorageThatIsAway(t *testing.T) {
	filled := engine(t, faultstorage.Faults{})
	create(t, start(t, filled.Node(), registry.Options{}), numbered("sa", 200)...)
	e := engine(t, faultstorage.Faults{Trip: 20 * time.Millisecond})
	for _, key := range filled.Keys() {
		e.Set(key, filled.Value(key))
	}
	e.SetDown(true)
	n := start(t, e.Node(), registry.Options{})
	if n.AwaitReading(t.Context()) {
		t.Fatal("there are accounts of a storage that is away")
	}
	eventually(t, "the outage is known", n.Unavailable)
	begun := time.Now()
	for range 1000 {
		n.AwaitReading(t.Context())
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("1000 answers took %v, want them at once", took)
	}
	e.SetDown(false)
	eventually(t, "they are waited for again", func() bool { return n.AwaitReading(t.Context()) })
}

// TestLoadedIsReady: whoever saw that the accounts are loaded sees no state from
// before.
func TestLoadedIsReady(t *testing.T) {
	t.Parallel()
	e := engine(t, faultstorage.Faults{})
	create(t, start(t, e.Node(), registry.Options{}).loaded(t), "known")
	for range 200 {
		n := start(t, e.Node(), registry.Options{})
		for !n.Loaded() {
			runtime.Gosched()
		}
		if state := n.StorageState(); state != registry.Ready {
			t.Fatalf("loaded, and %s", state)
		}
		_ = n.Close()
	}
}

package account_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

const lockName = "gatehouse-accounts"

// locks are how storages deal with a lock that is held.
var locks = map[string]faultstorage.Faults{
	"waits": {}, "polls": {LockPolls: true}, "fails at once": {LockFailsAtOnce: true}, "never returns": {LockNeverReturns: true},
	"waits, far away": {Trip: 100 * time.Millisecond}, "polls, far away": {LockPolls: true, Trip: 100 * time.Millisecond},
}

// bubble runs a test in a time of its own, so that what takes seconds takes none.
func bubble(t *testing.T, f faultstorage.Faults, test func(t *testing.T, e *faultstorage.Engine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := engine(t, f)
		test(t, e)
		e.Release() // calls that never return
		time.Sleep(time.Minute)
	})
}

// TestLockOfTheKilled: a change that waits for the lock of a process that died
// happens within seconds of the storage's freeing it, whatever its Lock does.
func TestLockOfTheKilled(t *testing.T) {
	for name, f := range locks {
		t.Run(name, func(t *testing.T) {
			bubble(t, f, func(t *testing.T, e *faultstorage.Engine) {
				n := start(t, e.Node(), registry.Options{}).loaded(t)
				create(t, n, "before")
				time.Sleep(10 * time.Second) // the lock is given back after the answer
				if err := e.Node().Lock(t.Context(), lockName); err != nil {
					t.Fatal(err)
				}
				time.AfterFunc(6*time.Second, func() { e.Free(lockName) })
				begun := time.Now()
				create(t, n, "after")
				if took := time.Since(begun); took > 6*time.Second+5*time.Second {
					t.Errorf("took %s", took)
				}
				time.Sleep(30 * time.Second) // calls that were given up end
				if e.Held(lockName) {
					t.Error("a lock that was won by nobody is still held")
				}
				_ = n.Close()
			})
		})
	}
}

// TestLockBetweenThree: three nodes that write at once all get their turn.
func TestLockBetweenThree(t *testing.T) {
	for name, f := range locks {
		t.Run(name, func(t *testing.T) {
			bubble(t, f, func(t *testing.T, e *faultstorage.Engine) {
				var nodes []*node
				for range 3 {
					nodes = append(nodes, start(t, e.Node(), registry.Options{}).loaded(t))
				}
				var all sync.WaitGroup
				for i, n := range nodes {
					for j := range 60 {
						all.Go(func() { create(t, n, fmt.Sprintf("n%d-%d", i, j)) })
					}
				}
				all.Wait()
				time.Sleep(30 * time.Second)
				for _, n := range nodes {
					if got := n.Counts().Active; got != 180 {
						t.Errorf("%d accounts; want 180", got)
					}
					_ = n.Close()
				}
				if e.Held(lockName) {
					t.Error("the lock is still held")
				}
			})
		})
	}
}

// TestLockForever: a lock that is never freed is answered for within the limit,
// however often, and what waits for it does not pile up.
func TestLockForever(t *testing.T) {
	for name, f := range locks {
		t.Run(name, func(t *testing.T) {
			bubble(t, f, func(t *testing.T, e *faultstorage.Engine) {
				n := start(t, e.Node(), registry.Options{}).loaded(t)
				if err := e.Node().Lock(t.Context(), lockName); err != nil {
					t.Fatal(err)
				}
				for range 8 {
					begun := time.Now()
					_, err := n.Create(t.Context(), draft("never"))
					wantError(t, err, registry.ErrBusy)
					if took := time.Since(begun); took.Truncate(time.Second) != registry.DefaultWriteLimit {
						t.Errorf("took %s; want %s", took, registry.DefaultWriteLimit)
					}
				}
				e.Free(lockName)
				create(t, n, "after")
				_ = n.Close()
			})
		})
	}
}

// TestLockRefused: a lock that cannot be had is answered for at once.
func TestLockRefused(t *testing.T) {
	for _, cause := range []error{
		fs.ErrPermission, syscall.EROFS, &fs.PathError{Op: "open", Path: "x.lock", Err: syscall.EACCES},
		fmt.Errorf("creating lock file: %v", &fs.PathError{Op: "open", Path: "x.lock", Err: syscall.EACCES}), //nolint:errorlint // as certmagic does
		fmt.Errorf("creating lock file: %v", &fs.PathError{Op: "open", Path: "x.lock", Err: syscall.EROFS}),  //nolint:errorlint // as certmagic does
	} {
		t.Run(cause.Error(), func(t *testing.T) {
			bubble(t, faultstorage.Faults{}, func(t *testing.T, e *faultstorage.Engine) {
				n := start(t, e.Node(), registry.Options{}).loaded(t)
				e.SetLockError(cause)
				begun := time.Now()
				_, err := n.Create(t.Context(), draft("sa"))
				wantError(t, err, registry.ErrBusy)
				wantError(t, err, cause)
				if took := time.Since(begun); took != 0 {
					t.Errorf("took %s; want none", took)
				}
				e.SetLockError(nil)
				create(t, n, "sa")
				_ = n.Close()
			})
		})
	}
}

// TestLockFileLeftEmpty: a crash may leave the lock file of a folder empty. Its
// storage takes that away only within one call that waits some 2 seconds.
func TestLockFileLeftEmpty(t *testing.T) {
	folder := t.TempDir()
	n := start(t, &certmagic.FileStorage{Path: folder}, registry.Options{}).loaded(t)
	if err := os.MkdirAll(filepath.Join(folder, "locks"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "locks", lockName+".lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Create(t.Context(), draft("sa")); err != nil {
		t.Errorf("the change was not made: %v", err)
	}
}

// TestRoundTripsOfAChange counts the round trips until a change is acknowledged,
// where each takes 100 ms of a time of the test's own.
func TestRoundTripsOfAChange(t *testing.T) {
	const trip = 100 * time.Millisecond
	bubble(t, faultstorage.Faults{Trip: trip}, func(t *testing.T, e *faultstorage.Engine) {
		n := &node{Registry: account.New(registry.Options{}), heard: make(chan struct{}, 1)}
		n.Attach(registry.Host[account.Account]{Storage: e.Node(), Refresh: time.Hour})
		n.loaded(t)
		create(t, n, "first") // which founds the registry
		time.Sleep(time.Minute)
		begun := time.Now()
		create(t, n, "second")
		if trips := time.Since(begun) / trip; trips > 7 {
			t.Errorf("%d round trips, want 7 at most", trips)
		}
		_ = n.Close()
	})
}

// TestAnImportLeavesNoOldRecords: an import in steps rewrites nearly every shard at
// each. What it replaced goes within seconds, and does not pile up meanwhile.
func TestAnImportLeavesNoOldRecords(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	n := start(t, &certmagic.FileStorage{Path: folder}, registry.Options{}).loaded(t)
	records := func() int {
		found := 0
		err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
			if strings.HasPrefix(filepath.Base(path), "shard-") {
				found++
			}
			if errors.Is(err, fs.ErrNotExist) {
				err = nil // it went meanwhile
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	var subjects []string
	for i := range 20_000 {
		subjects = append(subjects, fmt.Sprint("machine-", i))
	}
	create(t, n, subjects...) // a thousand at a time
	most := records()
	eventually(t, "the old records are gone", func() bool {
		now := records()
		most = max(most, now)
		return now > 0 && now <= 256
	})
	t.Logf("%d records at most, 256 shards", most)
}

// TestLockIsGivenBackBeforeDetach: a change is acknowledged before the lock is given
// back. A configuration that ends right after it takes its storage away, and other
// nodes would have to wait until the lock is stale.
func TestLockIsGivenBackBeforeDetach(t *testing.T) {
	bubble(t, faultstorage.Faults{Trip: 100 * time.Millisecond}, func(t *testing.T, e *faultstorage.Engine) {
		n := &node{Registry: account.New(registry.Options{}), heard: make(chan struct{}, 1)}
		detach := n.attach(e.Node())
		n.loaded(t)
		create(t, n, "sa")
		if !e.Held(lockName) {
			t.Error("the lock was given back before the change was acknowledged")
		}
		detach()
		if e.Held(lockName) {
			t.Error("the lock is held after the end of the configuration")
		}
		_ = n.Close()
	})
}

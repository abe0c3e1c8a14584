package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
)

const lockName = "gatehouse-things"

// lockInTime asks until the lock is there, as owners do.
func lockInTime(ctx context.Context, c *Client) error {
	for {
		err := c.Lock(ctx, lockName)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if Pause(ctx, 25*time.Millisecond) != nil {
			return err
		}
	}
}

// TestLock: a lock that was freed is had soon, whatever the storage's Lock does,
// and what was given up holds it no longer.
func TestLock(t *testing.T) {
	for name, f := range map[string]faultstorage.Faults{
		"waits": {}, "polls": {LockPolls: true}, "fails at once": {LockFailsAtOnce: true}, "never returns": {LockNeverReturns: true},
		"far away": {Trip: 100 * time.Millisecond}, "polls, far away": {LockPolls: true, Trip: 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, e := faulty(f)
				_, _ = c.Load(t.Context(), "a") // how far it is
				must(t, c.Lock(t.Context(), lockName))
				must(t, c.Unlock(t.Context(), lockName))
				must(t, e.Node().Lock(t.Context(), lockName))
				time.AfterFunc(6*time.Second, func() { e.Free(lockName) })
				begun := time.Now()
				must(t, lockInTime(t.Context(), c))
				if took := time.Since(begun); took > 11*time.Second {
					t.Errorf("took %s", took)
				}
				must(t, c.Unlock(t.Context(), lockName))
				time.Sleep(time.Minute) // calls that were given up end
				if e.Held(lockName) {
					t.Error("a lock that was won by nobody is held")
				}
				e.Release()
			})
		})
	}
}

// TestLockNeverFreed: the caller gets its answer when its time is over, and calls
// that never return do not pile up, nor hold up reading.
func TestLockNeverFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, e := faulty(faultstorage.Faults{LockNeverReturns: true}, "a")
		must(t, e.Node().Lock(t.Context(), lockName))
		for range 10 {
			begun := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
			wantError(t, lockInTime(ctx, c), ErrLockSlow)
			cancel()
			wantTook(t, begun, 15*time.Second+lockGrace)
			_, err := c.Load(t.Context(), "a")
			must(t, err)
		}
		if n := c.Stuck(); n > MaxCalls {
			t.Errorf("%d calls are stuck", n)
		}
		e.Release()
		time.Sleep(time.Minute)
		if n := c.Stuck(); n != 0 {
			t.Errorf("%d calls are stuck still", n)
		}
	})
}

func TestStuckLocksDoNotHoldUpReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, e := faulty(faultstorage.Faults{}, "a")
		d := &deaf{Storage: e.Node()}
		c := NewClient(d, 0)
		d.shut()
		for range MaxCalls {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			wantError(t, c.Lock(ctx, lockName), ErrLockSlow)
			cancel()
		}
		wantError(t, c.Lock(t.Context(), lockName), ErrStuck)
		wantError(t, c.Store(t.Context(), "b", []byte("x")), nil)
		d.open()
		time.Sleep(time.Minute)
		if e.Held(lockName) {
			t.Error("a lock that came too late is held")
		}
	})
}

// TestLockIsGivenUpAtOnce when the caller's context ends, and a failure is then
// the lock's and not the storage's.
func TestLockIsGivenUpAtOnce(t *testing.T) {
	for _, f := range []faultstorage.Faults{{}, {LockNeverReturns: true}} {
		synctest.Test(t, func(t *testing.T) {
			c, e := faulty(f)
			must(t, e.Node().Lock(t.Context(), lockName))
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(500*time.Millisecond, cancel)
			begun := time.Now()
			wantError(t, c.Lock(ctx, lockName), ErrLockSlow)
			if took := time.Since(begun); took > 500*time.Millisecond+lockGrace {
				t.Errorf("took %s", took)
			}
			e.Free(lockName)
			time.Sleep(time.Minute)
			if e.Held(lockName) {
				t.Error("a lock that nobody waits for is held")
			}
			e.Release()
		})
	}
}

func TestLockRefused(t *testing.T) {
	c, e := faulty(faultstorage.Faults{LockFailsAtOnce: true})
	must(t, c.Lock(t.Context(), lockName))
	wantError(t, c.Lock(t.Context(), lockName), faultstorage.ErrHeld)
	e.SetLockError(os.ErrPermission)
	if err := c.Lock(t.Context(), lockName); !errors.Is(err, os.ErrPermission) || !IsLasting(err) {
		t.Errorf("error %v", err)
	}
}

// stubborn is a storage whose first tries to unlock fail.
type stubborn struct {
	Storage
	failures atomic.Int32
	err      error
}

func (s *stubborn) Unlock(ctx context.Context, name string) error {
	if s.failures.Add(-1) >= 0 {
		return s.err
	}
	return s.Storage.Unlock(ctx, name)
}

// TestUnlockSurely: a storage that could not be reached is tried again, for long,
// because some keep a lock fresh until then.
func TestUnlockSurely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, e := faulty(faultstorage.Faults{})
		s := &stubborn{Storage: e.Node(), err: faultstorage.ErrDown}
		c := NewClient(s, 0)
		for failures, freed := range map[int32]bool{0: true, 3: true, maxUnlocks - 1: true, maxUnlocks: false} {
			must(t, c.Lock(t.Context(), lockName))
			s.failures.Store(failures)
			begun := time.Now()
			c.UnlockSurely(t.Context(), lockName)
			if e.Held(lockName) == freed {
				t.Errorf("after %d failures: held %t", failures, !freed)
			}
			if took := time.Since(begun); (took > 9*time.Second) != (failures >= maxUnlocks-1) {
				t.Errorf("%d failures took %s", failures, took)
			}
			e.Free(lockName)
		}
		must(t, c.Lock(t.Context(), lockName))
		s.failures.Store(0)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if c.UnlockSurely(ended, lockName); e.Held(lockName) {
			t.Error("a lock is held because the context had ended")
		}
	})
}

// TestUnlockNotFound: a lock that is not there any more is not given back again,
// because another process may hold one now. But a storage that is away finds
// nothing either.
func TestUnlockNotFound(t *testing.T) {
	for _, isAway := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			_, e := faulty(faultstorage.Faults{MissingWhileDown: true}, "a")
			s := &stubborn{Storage: e.Node(), err: fs.ErrNotExist}
			c := NewClient(s, 0)
			_, err := c.Load(t.Context(), "a")
			must(t, err)
			must(t, c.Lock(t.Context(), lockName))
			s.failures.Store(2)
			e.SetDown(isAway)
			time.AfterFunc(time.Second, func() { e.SetDown(false) })
			c.UnlockSurely(t.Context(), lockName)
			if e.Held(lockName) == isAway {
				t.Errorf("held %t, away %t", !isAway, isAway)
			}
			time.Sleep(time.Minute)
		})
	}
}

// TestLateLockIsGivenBack: also where that needs more than one try.
func TestLateLockIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, e := faulty(faultstorage.Faults{})
		s := &stubborn{Storage: e.Node(), err: faultstorage.ErrDown}
		d := &deaf{Storage: s}
		c := NewClient(d, 0)
		d.shut()
		s.failures.Store(3)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantError(t, c.Lock(ctx, lockName), ErrLockSlow)
		d.open()
		synctest.Wait()
		if !e.Held(lockName) {
			t.Fatal("the lock was not granted")
		}
		time.Sleep(5 * time.Second)
		if e.Held(lockName) {
			t.Error("the lock is held still")
		}
	})
}

// TestLockFileLeftEmpty: a crash may leave the lock file of a folder empty. Its
// storage takes that away only within one call that waits some 2 seconds.
func TestLockFileLeftEmpty(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(path, "locks"), 0o700))
	must(t, os.WriteFile(filepath.Join(path, "locks", lockName+".lock"), nil, 0o600))
	c := NewClient(&certmagic.FileStorage{Path: path}, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	must(t, lockInTime(ctx, c))
	must(t, c.Unlock(ctx, lockName))
}

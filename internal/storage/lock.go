package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

const (
	// lockPatience is how long one call of Lock may wait before the lock is asked
	// for anew. Some storages look at a held lock every 20 seconds only, but at
	// once when asked; others take a lock for stale that was waited for too long.
	lockPatience = time.Second
	// longPatience is how long every fourth call may wait: the lock of a folder needs
	// some 2 seconds within one call to see that a lock file is empty, as a crash
	// leaves it, and to take it away.
	longPatience = 3 * time.Second
	// lockTrips is how many round trips taking a free lock may need: where they
	// are long, so is the patience.
	lockTrips = 10
	// maxPatience bounds it. Calls that go on when their time is over must not
	// pile up, so each one of those doubles the patience of the next.
	maxPatience = 30 * time.Second
	// lockGrace is for a call that ends a little late.
	lockGrace = 250 * time.Millisecond

	// Giving a lock back is tried for some nine seconds: some storages keep it fresh
	// until then.
	maxUnlocks     = 9
	unlockPause    = 100 * time.Millisecond // after the first try, and twice as long after each
	maxUnlockPause = 2 * time.Second
)

// ErrLockSlow: the lock was waited for, and not granted.
var ErrLockSlow = errors.New("the storage's lock could not be had")

// Lock asks for the lock once, and waits for a second or a few: longer where
// round trips are long, and where earlier calls of Lock never returned. The error
// is [ErrLockSlow] if that was not enough, or if ctx ended; call it again, as
// often as there is time, because some storages grant a lock that was freed only
// to one who asks anew. Others do not wait at all, and their error says nothing about why.
//
// If Lock fails, the lock is not held: one that is granted too late is given back.
// It returns within a quarter of a second once ctx has ended. To go on meanwhile,
// call it in a goroutine, and to stop waiting, end its context and take its answer.
//
// A lock may expire while its holder is stopped, or be granted twice. So compare
// what was read before writing, and read back what was written.
func (c *Client) Lock(ctx context.Context, name string) error {
	if c.storage == nil {
		return fmt.Errorf("taking the lock %s: %w", name, ErrNoStorage)
	}
	trip := time.Duration(c.calls.trip.Load())
	patience := max(lockPatience, min(lockTrips*trip, maxPatience/6)) // the trip may have been a longer one, once
	if c.asked.Add(1)%4 == 0 {
		patience = max(patience, longPatience)
	}
	for range c.locks.late.Load() {
		patience = min(2*patience, maxPatience)
	}
	_, err := do(ctx, c.locks, patience, lockGrace, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.storage.Lock(ctx, name)
	}, func() { c.UnlockSurely(context.WithoutCancel(ctx), name) })
	if err == nil {
		return nil
	}
	if (errors.Is(err, ErrNoAnswer) || ctx.Err() != nil) && !IsLasting(err) {
		err = ErrLockSlow
	}
	return fmt.Errorf("taking the lock %s: %w", name, err)
}

// Unlock gives the lock back, even if ctx has ended. If it fails, the storage may
// keep the lock fresh for ever: see [Client.UnlockSurely].
func (c *Client) Unlock(ctx context.Context, name string) error {
	_, err := ask(context.WithoutCancel(ctx), c, "giving back the lock", name, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.storage.Unlock(ctx, name)
	})
	return err
}

// UnlockSurely is Unlock, tried once at least, and until ctx ends for some nine
// seconds. If it comes to nothing, the lock is left to expire by itself.
//
// Some storages take a lock away from whoever holds it. So do not ask for it again
// before UnlockSurely has returned; and "not found" ends it, because another process
// may hold the lock by then, unless the storage is away.
func (c *Client) UnlockSurely(ctx context.Context, name string) {
	for try := range maxUnlocks {
		err := c.Unlock(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
			if key := c.seen.Load(); key != nil { // does the storage still have what was read last?
				_, err = c.Load(ctx, *key)
			}
		}
		if err == nil || try == maxUnlocks-1 || Pause(ctx, min(unlockPause<<try, maxUnlockPause)) != nil {
			return
		}
	}
}

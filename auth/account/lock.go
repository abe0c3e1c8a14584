package account

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
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
)

var errLockSlow = errors.New("the storage's lock could not be had")

// patience is how long the next call of Lock may wait, where a round trip takes
// that long.
func (h *hosting) patience(trip time.Duration) time.Duration {
	p := max(lockPatience, min(lockTrips*trip, maxPatience/6)) // the trip may have been a longer one, once
	if h.asked.Add(1)%4 == 0 {
		p = max(p, longPatience)
	}
	for range min(h.deaf.Load(), maxStuck) {
		p = min(2*p, maxPatience)
	}
	return p
}

// locking is one call of Lock that runs beside the keeper. Exactly one of the
// two deals with a lock that is granted: the keeper, or once it gave up, the
// call itself.
type locking struct {
	h       *hosting
	cancel  context.CancelFunc
	settled atomic.Bool
	answer  chan error // one; nil: the lock is held
	until   time.Time
}

// beginLock asks for the lock; the answer comes over the channel.
func beginLock(h *hosting, trip time.Duration, wake func()) (*locking, error) {
	if h.stuck.Load() >= maxStuck {
		return nil, errStuck
	}
	patience := h.patience(trip)
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	l := &locking{h: h, cancel: cancel, answer: make(chan error, 1), until: time.Now().Add(patience + lockGrace)}
	h.stuck.Add(1)
	go func() {
		defer h.stuck.Add(-1)
		defer cancel()
		err := h.host.Storage.Lock(ctx, lockName)
		if err != nil && ctx.Err() != nil && !lasting(err) {
			err = fmt.Errorf("%w: %v", errLockSlow, err) //nolint:errorlint // not the end of the caller's context
		}
		if l.settled.CompareAndSwap(false, true) {
			l.answer <- err
			wake()
			return
		}
		h.deaf.Add(-1)
		if err == nil {
			h.unlockLate()
		}
	}()
	return l, nil
}

// unlockLate gives back a lock that nobody waits for any more.
func (h *hosting) unlockLate() {
	for try := range maxUnlocks {
		if h.unlock() == nil || h.wait(20*time.Millisecond<<try) != nil {
			return
		}
	}
}

// giveUp leaves the call to itself. It reports false if there is an answer to
// take instead.
func (l *locking) giveUp() bool {
	l.cancel()
	l.h.deaf.Add(1) // first, because the call takes it back when it ends
	if l.settled.CompareAndSwap(false, true) {
		return true
	}
	l.h.deaf.Add(-1)
	return false
}

// dropLock stops waiting for the lock, or gives it back.
func (k *keeper) dropLock() {
	if k.lock != nil && !k.lock.giveUp() {
		if err := <-k.lock.answer; err == nil {
			_ = k.lock.h.unlock()
		}
	}
	k.lock = nil
	k.owedAt = time.Time{}
	k.giveBack()
}

// giveBack unlocks what is held. Some storages keep a lock fresh for as long as
// they were not told, so a failure is tried again while storage is away, for some
// ten seconds. One that answers may mean that the lock is not held any more; one
// that is away, "not found" included, says nothing about it.
func (k *keeper) giveBack() {
	if k.owed == nil || time.Now().Before(k.owedAt) {
		return
	}
	err := k.owed.unlock()
	settled := err == nil
	if k.owedTry++; err != nil {
		if _, away := k.owed.load(revisionKey); away == nil {
			settled = errors.Is(err, fs.ErrNotExist)
			k.owedTry += maxUnlocks / 2
		}
	}
	if settled || k.owedTry > maxUnlocks {
		k.owed = nil
		return
	}
	k.owedAt = time.Now().Add(min(50*time.Millisecond<<k.owedTry, 2*time.Second))
}

const maxUnlocks = 8

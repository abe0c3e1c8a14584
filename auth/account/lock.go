package account

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"
	"time"
)

// lockPatience is how long one call of Lock may wait. It is longer than any
// request for a write, so that a lock that others want too is stood in line for
// instead of asked for again and again; and not for ever, because a call may be
// stuck, and a storage may take a lock for stale that was waited for too long.
const lockPatience = 30 * time.Second

var errLockSlow = errors.New("the storage's lock could not be had")

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
func beginLock(h *hosting, wake func()) (*locking, error) {
	if h.stuck.Load() >= maxStuck {
		return nil, errStuck
	}
	ctx, cancel := context.WithCancel(h.ctx)
	l := &locking{h: h, cancel: cancel, answer: make(chan error, 1), until: time.Now().Add(lockPatience)}
	h.stuck.Add(1)
	go func() {
		defer h.stuck.Add(-1)
		defer cancel()
		err := h.host.Storage.Lock(ctx, lockName)
		if l.settled.CompareAndSwap(false, true) {
			l.answer <- err
			wake()
			return
		}
		if err == nil {
			_ = h.unlock() // nobody waits for it any more
		}
	}()
	return l, nil
}

// giveUp leaves the call to itself. It reports false if there is an answer to
// take instead.
func (l *locking) giveUp() bool {
	l.cancel()
	return l.settled.CompareAndSwap(false, true)
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

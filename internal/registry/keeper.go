package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// keeper is the one goroutine that deals with storage, from the first Attach to
// Close. It knows what is to be done when; its parts know how. All their state is
// its own.
type keeper[K comparable, R any] struct {
	r         *Registry[K, R]
	loader    *loader[K, R]
	committer *committer[K, R]

	reading  StorageState // of storage, as it was reported last
	writing  StorageState
	readable time.Time // since when reading has been possible again

	lock      *locking[R] // asked for, held or being given back; nil: none of these
	refreshAt time.Time   // of the next look at storage
	retryAt   time.Time   // before that the lock is not asked for
	failures  int         // since it was last held
}

// keep deals with storage until Close.
func (r *Registry[K, R]) keep() {
	l := &loader[K, R]{r: r, damaged: map[int]string{}, reported: map[string]bool{}, endedTo: r.now()}
	k := &keeper[K, R]{
		r: r, loader: l,
		committer: &committer[K, R]{loader: l, retired: time.Now(), unnamed: map[string]time.Time{}},
		reading:   Ready, writing: Ready,
	}
	defer func() {
		if k.lock != nil {
			k.lock.giveBack()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-timer.C:
		case <-r.wake:
		}
		k.turn()
		r.events.Deliver(r.observer)
		timer.Reset(k.untilNext())
	}
}

// turn does what is due.
func (k *keeper[K, R]) turn() {
	k.loader.reportEnded()
	if newest := k.r.leases.Newest(); newest != k.loader.lease {
		k.loader.lease, k.refreshAt, k.retryAt = newest, time.Time{}, time.Time{}
		k.r.beginReading()
	}
	k.heedLock()
	if k.r.expire(k.readable) > 0 {
		k.writes(*k.r.trouble.Load())
		k.failures, k.retryAt = 0, time.Time{} // the next request gets its tries
	}
	if !k.hasStorage() {
		k.r.failReading()
		return
	}
	if !time.Now().Before(k.refreshAt) {
		if saw, err := k.look(); err == nil && saw == current {
			k.committer.heal()
		}
		k.refreshAt = time.Now().Add(storage.Spread(k.loader.lease.Host.Refresh, 0.1))
	}
	if k.lock == nil && k.committer.isPending() && !time.Now().Before(k.retryAt) {
		k.askForLock()
	}
}

func (k *keeper[K, R]) hasStorage() bool { return k.loader.lease != nil && k.loader.lease.HasStorage() }

// untilNext is how long the keeper may sleep if nothing wakes it.
func (k *keeper[K, R]) untilNext() time.Duration {
	if !k.hasStorage() {
		return DefaultRefresh
	}
	next := k.refreshAt
	if k.lock == nil && k.retryAt.Before(next) && k.committer.isPending() {
		next = k.retryAt
	}
	if n, _, deadline := k.r.queued(); n > 0 && deadline.Before(next) {
		next = deadline
	}
	return max(time.Until(next), 0)
}

// look brings what is known to what storage holds, and says so if it cannot.
func (k *keeper[K, R]) look() (sight, error) {
	saw, err := k.loader.pull()
	if err != nil && k.loader.lease.Context().Err() == nil { // else the next lease is read at once
		k.r.failReading()
	}
	k.committer.isEmptied = k.r.kind.Unites && errors.Is(err, k.r.kind.Emptied)
	if err == nil && k.reading != Ready { // reading is possible again
		k.readable = time.Now()
		k.r.trouble.Store(&storage.ErrLockSlow)
		k.failures, k.retryAt = 0, time.Time{} // what waits need not wait for the next try
	}
	k.say(&k.reading, err)
	return saw, err
}

// askForLock begins to wait for the lock. It first makes sure that there is
// something to lock: taking the lock would make the folder of a storage that is
// gone. An operator can say what is to become of one that does not hold what is
// known here.
func (k *keeper[K, R]) askForLock() {
	_, err := k.look()
	_, repair, _ := k.r.queued()
	isGone := errors.Is(err, errGone) || errors.Is(err, k.r.kind.Emptied)
	decidable := isGone || errors.Is(err, k.r.kind.Diverged)
	if err != nil && !(repair && decidable) && !(isGone && k.r.kind.Unites) {
		k.failed(err)
		return
	}
	k.lock = beginLock(k.loader.lease, k.r)
}

// heedLock deals with what became of the lock. That of a lease which is not in use
// any more is given back.
func (k *keeper[K, R]) heedLock() {
	if k.lock == nil {
		return
	}
	if k.lock.h != k.loader.lease {
		k.lock.giveBack()
	}
	select {
	case <-k.lock.ended:
		k.lock = nil
	case err := <-k.lock.answer:
		released := k.lock.released
		switch {
		case err == nil && !released:
			k.write()
		case err != nil:
			k.lock = nil
			if !released {
				k.failed(err)
			}
		}
	default:
	}
}

// write writes all that waits, under the lock.
func (k *keeper[K, R]) write() {
	defer k.lock.giveBack()
	if !k.lock.h.Use() {
		return
	}
	defer k.lock.h.Done()
	begun := time.Now()
	reqs := k.r.take()
	left, err := k.committer.commit(reqs)
	k.r.putBack(left)
	if err != nil {
		k.failed(err)
		return
	}
	k.failures = 0
	k.r.trouble.Store(&storage.ErrLockSlow)
	k.writes(nil)
	// A storage that polls a held lock would never give it to another node while
	// this one takes it again at once.
	k.retryAt = time.Now().Add(min(time.Since(begun), 250*time.Millisecond))
}

// failed notes a failed attempt to write, and when to try again.
func (k *keeper[K, R]) failed(err error) {
	k.r.trouble.Store(&err)
	if k.failures++; errors.Is(err, storage.ErrLockSlow) {
		k.failures = 0 // it was waited for already
	}
	wait := min(25*time.Millisecond<<min(k.failures, 6), time.Second)
	k.retryAt = time.Now().Add(storage.Spread(wait, 0.5))
	isLasting := storage.IsLasting(err) || errors.Is(err, ErrDamaged) || errors.Is(err, k.r.kind.Diverged)
	if isLasting { // trying again soon is of no use
		for _, req := range k.r.take() {
			req.finish(nil, fmt.Errorf("%w: %w", ErrBusy, err))
		}
		k.writes(err)
	}
}

// writes notes how writing went. Nothing is reported while the cause is that
// storage cannot be read.
func (k *keeper[K, R]) writes(err error) {
	if err == nil || k.reading == Ready {
		k.say(&k.writing, err)
	}
}

// say reports once that storage is out of reach, and once that it is back.
func (k *keeper[K, R]) say(said *StorageState, err error) {
	now := Away
	switch {
	case err == nil:
		now = Ready
	case errors.Is(err, k.r.kind.Diverged):
		now = Diverged
	case errors.Is(err, k.r.kind.Emptied):
		now = Emptied
	}
	if now != *said && now != Ready {
		k.r.note(Event[R]{Kind: Unavailable, StorageState: now, Err: err})
	} else if now != *said {
		k.r.note(Event[R]{Kind: Recovered})
	}
	*said = now
	worst := k.reading
	if worst == Ready {
		worst = k.writing
	}
	k.r.storageState.Store(&worst)
}

// locking is one try to get the lock and, if that succeeds, the time until it is
// given back. It runs beside the keeper, which must not wait for either. The lock is
// asked for anew only once it has ended: giving back is tried several times, and
// would else take away the next one.
type locking[R any] struct {
	h        *storage.Lease[Host[R]]
	cancel   context.CancelFunc
	answer   chan error    // one; nil: the lock is held
	release  chan struct{} // closed when the lock is not needed any more
	released bool          // the keeper's
	ended    chan struct{} // closed once a lock that was held is given back
}

// beginLock asks for the lock of that lease; the answer comes over the channel.
func beginLock[K comparable, R any](h *storage.Lease[Host[R]], r *Registry[K, R]) *locking[R] {
	ctx, cancel := context.WithCancel(h.Context())
	l := &locking[R]{h: h, cancel: cancel, answer: make(chan error, 1), release: make(chan struct{}), ended: make(chan struct{})}
	r.work.Go(func() {
		defer r.poke()
		err := h.Lock(ctx, r.kind.Lock)
		if err == nil && h.Use() {
			defer h.Done() // Detach waits until the lock is given back: the storage may be gone after it
		}
		l.answer <- err
		if err != nil {
			return
		}
		r.poke()
		<-l.release
		h.UnlockSurely(r.ctx, r.kind.Lock)
		close(l.ended)
	})
	return l
}

// giveBack ends the need for the lock, whether it is held or still waited for.
func (l *locking[R]) giveBack() {
	if !l.released {
		l.released = true
		l.cancel()
		close(l.release)
	}
}

package account

import (
	"errors"
	"fmt"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// keeper is the one goroutine that deals with storage, from the first Attach to
// Close. All its state is its own.
type keeper struct {
	r *Registry
	h *lease // the newest

	head    *revision // what the accounts are of; nil: nothing is stored yet
	raw     []byte    // the revision record as it was read last; nil: it cannot be
	read    *revision // what that holds
	mend    bool      // the revision record must be written anew
	copyDue bool      // the copy is not yet what the revision record is
	damaged map[int]string
	said    map[string]bool // damaged records that were reported
	past    past
	fork    *fork     // what storage shows, if that must be joined with what is known
	staleAt time.Time // since when storage shows a revision of the past

	refreshAt time.Time
	recheckAt time.Time // of damaged records
	lapsed    time.Time // expiry is reported up to here
	unread    Standing  // an outage was reported: of reading
	readable  time.Time // since when it is over
	unwritten Standing  // and of writing

	lock     *locking // asked for, held or being given back; nil: none of these
	retryAt  time.Time
	failures int
	cause    error // of the last failure; until there is one, the lock

	garbage map[string]time.Time // records that nothing names, with when they may go
	sweepAt time.Time
	healAt  time.Time
}

func newKeeper(r *Registry) *keeper {
	return &keeper{
		r: r, damaged: map[int]string{}, said: map[string]bool{}, garbage: map[string]time.Time{},
		lapsed: r.now(), cause: storage.ErrLockSlow, unread: Ready, unwritten: Ready,
	}
}

// blame notes what stands in the way of what waits.
func (k *keeper) blame(cause error) {
	k.cause = cause
	k.r.trouble.Store(&cause)
}

func (k *keeper) run() {
	defer func() {
		if k.lock != nil {
			k.lock.giveBack()
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-k.r.ctx.Done():
			return
		case <-timer.C:
		case <-k.r.wake:
		}
		k.turn()
		k.r.events.Deliver(k.r.observer)
		timer.Reset(k.untilNext())
	}
}

// turn does what is due.
func (k *keeper) turn() {
	k.lapse()
	newest := k.r.leases.Newest()
	if newest != k.h {
		k.h, k.refreshAt, k.retryAt = newest, time.Time{}, time.Time{}
		k.r.beginReading()
	}
	k.heed()
	if k.r.expire(k.readable) > 0 {
		k.reportWriting(k.cause)
		k.failures, k.retryAt = 0, time.Time{} // the next request gets its tries
	}
	if k.h == nil || !k.h.HasStorage() {
		k.r.failReading()
		return
	}
	if !time.Now().Before(k.refreshAt) {
		saw, err := k.pull()
		k.reportReading(err)
		if err == nil && saw == current {
			k.heal()
		}
		k.refreshAt = time.Now().Add(storage.Spread(k.h.Host.Refresh, 0.1))
	}
	k.write()
}

// untilNext is how long the keeper may sleep if nothing wakes it.
func (k *keeper) untilNext() time.Duration {
	if k.h == nil || !k.h.HasStorage() {
		return DefaultRefresh
	}
	next := k.refreshAt
	switch {
	case k.lock == nil && k.pending():
		next = earlier(next, k.retryAt)
	}
	if n, _, deadline := k.r.queued(); n > 0 {
		next = earlier(next, deadline)
	}
	return max(time.Until(next), 0)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// heed deals with what became of the lock: all that waits is written once it is
// granted. That of a lease which is not in use any more is given back.
func (k *keeper) heed() {
	if k.lock == nil {
		return
	}
	if k.lock.h != k.h {
		k.lock.giveBack()
	}
	select {
	case <-k.lock.ended:
		k.lock = nil
	case err := <-k.lock.answer:
		released := k.lock.released
		switch {
		case err == nil && !released:
			k.granted()
		case err != nil:
			k.lock = nil
			if !released {
				k.failed(err)
			}
		}
	default:
	}
}

// write asks for the lock when there is something to write.
func (k *keeper) write() {
	if k.lock == nil && k.pending() && !time.Now().Before(k.retryAt) {
		k.ask()
	}
}

// pending reports whether there is something to write.
func (k *keeper) pending() bool {
	if n, _, _ := k.r.queued(); n > 0 {
		return true
	}
	return k.head != nil && (k.mend || k.copyDue || k.fork != nil || k.isOlder() || k.garbageDue())
}

// isOlder reports whether storage has shown a state of the past for long.
func (k *keeper) isOlder() bool {
	return !k.staleAt.IsZero() && time.Since(k.staleAt) >= staleLimit
}

// ask begins to wait for the lock. It first makes sure that there is something
// to lock: taking the lock would make the folder of a storage that is gone.
func (k *keeper) ask() {
	_, err := k.pull()
	_, repair, _ := k.r.queued()
	k.reportReading(err)
	if err != nil && !(repair && decidable(err)) {
		k.failed(err)
		return
	}
	k.lock = k.r.beginLock(k.h)
}

// decidable reports whether an operator can say what is to become of a storage that
// does not hold what is known here.
func decidable(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, ErrEmptied) || errors.Is(err, ErrDiverged)
}

// granted writes under the lock.
func (k *keeper) granted() {
	defer k.lock.giveBack()
	if !k.h.Use() {
		return
	}
	defer k.h.Done()
	begun := time.Now()
	reqs := k.r.take()
	left, err := k.commit(reqs)
	k.r.putBack(left)
	if err != nil {
		k.failed(err)
		return
	}
	k.failures = 0
	k.blame(storage.ErrLockSlow)
	k.reportWriting(nil)
	// A storage that polls a held lock would never give it to another node while
	// this one takes it again at once.
	k.retryAt = time.Now().Add(min(time.Since(begun), 250*time.Millisecond))
}

// failed notes a failed attempt, and when to try again.
func (k *keeper) failed(err error) {
	k.blame(err)
	if k.failures++; errors.Is(err, storage.ErrLockSlow) {
		k.failures = 0 // it was waited for already
	}
	wait := min(25*time.Millisecond<<min(k.failures, 6), time.Second)
	k.retryAt = time.Now().Add(storage.Spread(wait, 0.5))
	if lasting(err) {
		for _, req := range k.r.take() {
			req.fail(fmt.Errorf("%w: %w", ErrBusy, err))
		}
		k.reportWriting(err)
	}
}

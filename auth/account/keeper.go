package account

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// keeper is the one goroutine that deals with storage, from the first Attach to
// Close. All its state is its own.
type keeper struct {
	r *Registry
	h *hosting // the newest

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
	pulledAt  time.Time // when storage last confirmed what is known
	recheckAt time.Time // of damaged records
	lapsed    time.Time // expiry is reported up to here
	unread    Standing  // an outage was reported: of reading
	readable  time.Time // since when it is over
	unwritten Standing  // and of writing

	lock     *locking
	owed     *hosting // whose lock could not be given back yet
	owedTry  int
	owedAt   time.Time // of the next try
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
		lapsed: r.now(), cause: errLockSlow, unread: Ready, unwritten: Ready,
	}
}

// blame notes what stands in the way of what waits.
func (k *keeper) blame(cause error) {
	k.cause = cause
	k.r.trouble.Store(&cause)
}

func (k *keeper) run() {
	defer k.dropLock()
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
		k.r.deliver()
		timer.Reset(k.untilNext())
	}
}

// turn does what is due.
func (k *keeper) turn() {
	k.lapse()
	k.r.mu.Lock()
	newest := k.r.newest()
	k.r.mu.Unlock()
	if newest != k.h {
		k.dropLock()
		k.h, k.refreshAt, k.retryAt = newest, time.Time{}, time.Time{}
		k.r.beginReading()
	}
	if k.r.expire(k.readable) > 0 {
		k.reportWriting(k.cause)
		k.failures, k.retryAt = 0, time.Time{} // the next request gets its tries
	}
	if k.h == nil || k.h.host.Storage == nil {
		k.r.failReading()
		return
	}
	if !time.Now().Before(k.refreshAt) {
		saw, err := k.pull()
		k.reportReading(err)
		if err == nil && saw == current {
			k.heal()
		}
		k.refreshAt = time.Now().Add(spread(k.h.host.Refresh, 0.1))
	}
	k.write()
}

// untilNext is how long the keeper may sleep if nothing wakes it.
func (k *keeper) untilNext() time.Duration {
	if k.h == nil || k.h.host.Storage == nil {
		return DefaultRefresh
	}
	next := k.refreshAt
	switch {
	case k.owed != nil:
		next = earlier(next, k.owedAt)
	case k.lock != nil:
		next = earlier(next, k.lock.until)
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

// write drives the lock: ask for it when there is something to write, and write
// all that waits once it is granted.
func (k *keeper) write() {
	if k.lock != nil {
		select {
		case err := <-k.lock.answer:
			k.granted(err)
		default:
			if !time.Now().Before(k.lock.until) && k.lock.giveUp() {
				k.lock = nil
				k.failed(errLockSlow)
			}
		}
	}
	k.giveBack()
	if k.lock == nil && k.owed == nil && k.pending() && !time.Now().Before(k.retryAt) {
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
	begun := time.Now()
	_, err := k.pull()
	trip := time.Since(begun)
	_, repair, _ := k.r.queued()
	k.reportReading(err)
	if err != nil && !(repair && decidable(err)) {
		k.failed(err)
		return
	}
	if k.lock, err = beginLock(k.h, trip, k.r.poke); err != nil {
		k.failed(err)
	}
}

// decidable reports whether an operator can say what is to become of a storage that
// does not hold what is known here.
func decidable(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, ErrEmptied) || errors.Is(err, ErrDiverged)
}

// granted deals with the lock's answer.
func (k *keeper) granted(err error) {
	h := k.lock.h
	k.lock = nil
	if err != nil {
		k.failed(err)
		return
	}
	k.owed, k.owedTry, k.owedAt = h, 0, time.Time{}
	if !k.r.use(h) {
		k.giveBack()
		return
	}
	defer h.using.Done()
	defer k.giveBack()
	begun := time.Now()
	reqs := k.r.take()
	left, err := k.commit(reqs)
	k.r.putBack(left)
	if err != nil {
		k.failed(err)
		return
	}
	k.failures = 0
	k.blame(errLockSlow)
	k.reportWriting(nil)
	// A storage that polls a held lock would never give it to another node while
	// this one takes it again at once.
	k.retryAt = time.Now().Add(min(time.Since(begun), 250*time.Millisecond))
}

// failed notes a failed attempt, and when to try again.
func (k *keeper) failed(err error) {
	k.blame(err)
	if k.failures++; errors.Is(err, errLockSlow) {
		k.failures = 0 // it was waited for already
	}
	wait := min(25*time.Millisecond<<min(k.failures, 6), time.Second)
	k.retryAt = time.Now().Add(spread(wait, 0.5))
	if lasting(err) {
		for _, req := range k.r.take() {
			req.fail(fmt.Errorf("%w: %w", ErrBusy, err))
		}
		k.reportWriting(err)
	}
}

// use keeps a host from being detached; false if it already is.
func (r *Registry) use(h *hosting) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Contains(r.hosts, h) {
		return false
	}
	h.using.Add(1)
	return true
}

// spread varies d by up to that part either way.
func spread(d time.Duration, part float64) time.Duration {
	return time.Duration(float64(d) * (1 - part + 2*part*rand.Float64())) //nolint:gosec // not a secret
}

package issuer

import (
	"math/rand/v2"
	"time"
)

const (
	fileLook      = 5 * time.Second // between two looks at a key set file
	firstRetry    = 5 * time.Second
	keylessRetry  = time.Minute // the longest back-off while there are no keys
	idleUntilWake = time.Hour
)

// background refreshes keys and metadata and keeps them in storage, from the
// first Attach to Close.
func (e *Engine) background() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-timer.C:
			e.dropAbsent()
			e.tick()
		case <-e.wake:
		}
		e.deliver()
		e.keep()
		timer.Reset(e.untilNext())
	}
}

// tick fetches if the time has come, or the file has changed.
func (e *Engine) tick() {
	if e.cfg.JWKSFile != "" {
		if e.fileSettled() {
			return
		}
	} else if e.refreshed() {
		return
	}
	_ = e.renewMetadata(e.ctx) // warned about; the keys may be had all the same
	_, _ = e.join(forRefresh)  // fails only after Close
}

// refreshed reports whether the next refresh is still ahead.
func (e *Engine) refreshed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now().Before(e.keys.next)
}

// untilNext is how long the background may sleep.
func (e *Engine) untilNext() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.flight != nil {
		return idleUntilWake // its landing wakes
	}
	at := e.now()
	wait := e.keys.next.Sub(at)
	if e.cfg.JWKSFile != "" {
		wait = min(wait, fileLook)
	}
	if due := e.flaps.due(); !due.IsZero() {
		wait = min(wait, due.Sub(at))
	}
	if e.record.retryAt.After(at) {
		wait = min(wait, e.record.retryAt.Sub(at))
	}
	return max(wait, 0)
}

// interval is the time to the refresh after a success: the configured one, or
// what the issuer's Cache-Control says if that is sooner (negative: it says
// nothing), spread by a tenth so that many nodes do not ask together.
// While replicas of the issuer differ, it is asked as often as may be.
func (e *Engine) interval(maxAge time.Duration, at time.Time) time.Duration {
	d := e.cfg.Refresh
	if maxAge >= 0 {
		d = min(d, maxAge)
	}
	if e.flaps.flapping(at) {
		d = MinRefresh
	}
	return max(spread(max(d, MinRefresh)), MinRefresh)
}

// retryLater sets the time of the refresh after a failure; e.mu is held. A
// failure that callers met brings the first retry forward, and then leaves the
// back-off alone.
func (e *Engine) retryLater(why reason, at time.Time) {
	if e.keys.failures > 0 && (why == forDemand || why == forLack) && at.Before(e.keys.next) {
		return
	}
	e.keys.failures++
	longest := e.cfg.Refresh
	if e.Set() == nil {
		longest = min(longest, keylessRetry)
	}
	e.keys.next = at.Add(max(spread(backoff(e.keys.failures, longest)), e.keys.retryAfter))
}

// backoff doubles from firstRetry to longest.
func backoff(failures int, longest time.Duration) time.Duration {
	d := firstRetry
	for i := 1; i < failures && d < longest; i++ {
		d *= 2
	}
	return min(d, longest)
}

// spread varies d by up to a tenth either way.
func spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

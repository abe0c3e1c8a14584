package issuer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	flightLimit = 15 * time.Second      // discovery at two places and the key set
	waitLimit   = 5 * time.Second       // of one caller
	answerTime  = time.Second           // more, where a caller waited for its turn
	holdOff     = 5 * time.Second       // between two fetches on demand, on average
	demandBurst = 3                     // fetches on demand in a row
	fileHoldOff = 20 * time.Millisecond // between two readings of a file on demand

	maxRetryAfter = time.Minute // the longest that an issuer may ask to be left alone
)

// reason is why keys are fetched.
type reason int

const (
	forLack       reason = iota // there were none to begin with
	forRefresh                  // the time had come
	forDemand                   // a key was not there
	forAnOperator               // somebody asked
)

// flight is one fetch of the key set, shared by all who need it. It ends with
// the engine, never with who started it.
type flight struct {
	reason reason
	number uint64
	began  time.Time
	landed chan struct{}
	err    error // readable once landed
}

// fetched is what a flight brings.
type fetched struct {
	set      *Set
	warnings []Warning
	maxAge   time.Duration
	stamp    stamp
}

// begin starts a flight; e.mu is held, none is in the air, the engine is open.
func (e *Engine) begin(why reason) *flight {
	if why == forDemand {
		e.demand.Allow()
	}
	e.begun++
	f := &flight{reason: why, number: e.begun, began: e.now(), landed: make(chan struct{})}
	e.flight = f
	e.work.Go(func() { e.fly(f) })
	return f
}

// join returns the flight in the air, or begins one.
func (e *Engine) join(why reason) (*flight, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errClosed
	}
	if e.flight != nil {
		return e.flight, nil
	}
	return e.begin(why), nil
}

func (e *Engine) fly(f *flight) {
	ctx, cancel := context.WithTimeout(e.ctx, flightLimit)
	defer cancel()
	got, err := e.fetchKeys(ctx)
	e.land(f, got, err)
	e.deliver()
	e.poke()
}

// fetchKeys gets the key set from wherever the configuration says.
func (e *Engine) fetchKeys(ctx context.Context) (*fetched, error) {
	if e.cfg.JWKSFile != "" {
		return e.readKeys()
	}
	address, err := e.keyAddress(ctx)
	if err != nil {
		return nil, err
	}
	u, err := e.cfg.parseURL(address)
	if err == nil && e.cfg.discovers() {
		err = e.cfg.checkNamed(address) // one that was kept may be of another version
	}
	if err != nil {
		return nil, fmt.Errorf("the address of the key set %w", err)
	}
	doc, err := e.get(ctx, u)
	if err != nil {
		return nil, err
	}
	got, err := usable(doc.body)
	if err != nil {
		return nil, fmt.Errorf("key set of %s: %w", place(u), err)
	}
	got.maxAge = doc.maxAge
	return got, nil
}

// usable parses a set that must hold at least one key: an empty one would turn
// everybody away, and is more likely a fault than a wish.
func usable(data []byte) (*fetched, error) {
	set, warnings, err := ParseSet(data)
	if err != nil {
		return nil, err
	}
	if len(set.keys) == 0 {
		return nil, noKeys(warnings)
	}
	return &fetched{set: set, warnings: warnings, maxAge: -1}, nil
}

func noKeys(warnings []Warning) error {
	if len(warnings) == 0 {
		return errors.New("it has no key for signatures")
	}
	return fmt.Errorf("it has no usable key: %s", warnings[0])
}

// land takes in what a flight brought and lets its waiters go.
func (e *Engine) land(f *flight, got *fetched, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer close(f.landed)
	e.flight = nil
	now := e.now()
	switch {
	case e.closed:
		f.err = errClosed
	case err != nil:
		f.err = err
		e.failed(f, got, err, now)
	default:
		e.succeeded(f, got, now)
	}
}

func (e *Engine) succeeded(f *flight, got *fetched, now time.Time) {
	e.answered = f.number
	added, removed := e.publish(got.set, now, f.reason == forAnOperator)
	outage := e.keys.failure != nil
	e.keys.failures, e.keys.failure, e.keys.restored = 0, nil, false
	e.keys.ignored = got.warnings
	e.keys.retryAfter = 0
	e.keys.next = now.Add(e.interval(got.maxAge, now))
	e.file = fileState{good: got.stamp, tried: got.stamp}
	e.note(Event{Kind: FetchSucceeded})
	if outage {
		e.note(Event{Kind: Recovered})
	}
	if len(added)+len(removed) > 0 {
		e.note(Event{Kind: KeysChanged, Added: added, Removed: removed})
		e.record.changed = true
	}
	e.warn("stale", nil)
	e.warn("flapping", e.flaps.complaint(now))
	e.warn("costly", got.set.costly())
	e.warn("ignored", ignoredKeys(got.warnings))
	e.warn("metadata", e.metadata.complaint())
}

func (e *Engine) failed(f *flight, got *fetched, err error, now time.Time) {
	first := e.keys.failure == nil
	e.keys.failure, e.keys.failedAt, e.keys.retryAfter = err, now, retryAfter(err)
	if got != nil {
		e.file.tried = got.stamp
	}
	e.note(Event{Kind: FetchFailed, Err: err})
	if first {
		e.note(Event{Kind: Unavailable, Err: err})
	}
	if e.set.Load() != nil && !e.trust.fresh() {
		e.warn("stale", fmt.Errorf("the last good keys are older than max_stale (%s) and serve no more", e.cfg.MaxStale))
	}
	e.retryLater(f.reason, now)
}

// ignoredKeys sums up the keys that were left out.
func ignoredKeys(warnings []Warning) error {
	switch len(warnings) {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%s and is ignored", warnings[0])
	}
	return fmt.Errorf("%s and is ignored, like %d more", warnings[0], len(warnings)-1)
}

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

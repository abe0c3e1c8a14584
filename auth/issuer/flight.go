package issuer

import (
	"context"
	"errors"
	"fmt"
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

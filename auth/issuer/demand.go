package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxWaiters bounds the callers of one engine that wait at a time.
const maxWaiters = 1000

// ErrUnknownKey: the issuer was asked and has no such key, or was asked on
// demand less than 5 seconds ago and is not asked again.
var ErrUnknownKey = errors.New("the issuer has no such key")

// UnavailableError: the issuer could not be asked. It is about now, not about
// the caller's key.
type UnavailableError struct {
	// RetryAfter is when asking again makes sense; at least a second.
	RetryAfter time.Duration
	// Err is the cause, for logs. It holds no remote body.
	Err error
}

// Error describes the cause.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the issuer's keys cannot be had now: %v", e.Err)
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

var (
	errTooMany  = fmt.Errorf("more than %d requests wait for them", maxWaiters)
	errTooSlow  = fmt.Errorf("the issuer has not answered within %s", waitLimit)
	errNotMetIn = fmt.Errorf("no answer within %s", waitLimit)
)

// Await returns the current set as soon as want holds for it: at once if it
// does already, else after a fetch that all callers share, each waiting 5
// seconds at most or until its context ends. It returns [ErrUnknownKey] if the
// issuer answered and want still does not hold, and an [*UnavailableError] if
// it did not answer. want is called without a lock, perhaps several times, and
// never with nil.
func (e *Engine) Await(ctx context.Context, want func(*Set) bool) (*Set, error) {
	seen := e.Set()
	if seen != nil && want(seen) {
		return seen, nil
	}
	w := waiter{engine: e}
	landed, kept, err := w.next(seen)
	if err != nil {
		return nil, err // the answer to a flood: before anything is made for waiting
	}
	if e.waiters.Add(1) > maxWaiters {
		e.waiters.Add(-1)
		return nil, unavailable(time.Second, errTooMany)
	}
	defer e.waiters.Add(-1)
	ctx, cancel := context.WithTimeoutCause(ctx, waitLimit, errNotMetIn)
	defer cancel()
	for {
		select {
		case <-landed:
		case <-kept:
		case <-ctx.Done():
			return nil, unavailable(holdOff, context.Cause(ctx))
		}
		if seen = e.Set(); seen != nil && want(seen) {
			return seen, nil
		}
		if landed, kept, err = w.next(seen); err != nil {
			return nil, err
		}
	}
}

// waiter is one caller of Await.
type waiter struct {
	engine *Engine
	came   bool
	before uint64  // flights begun before it came
	flight *flight // the one it waits for
}

// now is a channel that is ready.
var now = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// next decides what to wait for, after seen did not satisfy: a landing, the set
// kept in storage, or nothing any more.
func (w *waiter) next(seen *Set) (landed, kept <-chan struct{}, err error) {
	e := w.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if !w.came {
		w.came, w.before = true, e.begun
	}
	if e.closed {
		return nil, nil, unavailable(time.Second, errClosed)
	}
	if e.Set() != seen {
		return now, nil, nil // something landed since the caller looked
	}
	err = w.verdict(seen)
	if err != nil && e.kept != nil {
		return nil, e.kept, nil // what storage holds may still do
	}
	if err != nil {
		return nil, nil, err
	}
	return w.flight.landed, e.kept, nil
}

// verdict makes sure that the caller waits for a flight, or says why there is
// none to wait for; e.mu is held.
func (w *waiter) verdict(seen *Set) error {
	e, at := w.engine, w.engine.now()
	if f := w.flight; f != nil && f != e.flight {
		switch {
		case f.err != nil:
			return unavailable(e.holdLeft(at), f.err)
		case f.reason == forDemand || f.number > w.before:
			return ErrUnknownKey
		}
		// A fetch of another purpose, begun before the caller came, may have left
		// before the key was published.
		w.flight = nil
	}
	switch {
	case e.flight != nil && at.Sub(e.flight.began) >= waitLimit:
		return unavailable(time.Second, errTooSlow)
	case e.flight != nil:
		w.flight = e.flight
	case e.holding(at):
		return unavailable(e.holdLeft(at), e.keys.failure)
	case seen == nil:
		w.flight = e.begin(forLack)
	case e.spent(at):
		return ErrUnknownKey
	default:
		w.flight = e.begin(forDemand)
	}
	return nil
}

// Suspect reports that a signature did not verify under a key that the set
// holds: perhaps the key was replaced under its old id. It starts a fetch in
// the background unless one was made in the last 5 seconds, and never waits.
func (e *Engine) Suspect() {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.now()
	if e.closed || e.flight != nil || e.holding(at) || e.spent(at) {
		return
	}
	e.begin(forDemand)
}

// Refresh fetches metadata and keys now, or joins the fetch that is under way,
// and returns its error. It waits until ctx ends.
func (e *Engine) Refresh(ctx context.Context) error {
	metadataErr := e.renewMetadata(ctx)
	f, err := e.join(forAnOperator)
	if err != nil {
		return err
	}
	select {
	case <-f.landed:
		return errors.Join(metadataErr, f.err)
	case <-ctx.Done():
		return fmt.Errorf("waiting for the fetch: %w", context.Cause(ctx))
	}
}

// spent reports whether a fetch on demand landed within the last 5 seconds.
func (e *Engine) spent(at time.Time) bool {
	return !e.keys.demandedAt.IsZero() && at.Sub(e.keys.demandedAt) < holdOff
}

// holding reports whether the last fetch failed, within the last 5 seconds.
func (e *Engine) holding(at time.Time) bool {
	return e.keys.failure != nil && at.Sub(e.keys.failedAt) < holdOff
}

// holdLeft is how long a failure is still held against the issuer.
func (e *Engine) holdLeft(at time.Time) time.Duration {
	return holdOff - at.Sub(e.keys.failedAt)
}

func unavailable(after time.Duration, cause error) error {
	after = min(max(after, time.Second), holdOff)
	after = (after + time.Second - 1).Truncate(time.Second) // Retry-After counts whole seconds
	return &UnavailableError{RetryAfter: after, Err: cause}
}

package issuer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// maxWaiters bounds the callers of one engine that wait at a time.
const maxWaiters = 1000

// ErrUnknownKey: the issuer was asked after the caller came, and has no such key.
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
	errTooMany  = fmt.Errorf("%d requests wait for them already", maxWaiters)
	errTooSlow  = fmt.Errorf("the issuer has not answered within %s", waitLimit)
	errNotMetIn = fmt.Errorf("no answer within %s", waitLimit)
)

// Await returns the current set as soon as want holds for it: at once if it
// does already, else after a fetch that all callers share. It returns
// [ErrUnknownKey] if a fetch that began after the caller came brought no set for
// which want holds, and an [*UnavailableError] if there was none in time: the
// issuer is asked three times in a row, and then once in 5 seconds, however many
// ask for keys that there are not. A caller waits 5 seconds at most, and one more
// where it had to wait for its turn, or until its context ends. want is called
// without a lock, perhaps several times, and never with nil.
func (e *Engine) Await(ctx context.Context, want func(*Set) bool) (*Set, error) {
	seen := e.Set()
	if seen != nil && want(seen) {
		return seen, nil
	}
	if e.waiters.Add(1) > maxWaiters {
		e.waiters.Add(-1)
		return nil, unavailable(time.Second, errTooMany)
	}
	defer e.waiters.Add(-1)
	w := waiter{engine: e, began: time.Now(), limit: time.NewTimer(waitLimit)}
	defer w.limit.Stop()
	for {
		s, err := w.next(seen)
		if errors.Is(err, ErrUnknownKey) {
			w.giveWay(ctx)
		}
		if err != nil {
			return nil, err
		}
		if err := w.wait(ctx, s); err != nil {
			return nil, err
		}
		if seen = e.Set(); seen != nil && want(seen) {
			return seen, nil
		}
	}
}

// waiter is one caller of Await.
type waiter struct {
	engine *Engine
	began  time.Time
	limit  *time.Timer
	turned bool // it had to wait for its turn
	came   bool
	before uint64  // flights begun before it came
	flight *flight // the one it waits for
}

// step is what a caller waits for next.
type step struct {
	landed <-chan struct{} // its flight
	kept   <-chan struct{} // the set kept in storage
	turn   time.Duration   // until the issuer may be asked again; 0: no matter
}

// wait waits for the first of what there is to wait for.
func (w *waiter) wait(ctx context.Context, s step) error {
	var turn <-chan time.Time
	if s.turn > 0 {
		timer := time.NewTimer(s.turn)
		defer timer.Stop()
		turn = timer.C
	}
	if s.turn > 0 && !w.turned {
		w.turned = true
		w.limit.Reset(waitLimit + answerTime - time.Since(w.began))
	}
	select {
	case <-s.landed:
	case <-s.kept:
	case <-turn:
	case <-w.limit.C:
		return unavailable(holdOff, errNotMetIn)
	case <-ctx.Done():
		return unavailable(holdOff, context.Cause(ctx))
	}
	return nil
}

// giveWay spreads the refusals of those who waited together, half a millisecond for
// each, so that callers whose keys are known do not queue behind all of them at once.
func (w *waiter) giveWay(ctx context.Context) {
	others := w.engine.waiters.Load() - 1
	if others <= 0 {
		return
	}
	select {
	case <-time.After(rand.N(time.Duration(others) * time.Millisecond / 2)):
	case <-ctx.Done():
	case <-w.engine.ctx.Done():
	}
}

// now is a channel that is ready.
var now = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// next decides what to wait for, after seen did not satisfy: a landing, the set
// kept in storage, the next turn, or nothing any more.
func (w *waiter) next(seen *Set) (step, error) {
	e := w.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if !w.came {
		w.came, w.before = true, e.begun
	}
	if e.closed {
		return step{}, unavailable(time.Second, errClosed)
	}
	if e.Set() != seen {
		return step{landed: now}, nil // something landed since the caller looked
	}
	s, err := w.verdict(seen)
	if err != nil && e.kept != nil {
		return step{kept: e.kept}, nil // what storage holds may still do
	}
	s.kept = e.kept
	return s, err
}

// verdict makes sure that the caller waits for a flight or its turn, or says why
// there is none to wait for; e.mu is held.
func (w *waiter) verdict(seen *Set) (step, error) {
	e, at := w.engine, w.engine.now()
	if f := w.flight; f != nil && f != e.flight && f.err != nil {
		return step{}, unavailable(e.holdLeft(at), f.err)
	}
	// A fetch begun before the caller came may have left before the key was
	// published, and proves nothing.
	if e.answered > w.before {
		return step{}, ErrUnknownKey
	}
	switch turn := e.turn(); {
	case e.flight != nil && at.Sub(e.flight.began) >= waitLimit:
		return step{}, unavailable(time.Second, errTooSlow)
	case e.flight != nil:
		w.flight = e.flight
	case e.holding(at):
		return step{}, unavailable(e.holdLeft(at), e.keys.failure)
	case seen == nil:
		w.flight = e.begin(forLack)
	case turn > 0:
		return step{turn: turn}, nil
	default:
		w.flight = e.begin(forDemand)
	}
	return step{landed: w.flight.landed}, nil
}

// Suspect reports that a signature did not verify under a key that the set
// holds: perhaps the key was replaced under its old id. It starts a fetch in
// the background if the issuer may be asked now, and never waits.
func (e *Engine) Suspect() {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.now()
	if e.closed || e.flight != nil || e.holding(at) || e.turn() > 0 {
		return
	}
	e.begin(forDemand)
}

// Refresh fetches metadata and keys now and returns the error. A key that the
// issuer does not publish any more is gone then, whatever [Engine] does to bridge
// differences between an issuer's replicas. It waits until ctx ends.
func (e *Engine) Refresh(ctx context.Context) error {
	metadataErr := e.renewMetadata(ctx)
	for {
		f, err := e.join(forAnOperator)
		if err != nil {
			return err
		}
		select {
		case <-f.landed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the fetch: %w", context.Cause(ctx))
		}
		if f.reason == forAnOperator {
			return errors.Join(metadataErr, f.err)
		}
	}
}

// turn is how long it is until the issuer may be asked on demand; 0: now.
func (e *Engine) turn() time.Duration {
	missing := 1 - e.demand.Tokens()
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing/float64(e.demand.Limit())*float64(time.Second)) + time.Millisecond // never too early by rounding
}

// holding reports whether the last fetch failed, within the last 5 seconds or the
// time that the issuer asked for.
func (e *Engine) holding(at time.Time) bool { return e.keys.failure != nil && e.holdLeft(at) > 0 }

// holdLeft is how long a failure is still held against the issuer.
func (e *Engine) holdLeft(at time.Time) time.Duration {
	return max(holdOff, e.keys.retryAfter) - at.Sub(e.keys.failedAt)
}

func unavailable(after time.Duration, cause error) error {
	after = min(max(after, time.Second), maxRetryAfter)
	after = (after + time.Second - 1).Truncate(time.Second) // Retry-After counts whole seconds
	return &UnavailableError{RetryAfter: after, Err: cause}
}

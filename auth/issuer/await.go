package issuer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

const (
	maxWaiters  = 1000                  // the callers of one engine that wait at a time
	waitLimit   = 5 * time.Second       // of one caller
	answerTime  = time.Second           // on top, if a caller had to wait for its turn
	holdOff     = 5 * time.Second       // between two fetches on demand, on average
	demandBurst = 3                     // fetches on demand in a row
	fileHoldOff = 20 * time.Millisecond // between two readings of a file on demand
)

var (
	// ErrUnknownKey: the issuer was asked after the caller came, and has no such key.
	ErrUnknownKey = errors.New("the issuer has no such key")
	// ErrWrongSignature: the issuer has a key of the id that was named, and it did not
	// sign.
	ErrWrongSignature = errors.New("the issuer's key of that id did not sign it")
)

// UnavailableError: the issuer could not be asked. It says nothing about the
// caller's key.
type UnavailableError struct {
	// RetryAfter is when asking again makes sense; at least a second.
	RetryAfter time.Duration
	// Err is the cause, for logs. It holds no remote body.
	Err error
}

// Error describes the cause.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the issuer's keys cannot be fetched now: %v", e.Err)
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

var (
	errTooMany  = fmt.Errorf("%d requests wait for them already", maxWaiters)
	errTooSlow  = fmt.Errorf("the issuer has not answered within %s", waitLimit)
	errNoAnswer = fmt.Errorf("no answer within %s", waitLimit)
)

// Await returns the current set as soon as want holds for it: at once if it
// does already, else after a fetch that all callers share. It returns
// [ErrUnknownKey] if a fetch that began after the caller came brought no set for
// which want holds, and an [*UnavailableError] if there was none in time: the
// issuer is asked three times in a row, and then once in 5 seconds, however many
// ask for keys that do not exist. A caller waits 5 seconds at most, and one more
// if it had to wait for its turn, or until its context ends. want is called
// without a lock, perhaps several times, and never with nil.
func (e *Engine) Await(ctx context.Context, want func(*JWKS) bool) (*JWKS, error) {
	seen := e.JWKS()
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
		err := w.next(seen)
		if errors.Is(err, ErrUnknownKey) {
			w.giveWay(ctx)
		}
		if err != nil {
			return nil, err
		}
		if err := w.wait(ctx); err != nil {
			return nil, err
		}
		if seen = e.JWKS(); seen != nil && want(seen) {
			return seen, nil
		}
	}
}

// Keys are an issuer's: an [*Engine].
type Keys interface {
	JWKS() *JWKS
	Await(ctx context.Context, want func(*JWKS) bool) (*JWKS, error)
	Suspect()
}

// FindSigner finds the issuer's key that signed something, by what its header says of
// the key. try gives the one of some keys, perhaps of none, under which the signature
// holds, or nil; its error ends the search.
//
// If the key id is not known, or is left out and no key signed, it waits once for the
// issuer's current set. What fails under a known key id does not wait
// ([ErrWrongSignature]), but has the set fetched in the background in case the key was
// replaced under its id. The other errors are those of [Engine.Await];
// [ErrUnknownKey] is also that no key of the current set signed. tried are the keys
// that were tried last.
func FindSigner(ctx context.Context, keys Keys, hint Hint, try func([]*Key) (*Key, error)) (signer *Key, tried Choice, err error) {
	before := keys.JWKS()
	tried = before.Choose(hint)
	if signer, err = try(tried.Keys); signer != nil || err != nil {
		return signer, tried, err
	}
	if tried.Known {
		keys.Suspect()
		return nil, tried, ErrWrongSignature
	}
	current, err := keys.Await(ctx, func(s *JWKS) bool {
		choice := s.Choose(hint)
		return s != before && (choice.Known || len(choice.Keys) > 0)
	})
	if err != nil {
		return nil, tried, err
	}
	tried = current.Choose(hint)
	if signer, err = try(tried.Keys); signer == nil && err == nil {
		err = ErrUnknownKey
	}
	return signer, tried, err
}

// SignedBy gives the first of the keys that is trusted and under which the signature of
// a compact JWS holds, or nil: what [FindSigner] tries where nothing else is asked.
func SignedBy(keys []*Key, hint Hint, parts jose.Compact) *Key {
	for _, key := range keys {
		if key.Trusted() && jose.Verify(hint.Algorithm, key.Public(), parts.Signed, parts.Signature) {
			return key
		}
	}
	return nil
}

// waiter is one caller of Await.
type waiter struct {
	engine *Engine
	began  time.Time
	limit  *time.Timer
	turned bool // it had to wait for its turn
	came   bool
	before uint64 // fetches begun before it came
	fetch  *fetch // the last one it waited for

	// What it waits for next, whichever comes first.
	done <-chan struct{} // the end of its fetch
	kept <-chan struct{} // the reading of the set kept in storage
	turn time.Duration   // until the issuer may be asked again; 0: it does not wait for that
}

// wait waits for the first of what there is to wait for.
func (w *waiter) wait(ctx context.Context) error {
	var turn <-chan time.Time
	if w.turn > 0 {
		timer := time.NewTimer(w.turn)
		defer timer.Stop()
		turn = timer.C
	}
	if w.turn > 0 && !w.turned {
		w.turned = true
		w.limit.Reset(waitLimit + answerTime - time.Since(w.began))
	}
	select {
	case <-w.done:
	case <-w.kept:
	case <-turn:
	case <-w.limit.C:
		return unavailable(holdOff, errNoAnswer)
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

// next decides what to wait for because seen does not do: the end of a fetch, the
// set kept in storage, or the next turn. An error: there is nothing to wait for.
func (w *waiter) next(seen *JWKS) error {
	e := w.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if !w.came {
		w.came, w.before = true, e.begun
	}
	w.done, w.kept, w.turn = nil, e.restoring, 0
	switch {
	case e.closed:
		return unavailable(time.Second, errClosed)
	case e.JWKS() != seen:
		w.done = ready // the set has changed since the caller looked
		return nil
	}
	err := w.joinOrRefuse(seen)
	if e.restoring != nil {
		return nil // what storage holds may still do
	}
	return err
}

// ready is a channel that is always ready.
var ready = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// joinOrRefuse makes sure that the caller waits for a fetch or its turn, or says
// why there is none to wait for; e.mu is held.
func (w *waiter) joinOrRefuse(seen *JWKS) error {
	e, at := w.engine, w.engine.now()
	if f := w.fetch; f != nil && f != e.fetching && f.err != nil {
		return unavailable(e.holdLeft(at), f.err)
	}
	// A fetch that began before the caller came may have been answered before the
	// key was published, and proves nothing.
	if e.answered > w.before {
		return ErrUnknownKey
	}
	switch turn := e.turn(); {
	case e.fetching != nil && at.Sub(e.fetching.began) >= waitLimit:
		return unavailable(time.Second, errTooSlow)
	case e.fetching != nil:
		w.fetch = e.fetching
	case e.holdLeft(at) > 0:
		return unavailable(e.holdLeft(at), e.keys.failure)
	case seen == nil:
		w.fetch = e.startFetch(forLack)
	case turn > 0:
		w.turn = turn
		return nil
	default:
		w.fetch = e.startFetch(forDemand)
	}
	w.done = w.fetch.done
	return nil
}

// Suspect reports that a signature did not verify under a key that the set
// holds: perhaps the key was replaced under its old id. It starts a fetch in
// the background if the issuer may be asked now, and never waits.
func (e *Engine) Suspect() {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.now()
	if e.closed || e.fetching != nil || e.holdLeft(at) > 0 || e.turn() > 0 {
		return
	}
	e.startFetch(forDemand)
}

// Refresh fetches metadata and keys now and returns the error. A key that the
// issuer does not publish any more is no longer used then, not even to bridge
// differences between the issuer's replicas. It waits until ctx ends.
func (e *Engine) Refresh(ctx context.Context) error {
	metadataErr := e.renewMetadata(ctx)
	for {
		f, err := e.joinFetch(forAnOperator)
		if err != nil {
			return err
		}
		select {
		case <-f.done:
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

// holdLeft is for how long the issuer is still not asked because the last fetch
// failed: 5 seconds, or the time that it asked for. Zero or less: it may be asked.
func (e *Engine) holdLeft(at time.Time) time.Duration {
	if e.keys.failure == nil {
		return 0
	}
	return max(holdOff, e.keys.retryAfter) - at.Sub(e.keys.failedAt)
}

func unavailable(after time.Duration, cause error) error {
	after = min(max(after, time.Second), maxRetryAfter)
	after = (after + time.Second - 1).Truncate(time.Second) // Retry-After counts whole seconds
	return &UnavailableError{RetryAfter: after, Err: cause}
}

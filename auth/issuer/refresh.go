package issuer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

const (
	fetchAllLimit = 15 * time.Second // discovery at two places and the key set
	firstRetry    = 5 * time.Second
	keylessRetry  = time.Minute // the longest back-off while there are no keys
	idleUntilWake = time.Hour
	spread        = 0.1 // of a time, either way, so that many nodes do not ask together
)

// reason is why keys are fetched.
type reason int

const (
	forLack       reason = iota // there were none to begin with
	forRefresh                  // the time had come
	forDemand                   // a key was not there
	forAnOperator               // somebody asked
)

// fetch is one fetch of the key set or of the metadata, shared by all who need it.
// It ends with the engine, never with who started it.
type fetch struct {
	reason reason
	number uint64
	began  time.Time
	done   chan struct{}
	err    error // readable once done

	// What a fetch of the key set brought, until done for its goroutine only.
	jwks     *JWKS
	warnings []string
	maxAge   time.Duration // as Cache-Control says; negative: it says nothing
	file     os.FileInfo
}

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
			e.mu.Lock()
			due := !e.now().Before(e.keys.next)
			e.mu.Unlock()
			if due || e.cfg.JWKSFile != "" && !e.fileUnchanged() {
				_ = e.renewMetadata(e.ctx)     // it is warned about, and the keys may still be there
				_, _ = e.joinFetch(forRefresh) // fails only after Close
			}
		case <-e.wake:
		}
		e.deliver()
		e.keep()
		timer.Reset(e.untilNext())
	}
}

// poke wakes the background to look at what changed.
func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// untilNext is how long the background may sleep.
func (e *Engine) untilNext() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fetching != nil {
		return idleUntilWake // its end wakes
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

// joinFetch returns the fetch of keys under way, or starts one.
func (e *Engine) joinFetch(why reason) (*fetch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, errClosed
	}
	if e.fetching != nil {
		return e.fetching, nil
	}
	return e.startFetch(why), nil
}

// startFetch starts a fetch of keys; e.mu is held, none is under way, the engine is
// open. What it brings is taken in before its waiters go on.
func (e *Engine) startFetch(why reason) *fetch {
	if why == forDemand {
		e.demand.Allow()
	}
	e.begun++
	f := &fetch{reason: why, number: e.begun, began: e.now(), done: make(chan struct{}), maxAge: -1}
	e.fetching = f
	e.work.Go(func() {
		ctx, cancel := context.WithTimeout(e.ctx, fetchAllLimit)
		defer cancel()
		err := e.fetchKeys(ctx, f)
		e.mu.Lock()
		e.fetching = nil
		switch now := e.now(); {
		case e.closed:
			f.err = errClosed
		case err != nil:
			f.err = err
			e.fetchFailed(f, now)
		default:
			e.fetchSucceeded(f, now)
		}
		close(f.done)
		e.mu.Unlock()
		e.deliver()
		e.poke()
	})
	return f
}

// fetchSucceeded takes in what a fetch brought. The next refresh is after the
// configured time, or sooner if the issuer's Cache-Control or bundle says so; while replicas of
// the issuer differ, it is as soon as allowed.
func (e *Engine) fetchSucceeded(f *fetch, now time.Time) {
	e.answered = f.number
	added, removed := e.publish(f.jwks, now, f.reason == forAnOperator)
	outage := e.keys.failure != nil
	e.keys.failures, e.keys.failure, e.keys.restored = 0, nil, false
	e.keys.ignored = f.warnings
	e.keys.retryAfter = 0
	wait := e.cfg.Refresh
	if f.maxAge >= 0 {
		wait = min(wait, f.maxAge)
	}
	if f.jwks.refresh > 0 {
		wait = min(wait, f.jwks.refresh)
	}
	if e.flaps.flapping(now) {
		wait = MinRefresh
	}
	e.keys.next = now.Add(max(storage.Spread(max(wait, MinRefresh), spread), MinRefresh))
	e.file.good, e.file.tried = f.file, f.file
	e.note(Event{Kind: FetchSucceeded})
	if outage {
		e.note(Event{Kind: Recovered})
	}
	if len(added)+len(removed) > 0 {
		e.note(Event{Kind: KeysChanged, Added: added, Removed: removed})
		e.record.changed = true
	}
	var ignored, flapping, metadata error
	switch n := len(f.warnings); {
	case n == 1:
		ignored = fmt.Errorf("%s and is ignored", f.warnings[0])
	case n > 1:
		ignored = fmt.Errorf("%s and is ignored, like %d more", f.warnings[0], n-1)
	}
	if e.flaps.flapping(now) {
		flapping = fmt.Errorf("the issuer publishes different key sets in turn, as replicas do that do not agree; a key that is missing from one serves for %s more", absentTime)
	}
	if m := &e.metadata; m.failure != nil && m.known != nil { // an outage of both is reported as one of the keys
		metadata = fmt.Errorf("%w; the metadata known before stays in use", m.failure)
	}
	e.warn("stale", nil)
	e.warn("flapping", flapping)
	e.warn("costly", f.jwks.costly())
	e.warn("ignored", ignored)
	e.warn("metadata", metadata)
}

// fetchFailed takes in a failure. The time to the next refresh doubles with each. One
// that callers met brings the first retry forward, and leaves later ones alone.
func (e *Engine) fetchFailed(f *fetch, now time.Time) {
	first := e.keys.failure == nil
	e.keys.failure, e.keys.failedAt, e.keys.retryAfter = f.err, now, 0
	if answer, ok := errors.AsType[*statusError](f.err); ok {
		e.keys.retryAfter = answer.retryAfter
	}
	e.file.tried = f.file
	e.note(Event{Kind: FetchFailed, Err: f.err})
	if first {
		e.note(Event{Kind: Unavailable, Err: f.err})
	}
	if e.jwks.Load() != nil && !e.trust.fresh() {
		e.warn("stale", fmt.Errorf("the last good keys are older than max_stale (%s) and serve no more", e.cfg.MaxStale))
	}
	onDemand := f.reason == forDemand || f.reason == forLack
	if e.keys.failures > 0 && onDemand && now.Before(e.keys.next) {
		return
	}
	e.keys.failures++
	longest := e.cfg.Refresh
	if e.JWKS() == nil {
		longest = min(longest, keylessRetry)
	}
	wait := firstRetry
	for i := 1; i < e.keys.failures && wait < longest; i++ {
		wait *= 2
	}
	e.keys.next = now.Add(max(storage.Spread(min(wait, longest), spread), e.keys.retryAfter))
}

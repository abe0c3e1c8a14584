package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"
)

// metadataState is what is known of the issuer's metadata.
type metadataState struct {
	known    *Metadata
	at       time.Time
	failure  error // of the last lookup; nil once one succeeded
	failedAt time.Time
}

// complaint is what to tell of metadata that could not be renewed although the
// keys could be had; an outage of both is told of once, as one of the keys.
func (m *metadataState) complaint() error {
	if m.failure == nil || m.known == nil {
		return nil
	}
	return fmt.Errorf("%w; the metadata known before stays in use", m.failure)
}

// lookup is one fetch of the metadata, shared by all who need it.
type lookup struct {
	done chan struct{}
	err  error // readable once done
}

// ErrNoMetadata: the configuration leaves no way to the issuer's metadata,
// because it has jwks_file (no network) or an issuer that is no URL.
var ErrNoMetadata = errors.New("the issuer's metadata cannot be had")

// Metadata returns the issuer's metadata: what is known, at once, renewing it
// in the background when it is older than the refresh interval; else what the
// first fetch brings, within 5 seconds. If there is none it returns an
// [*UnavailableError], or an error that wraps [ErrNoMetadata].
func (e *Engine) Metadata(ctx context.Context) (*Metadata, error) {
	if e.cfg.JWKSFile != "" {
		return nil, fmt.Errorf("%w: jwks_file means no network", ErrNoMetadata)
	}
	if _, err := e.cfg.wellKnown(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoMetadata, err)
	}
	known, l, err := e.metadataOrLookup()
	if known != nil || errors.Is(err, errClosed) {
		return known, err
	}
	if e.waiters.Add(1) > maxWaiters {
		e.waiters.Add(-1)
		return nil, unavailable(time.Second, errTooMany)
	}
	defer e.waiters.Add(-1)
	ctx, cancel := context.WithTimeoutCause(ctx, waitLimit, errNotMetIn)
	defer cancel()
	if err == nil {
		err = l.wait(ctx)
	}
	if err != nil {
		e.awaitRecord(ctx) // what storage holds may still do
	}
	if known := e.knownMetadata(); known != nil {
		return known, nil
	}
	return nil, err
}

// wait waits for the end of the lookup.
func (l *lookup) wait(ctx context.Context) error {
	select {
	case <-l.done:
	case <-ctx.Done():
		return unavailable(holdOff, context.Cause(ctx))
	}
	if l.err != nil {
		return unavailable(holdOff, l.err)
	}
	return nil
}

// awaitRecord waits while the record in storage is being read.
func (e *Engine) awaitRecord(ctx context.Context) {
	e.mu.Lock()
	kept := e.kept
	e.mu.Unlock()
	if kept == nil {
		return
	}
	select {
	case <-kept:
	case <-ctx.Done():
	}
}

// metadataOrLookup returns the metadata, or the lookup to wait for.
func (e *Engine) metadataOrLookup() (*Metadata, *lookup, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, m := e.now(), &e.metadata
	held := m.failure != nil && at.Sub(m.failedAt) < holdOff
	switch {
	case e.closed:
		return nil, nil, unavailable(time.Second, errClosed)
	case m.known != nil:
		if !held && e.lookup == nil && at.Sub(m.at) > e.cfg.Refresh {
			e.look()
		}
		return m.known, nil, nil
	case e.lookup != nil:
		return nil, e.lookup, nil
	case held:
		return nil, nil, unavailable(holdOff-at.Sub(m.failedAt), m.failure)
	}
	return nil, e.look(), nil
}

func (e *Engine) knownMetadata() *Metadata {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.metadata.known
}

// keyAddress is where the key set is, discovered if need be.
func (e *Engine) keyAddress(ctx context.Context) (string, error) {
	if e.cfg.JWKSURI != "" {
		return e.cfg.JWKSURI, nil
	}
	if known := e.knownMetadata(); known != nil {
		return known.JWKSURI, nil
	}
	if err := e.lookUp(ctx); err != nil {
		return "", err
	}
	return e.knownMetadata().JWKSURI, nil
}

// renewMetadata fetches the metadata again where the address of the keys hangs
// on it, so that a moved key set is followed. Where nothing is known yet, the
// flight for the keys will see to it.
func (e *Engine) renewMetadata(ctx context.Context) error {
	if !e.cfg.discovers() || e.knownMetadata() == nil {
		return nil
	}
	return e.lookUp(ctx)
}

// lookUp joins the lookup in the air or starts one, and waits for it.
func (e *Engine) lookUp(ctx context.Context) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return errClosed
	}
	l := e.lookup
	if l == nil {
		l = e.look()
	}
	e.mu.Unlock()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the issuer's metadata: %w", context.Cause(ctx))
	}
}

// look starts a lookup; e.mu is held, none is in the air, the engine is open.
func (e *Engine) look() *lookup {
	l := &lookup{done: make(chan struct{})}
	e.lookup = l
	e.work.Go(func() {
		found, err := e.discover(e.ctx)
		e.learn(l, found, err)
		e.deliver()
		e.poke()
	})
	return l
}

// learn takes in what a lookup found. What was known stays if it failed.
func (e *Engine) learn(l *lookup, found *Metadata, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer close(l.done)
	e.lookup = nil
	m := &e.metadata
	switch {
	case e.closed:
		l.err = errClosed
	case err != nil:
		l.err, m.failure, m.failedAt = err, err, e.now()
	default:
		e.record.changed = e.record.changed || !reflect.DeepEqual(m.known, found)
		*m = metadataState{known: found, at: e.now()}
	}
}

// discover asks each place where the metadata may be. It goes on to the next
// only where the issuer answered that there is none.
func (e *Engine) discover(ctx context.Context) (*Metadata, error) {
	places, err := e.cfg.wellKnown()
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, u := range places {
		doc, err := e.get(ctx, u)
		var found *Metadata
		if err == nil {
			found, err = parseMetadata(e.cfg, doc.body)
			if err == nil {
				return found, nil
			}
			err = fmt.Errorf("discovery at %s: %w", place(u), err)
		}
		failures = append(failures, err)
		if !absent(err) {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// absent reports whether the answer means that the metadata is not there.
func absent(err error) bool {
	if errors.Is(err, errNotMetadata) {
		return true
	}
	answer, ok := errors.AsType[*statusError](err)
	return ok && answer.status >= 400 && answer.status < 500 &&
		answer.status != http.StatusUnauthorized && answer.status != http.StatusTooManyRequests
}

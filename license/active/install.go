package active

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Errors that callers distinguish.
var (
	// ErrConfigured: the license is configured as a file or as text, so none
	// can be installed.
	ErrConfigured = errors.New("the license is set in the configuration; change it there")
	// ErrBusy: storage could not be written or read in time, or not at all. What
	// was asked for was not acknowledged; in rare cases it happens all the same.
	// It wraps the storage's own error, which is for logs and not for callers.
	ErrBusy = errors.New("storage is out of reach now")
	// ErrClosed: the keeper was closed.
	ErrClosed = errors.New("the keeper of the license is closed")
	// ErrAfter: the place to list from is not an [Entry.ID].
	ErrAfter = errors.New("not the id of a recorded signature")
)

// installGrace is for a call of storage that ends a little late.
const installGrace = time.Second

// Install verifies a license and makes it the one in force, here at once and on
// every node that shares the storage within its refresh interval. Which hosts the
// license should cover is for the caller to check before.
//
// Errors: [ErrConfigured]; a [*license.Error] if the license does not verify, or
// would not let pass now; [ErrBusy] when storage could not be written within 15
// seconds; [ErrClosed]; or the context's, after which the license may be
// installed all the same.
func (k *Keeper) Install(ctx context.Context, data []byte) error {
	if k.source.Configured() {
		return ErrConfigured
	}
	found := k.verifier.Open(data)
	if err := found.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, k.writeLimit+installGrace, ErrBusy)
	defer cancel()
	job, done := held{found, bytes.Clone(data)}, make(chan error, 1)
	k.mu.Lock()
	closed := k.closed
	if !closed {
		k.work.Go(func() { k.install(job, done) })
	}
	k.mu.Unlock()
	if closed {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// install writes the license, puts it in force, and answers. Only then does it give
// the lock back, which may need several tries: another write would lose its own lock
// by the later ones, so it waits for their end.
func (k *Keeper) install(job held, done chan<- error) {
	ctx, cancel := context.WithTimeout(k.ctx, k.writeLimit)
	defer cancel()
	err := ErrBusy
	select {
	case k.writing <- struct{}{}:
		defer func() { <-k.writing }()
		err = insist(ctx, func() error {
			return k.writeLicense(ctx, job.text, func() {
				k.mu.Lock()
				defer k.mu.Unlock()
				k.search.writes++
				k.adopt(job)
				k.endLook()
				k.notifyState()
				ring(k.notifierBell)
				done <- nil
			})
		})
	case <-ctx.Done():
	}
	switch {
	case err != nil && k.ctx.Err() != nil:
		done <- ErrClosed
	case err != nil:
		done <- err
	}
}

// lockTrust is how long after it was granted a lock is relied upon; a process may
// have been stopped meanwhile.
const lockTrust = 3 * time.Second

var errSlow = errors.New("writing took too long")

// writeLicense writes the license under the storage's lock, and reads it back. It
// calls written before it gives the lock back.
func (k *Keeper) writeLicense(ctx context.Context, text []byte, written func()) error {
	return k.locked(ctx, func(ctx context.Context, h *storage.Lease[Host]) error {
		granted := time.Now()
		old, err := h.Load(ctx, installedKey)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err == nil && bytes.Equal(old, text): // it is there already
		case time.Since(granted) > lockTrust:
			return errSlow
		default:
			if err := h.StoreChecked(ctx, installedKey, text); err != nil {
				return err
			}
		}
		written()
		return nil
	})
}

// locked does something under the storage's lock.
func (k *Keeper) locked(ctx context.Context, do func(context.Context, *storage.Lease[Host]) error) error {
	h := k.leases.Use()
	if h == nil {
		return storage.ErrNoStorage
	}
	defer h.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(h.Context(), cancel)()
	err := storage.ErrLockSlow
	for errors.Is(err, storage.ErrLockSlow) && ctx.Err() == nil {
		err = h.Lock(ctx, lockName)
	}
	if err != nil {
		return err
	}
	defer h.UnlockSurely(h.Context(), lockName)
	return do(ctx, h)
}

// insist tries until it succeeds, the context ends or trying is useless. The error
// is ErrBusy with the last failure.
func insist(ctx context.Context, try func() error) error {
	wait := 25 * time.Millisecond
	for {
		err := try()
		if err == nil {
			return nil
		}
		if storage.IsLasting(err) || storage.Pause(ctx, spread(wait)) != nil {
			return fmt.Errorf("%w: %w", ErrBusy, err)
		}
		wait = min(2*wait, time.Second)
	}
}

// spread varies d by up to a tenth either way.
func spread(d time.Duration) time.Duration { return storage.Spread(d, 0.1) }

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
	done := make(chan error, 1)
	job := held{found, bytes.Clone(data)}
	if !k.spawn(func() { done <- k.install(job) }) {
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (k *Keeper) install(job held) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.writeLimit)
	defer cancel()
	select {
	case k.writing <- struct{}{}:
		defer func() { <-k.writing }()
	case <-ctx.Done():
		return k.unlessClosed(ErrBusy)
	}
	if err := insist(ctx, func() error { return k.writeLicense(ctx, job.text) }); err != nil {
		return k.unlessClosed(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.search.writes++
	k.adopt(job)
	k.endLook()
	k.notifyState()
	ring(k.notifierBell)
	return nil
}

func (k *Keeper) unlessClosed(err error) error {
	if k.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// lockTrust is how long after it was granted a lock is relied upon; a process may
// have been stopped meanwhile.
const lockTrust = 3 * time.Second

var errSlow = errors.New("writing took too long")

// writeLicense writes the license under the storage's lock, and reads it back.
func (k *Keeper) writeLicense(ctx context.Context, text []byte) error {
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
	defer func() {
		if h.Unlock(ctx, lockName) != nil { // who installs need not wait for more tries
			k.spawn(func() { h.UnlockSurely(h.Context(), lockName) })
		}
	}()
	granted := time.Now()
	old, err := h.Load(ctx, installedKey)
	switch {
	case err == nil && bytes.Equal(old, text):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case time.Since(granted) > lockTrust:
		return errSlow
	}
	return h.StoreChecked(ctx, installedKey, text)
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

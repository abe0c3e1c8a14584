package active

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// held is a license, or the lack of one, and its text if it is genuine.
type held struct {
	validity *license.Validity
	text     []byte
}

// view is what requests are answered from. It never changes.
type view struct {
	good held  // in force
	next *held // genuine, and waiting for its time or for the end of good; mostly nil
}

// now is what is in force at this moment.
func (v *view) now() *held {
	if v.next != nil && (v.next.validity.Err() == nil || v.good.validity.Err() != nil) {
		return v.next
	}
	return &v.good
}

// Validity is what is in force at this moment, never nil. It takes no lock,
// allocates nothing and waits for nothing. If the state has changed, observers are
// notified soon after. It goes on after Close.
func (k *Keeper) Validity() *license.Validity {
	s := k.view.Load().now().validity
	k.notice(s.State())
	return s
}

// Check decides about a request as [license.Validity.Check] of the Validity does,
// and reads the clock once for both.
func (k *Keeper) Check(hostport string, features ...string) error {
	state, err := k.view.Load().now().validity.Judge(hostport, features...)
	k.notice(state)
	return err
}

// notice wakes the notifier if the state is not the one that was notified last.
func (k *Keeper) notice(state license.State) {
	if state != *k.notified.Load() && !k.noticed.Load() && k.noticed.CompareAndSwap(false, true) {
		ring(k.notifierBell)
	}
}

// Known is the text of the license in force if it is genuine, else nil. See
// [Config.Known].
func (k *Keeper) Known() []byte { return bytes.Clone(k.view.Load().now().text) }

// Fault is what is wrong with the source of the license in force: it holds
// another one or none that lets pass, or cannot be read, so that a restart would
// lose what is in force now. nil: nothing, or no genuine license is in force, which
// its state shows. It may name a path, which is for operators.
func (k *Keeper) Fault() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	v := k.view.Load()
	now := v.now()
	switch {
	case now.text == nil:
		return nil
	case k.search.cause != nil:
		return k.search.cause
	case v.next != nil && now != v.next:
		return fmt.Errorf("what it holds now does not let pass: %w", v.next.validity.Err())
	case k.source.kind == installed && k.outages[lookTopic] != nil:
		return k.outages[lookTopic]
	}
	return nil
}

// Open decodes and verifies another license, as the one in force was.
func (k *Keeper) Open(data []byte) *license.Validity { return k.verifier.Open(data) }

// OpenResponse opens the file of a vendor's response to a request of that id, as
// [license.KeySet.OpenOfflineResponse] does by the keys that are trusted.
func (k *Keeper) OpenResponse(data []byte, requestID string) (*license.OfflineResponse, error) {
	return k.verifier.Keys().OpenOfflineResponse(data, requestID)
}

// Source is where the license comes from.
func (k *Keeper) Source() Source { return k.source }

// Looked reports whether the first look for the license has ended, or whether
// one was known beforehand. Until then nobody can say that there is none. For a
// file and for text it is true from the beginning.
func (k *Keeper) Looked() bool {
	select {
	case <-k.looked:
		return true
	default:
		return k.view.Load().good.text != nil
	}
}

// Await waits until [Keeper.Looked]. Its error is the context's, or [ErrClosed].
func (k *Keeper) Await(ctx context.Context) error {
	if k.Looked() {
		return nil
	}
	select {
	case <-k.looked:
		return nil
	case <-k.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

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
	text := bytes.Clone(data)
	return k.write(ctx, func(ctx context.Context, h *storage.Lease[Host]) error {
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
		k.mu.Lock()
		defer k.mu.Unlock()
		k.search.writes++
		k.adopt(held{found, text})
		k.endLook()
		k.notifyState()
		ring(k.notifierBell)
		return nil
	})
}

// lockTrust is how long after it was granted a lock is relied upon; a process may
// have been stopped meanwhile.
const lockTrust = 3 * time.Second

var errSlow = errors.New("writing took too long")

// write does something under the storage's lock, one write at a time, and tries until it
// succeeds or the time for a write is over. It goes on if ctx ends before.
func (k *Keeper) write(ctx context.Context, do func(context.Context, *storage.Lease[Host]) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, k.writeLimit+installGrace, ErrBusy)
	defer cancel()
	done := make(chan error, 1)
	k.mu.Lock()
	closed := k.closed
	if !closed {
		k.work.Go(func() { k.insistOnWrite(do, done) })
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

// insistOnWrite answers once it has written. Only then does it give the lock back, which
// may need several tries: another write would lose its own lock by the later ones, so it
// waits for their end.
func (k *Keeper) insistOnWrite(do func(context.Context, *storage.Lease[Host]) error, done chan<- error) {
	ctx, cancel := context.WithTimeout(k.ctx, k.writeLimit)
	defer cancel()
	err := ErrBusy
	select {
	case k.writing <- struct{}{}:
		defer func() { <-k.writing }()
		err = insist(ctx, func() error { return k.writeLocked(ctx, do, done) })
	case <-ctx.Done():
	}
	switch {
	case err != nil && k.ctx.Err() != nil:
		done <- ErrClosed
	case err != nil:
		done <- err
	}
}

func (k *Keeper) writeLocked(ctx context.Context, do func(context.Context, *storage.Lease[Host]) error, done chan<- error) error {
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
	if err := do(ctx, h); err != nil {
		return err
	}
	done <- nil
	return nil
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

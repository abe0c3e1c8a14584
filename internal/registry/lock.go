package registry

import "context"

// locking is one try to get the lock and, if that succeeds, the time until it is
// given back. It runs beside the keeper, which must not wait for either. The lock is
// asked for anew only once it has ended: giving back is tried several times, and
// would else take away the next one.
type locking struct {
	h        *lease
	cancel   context.CancelFunc
	answer   chan error    // one; nil: the lock is held
	release  chan struct{} // closed when the lock is not needed any more
	released bool          // the keeper's
	ended    chan struct{} // closed once a lock that was held is given back
}

// beginLock asks for the lock of that lease; the answer comes over the channel.
func beginLock[K comparable, R any](h *lease, r *Registry[K, R]) *locking {
	ctx, cancel := context.WithCancel(h.Context())
	l := &locking{h: h, cancel: cancel, answer: make(chan error, 1), release: make(chan struct{}), ended: make(chan struct{})}
	r.work.Go(func() {
		defer r.poke()
		err := h.Lock(ctx, r.kind.Lock)
		if err == nil && h.Use() {
			defer h.Done() // Detach waits until the lock is given back: the storage may be gone after it
		}
		l.answer <- err
		if err != nil {
			return
		}
		r.poke()
		<-l.release
		h.UnlockSurely(r.ctx, r.kind.Lock)
		close(l.ended)
	})
	return l
}

// giveBack ends the need for the lock, whether it is held or still waited for.
func (l *locking) giveBack() {
	if !l.released {
		l.released = true
		l.cancel()
		close(l.release)
	}
}

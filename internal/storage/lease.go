package storage

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Leases are those of an owner that outlives configurations: one of each that runs,
// which is mostly one, and two for a moment while a configuration replaces another.
// The zero value is empty. Its methods are safe for concurrent use.
type Leases[H any] struct {
	mu  sync.Mutex
	all []*Lease[H] // the newest last
}

// Lease is the use of one configuration's storage, for as long as that runs. Its
// methods are safe for concurrent use.
type Lease[H any] struct {
	// Client calls the configuration's storage. Use it with [Lease.Context].
	*Client
	// Host is whatever else the configuration provides, such as an observer.
	Host H

	of     *Leases[H]
	ctx    context.Context
	cancel context.CancelFunc
	using  sync.WaitGroup
	once   sync.Once
}

// Attach adds a lease, which is the one to use from now on. c is never nil, but may
// be a client without a storage. ctx is the owner's: the lease's own ends with it.
func (l *Leases[H]) Attach(ctx context.Context, c *Client, host H) *Lease[H] {
	lease := &Lease[H]{Client: c, Host: host, of: l}
	lease.ctx, lease.cancel = context.WithCancel(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, lease)
	return lease
}

// Newest is the lease in use; nil: there is none.
func (l *Leases[H]) Newest() *Lease[H] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return nil
	}
	return l.all[len(l.all)-1]
}

// NewestHost is the host of the lease in use, for [Mailbox.Deliver]; ok is false if there
// is none.
func (l *Leases[H]) NewestHost() (host H, ok bool) {
	if lease := l.Newest(); lease != nil {
		return lease.Host, true
	}
	return host, false
}

// Use is the lease in use, kept from being detached until [Lease.Done]; nil: there
// is none.
func (l *Leases[H]) Use() *Lease[H] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return nil
	}
	lease := l.all[len(l.all)-1]
	lease.using.Add(1)
	return lease
}

// Use keeps this lease from being detached until [Lease.Done]. It reports false if
// it already is.
func (l *Lease[H]) Use() bool {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if !slices.Contains(l.of.all, l) {
		return false
	}
	l.using.Add(1)
	return true
}

// Done ends a Use.
func (l *Lease[H]) Done() { l.using.Done() }

// Context ends when the lease is detached.
func (l *Lease[H]) Context() context.Context { return l.ctx }

// detachLimit is how long what uses a lease may hold up its end.
const detachLimit = 2 * time.Second

// Detach ends the lease: from now on the one before it is used again. It waits, two
// seconds at most, for what uses it, such as a write; then its context ends, so
// that no call of the storage begins any more, and calls under way have one more
// second to return, because the storage may be gone afterwards. (Giving back a lock
// is tried all the same.) It may be called repeatedly.
func (l *Lease[H]) Detach() {
	l.once.Do(func() {
		l.of.mu.Lock()
		l.of.all = slices.DeleteFunc(l.of.all, func(other *Lease[H]) bool { return other == l })
		l.of.mu.Unlock()
		ended := make(chan struct{})
		go func() {
			l.using.Wait() // ends with the use, which ends soon after cancel
			close(ended)
		}()
		limit := time.NewTimer(detachLimit)
		defer limit.Stop()
		select {
		case <-ended:
		case <-limit.C:
		}
		l.cancel()
		late, cancel := context.WithTimeout(context.Background(), l.calls.limit/graceDivisor)
		defer cancel()
		l.calls.settle(late)
		l.locks.settle(late)
	})
}

package account

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Defaults and bounds of a [Host] and of [Options].
const (
	// DefaultRefresh is the time between two looks at the revision record.
	DefaultRefresh = time.Second
	// MinRefresh is the floor of that time.
	MinRefresh = 10 * time.Millisecond
	// DefaultWriteLimit is how long a change waits for storage.
	DefaultWriteLimit = 15 * time.Second
)

// Host is what the running configuration lends a registry.
type Host struct {
	// Storage keeps the accounts. nil: nothing is ever loaded or written.
	Storage Storage
	// Refresh is the time between two looks at what other nodes changed, varied
	// by a tenth. Zero: one second.
	Refresh time.Duration
	// Observe is told what happens, one event at a time and in order. It must
	// return soon and must not change accounts, nor call Close or detach. May be
	// nil.
	Observe func(Event)
}

// Options are for tests.
type Options struct {
	// Now is the clock for expiry and time stamps; nil: time.Now.
	Now func() time.Time
	// WriteLimit is how long a change waits for storage. Zero: 15 seconds.
	WriteLimit time.Duration
	// CallLimit is how long one call of storage may take. Zero: 5 seconds.
	CallLimit time.Duration
	// Linger is how long records stay that are no longer named. Zero: a minute.
	Linger time.Duration
}

// Registry holds the accounts that one storage keeps. Its methods are safe for
// concurrent use.
type Registry struct {
	now        func() time.Time
	writeLimit time.Duration
	callLimit  time.Duration
	linger     time.Duration

	leases storage.Leases[Host]
	events storage.Mailbox[Event]

	current  atomic.Pointer[snapshot]
	loaded   atomic.Bool
	synced   atomic.Int64             // Unix nanoseconds; 0: never
	head     atomic.Pointer[revision] // of current, as far as one is stored
	standing atomic.Pointer[Standing] // see Standing; nil: nothing was tried yet
	trouble  atomic.Pointer[error]    // what stands in the way of changes that wait

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // tells the keeper that something came in
	ready  chan struct{} // closed at the first load

	reading atomic.Pointer[chan struct{}] // closed when the first reading fails; nil: none is worth waiting for
	waiters atomic.Int32                  // see AwaitReading

	mu      sync.Mutex // guards all below; never held while waiting
	closed  bool
	running bool
	queue   []*request
}

// New makes a registry. It starts nothing.
func New(opts Options) *Registry {
	r := &Registry{
		now: opts.Now, writeLimit: opts.WriteLimit, callLimit: opts.CallLimit, linger: opts.Linger,
		wake: make(chan struct{}, 1), ready: make(chan struct{}),
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.writeLimit <= 0 {
		r.writeLimit = DefaultWriteLimit
	}
	if r.callLimit <= 0 {
		r.callLimit = storage.DefaultLimit
	}
	if r.linger <= 0 {
		r.linger = time.Minute
	}
	r.events.Keep, r.events.Join = Event.hasChanges, (*Event).join
	r.current.Store(&snapshot{version: storedVersions.Add(1)})
	slow := storage.ErrLockSlow
	r.trouble.Store(&slow)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.beginReading()
	return r
}

// Attach tells the registry that a configuration started: from now on it uses
// that storage and tells that observer. detach ends that, and the configuration
// attached before is used again; it may be called repeatedly. It waits, two
// seconds at most, for a write that is under way. The first Attach starts the
// background work.
//
// All storages attached to one registry must hold the same accounts: whoever
// pools registries does so by what identifies the storage.
func (r *Registry) Attach(h Host) (detach func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return func() {}
	}
	if h.Refresh == 0 {
		h.Refresh = DefaultRefresh
	}
	h.Refresh = max(h.Refresh, MinRefresh)
	lease := r.leases.Attach(r.ctx, storage.NewClient(h.Storage, r.callLimit), h)
	if !r.running {
		r.running = true
		r.work.Go(newKeeper(r).run)
	}
	r.poke()
	return func() {
		lease.Detach()
		r.poke()
	}
}

// Close ends the background work and waits for it; changes that wait get
// [ErrClosed]. Look-ups go on answering from what was known. It may be called
// repeatedly.
func (r *Registry) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.work.Wait()
	r.failAll(ErrClosed)
	return nil
}

// Lookup finds the account of a subject, or of a client id, with that issuer. It
// takes no lock and allocates nothing. Whether the account is good tells
// [Account.State]; whether a missing one is unknown, [Registry.Loaded].
func (r *Registry) Lookup(issuer, subject string) (*Account, bool) {
	a := r.current.Load().find(Key{issuer, subject})
	return a, a != nil
}

// Find finds an account by its subject or, if no subject is that, by its id. The
// issuer, a name, may be empty where only one has an account of that subject.
// Errors are [ErrNotFound] and [ErrAmbiguous].
func (r *Registry) Find(issuer, key string) (*Account, error) {
	return View{Registry: r}.Find(issuer, key)
}

// Get is Find where the issuer need not be said.
func (r *Registry) Get(key string) (*Account, bool) {
	a, err := r.Find("", key)
	return a, err == nil
}

// Page returns the accounts that are asked for, in order. It is never nil.
func (r *Registry) Page(q Query) []*Account { return r.current.Load().list(q) }

// List is Page for those of all issuers after a subject.
func (r *Registry) List(after string, limit int) []*Account {
	return r.Page(Query{After: after, Limit: limit})
}

// Counts counts the accounts by their state now.
func (r *Registry) Counts() Counts { return r.current.Load().counts(r.now()) }

// Loaded reports whether the accounts were ever read from storage. Until then
// nobody can say that an account is unknown.
func (r *Registry) Loaded() bool { return r.loaded.Load() }

// Await waits until the accounts are loaded. Its error is the context's, or
// [ErrClosed].
func (r *Registry) Await(ctx context.Context) error {
	select {
	case <-r.ready:
		return nil
	case <-r.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Synced is when storage last confirmed what is known here; zero: never.
func (r *Registry) Synced() time.Time {
	at := r.synced.Load()
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// Standing is how storage was found when it was last read or written: unless it
// is [Ready], what is known here is the last known.
func (r *Registry) Standing() Standing {
	standing := r.standing.Load()
	if standing == nil || *standing == Ready && !r.Loaded() {
		return Unread
	}
	return *standing
}

// Unavailable reports whether storage could not be read or written when that was
// last tried, or holds something else.
func (r *Registry) Unavailable() bool { return r.Standing() != Ready && r.Standing() != Unread }

// poke wakes the keeper to look at what came in.
func (r *Registry) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

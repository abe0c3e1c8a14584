// Package registry holds records of one kind, such as service accounts, that are kept
// in a storage which several nodes may share.
//
// A [Registry] answers requests from memory ([Snapshot.Find]: no lock, no allocation,
// no waiting), writes changes in one background goroutine, and sees the changes of
// other nodes within the refresh interval. It outlives changes of the configuration:
// see [Registry.Attach]. A [Kind] says what the records are, and how they are written.
//
// # How the records are kept
//
// In storage, below the folder of the kind. A hash of the key assigns each record to
// one of 256 shards. What storage holds of a shard is never overwritten: its name
// holds the digest of its content, and a change writes a new one beside the old one.
// The revision record names the current record of every shard, so writing it makes
// a change happen, the whole change at once; a writer that dies before that has
// changed nothing. A second copy of the revision record is written before a change
// is acknowledged, for storages that can leave half a record. Records that are no
// longer named are deleted a little later.
//
// Other nodes load the revision record at every refresh, compare it by content,
// and load the records that are new in it.
//
// # What is believed of a storage
//
// Little. "Not found" does not mean "empty" where something was before, nor
// elsewhere until a listing agrees. Two nodes may hold the lock at once: so the
// revision is compared before it is replaced and read back afterwards, and a node
// whose acknowledged change was overwritten all the same makes it again (the
// revision record holds the ids of those before it). See also internal/storage,
// which makes the calls.
//
// # Damaged records
//
// A shard's record whose checksum does not fit is reported by name and left as it
// is. The other shards go on; of this one a node keeps the last good content that
// it had. Changes in that shard are refused with [ErrDamaged], because
// they would drop what the damaged record held, until the record is back or an
// operator decides with [Registry.Repair]. A damaged revision record is written
// anew from its copy.
//
// # In which file is what
//
// A change goes from request.go to keeper.go, which waits for the lock and calls
// commit.go; that has the change made of a [Work], and writes it. What storage shows
// goes through loader.go into the snapshot that look-ups read. revision.go tells states
// apart that came to be without each other.
//
// # What is not here
//
// HTTP, tokens, and who may change a record.
package registry

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

// Host is what the running configuration gives a registry to use.
type Host[R any] struct {
	// Storage keeps the records; every certmagic.Storage is one. nil: nothing is
	// ever loaded or written.
	Storage storage.Storage
	// Refresh is the time between two looks at what other nodes changed, varied
	// by a tenth. Zero: one second.
	Refresh time.Duration
	// Observe receives what happens, one event at a time and in order. It must
	// return soon and must not change records, nor call Close or detach. It may be
	// nil.
	Observe func(Event[R])
}

// Options are for tests and measurements.
type Options struct {
	// Now is the clock for ends and time stamps; nil: time.Now.
	Now func() time.Time
	// WriteLimit is how long a change waits for storage. Zero: 15 seconds.
	WriteLimit time.Duration
	// CallLimit is how long one call of storage may take. Zero: 5 seconds.
	CallLimit time.Duration
	// Linger is how long records stay that are no longer named. Zero: a minute.
	Linger time.Duration
	// Retire is the least time between two removals of records that have ended, and a
	// sixth of how long they stay. Zero: ten minutes.
	Retire time.Duration
}

// Registry holds the records of one kind in one storage. Its methods are safe for concurrent
// use.
type Registry[K comparable, R any] struct {
	kind       *Kind[K, R]
	now        func() time.Time
	writeLimit time.Duration
	callLimit  time.Duration
	linger     time.Duration
	retire     time.Duration

	leases storage.Leases[Host[R]]
	events storage.Mailbox[Event[R]]

	current      atomic.Pointer[Snapshot[K, R]]
	loaded       atomic.Bool
	synced       atomic.Int64                 // Unix nanoseconds; 0: never
	head         atomic.Pointer[revision]     // of current, as far as one is stored
	storageState atomic.Pointer[StorageState] // what hinders it, see StorageState; nil, Ready: nothing does
	trouble      atomic.Pointer[error]        // what hinders the changes that wait

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
	queue   []*request[K, R]
}

// New makes a registry. It starts nothing.
func New[K comparable, R any](kind Kind[K, R], opts Options) *Registry[K, R] {
	r := &Registry[K, R]{
		kind: kind.complete(),
		now:  opts.Now, writeLimit: opts.WriteLimit, callLimit: opts.CallLimit, linger: opts.Linger, retire: opts.Retire,
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
	if r.retire <= 0 {
		r.retire = 10 * time.Minute
	}
	// Changes are never lost: where many events wait they join the last ones.
	r.events.Keep = func(ev Event[R]) bool { return len(ev.Changes) > 0 }
	r.events.Join = func(old *Event[R], ev Event[R]) bool {
		if old.Kind == ev.Kind {
			old.Changes = append(old.Changes, ev.Changes...)
		}
		return old.Kind == ev.Kind
	}
	r.current.Store(&Snapshot[K, R]{kind: r.kind, version: versions.Add(1)})
	r.trouble.Store(&storage.ErrLockSlow)
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.beginReading()
	return r
}

// Attach tells the registry that a configuration started: from now on it uses
// that storage and that observer. detach ends that, and the configuration
// attached before is used again; it may be called repeatedly. It waits, two
// seconds at most, for a write that is under way. The first Attach starts the
// background work.
//
// All storages attached to one registry must hold the same records: whoever
// pools registries does so by what identifies the storage.
func (r *Registry[K, R]) Attach(h Host[R]) (detach func()) {
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
		r.work.Go(r.keep)
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
func (r *Registry[K, R]) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.work.Wait()
	for _, req := range r.remove(func(*request[K, R]) bool { return true }) {
		req.finish(nil, ErrClosed)
	}
	return nil
}

// Snapshot is all that is known now. Getting it takes no lock and allocates nothing;
// [Registry.Loaded] tells whether what is not in it is unknown.
func (r *Registry[K, R]) Snapshot() *Snapshot[K, R] { return r.current.Load() }

// Loaded reports whether the records were ever read from storage. Until then
// nobody can say that a record is not there.
func (r *Registry[K, R]) Loaded() bool { return r.loaded.Load() }

// Await waits until the records are loaded. Its error is the context's, or
// [ErrClosed].
func (r *Registry[K, R]) Await(ctx context.Context) error {
	select {
	case <-r.ready:
		return nil
	case <-r.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	// readingLimit is how long a caller waits for the first reading.
	readingLimit = 5 * time.Second
	// maxWaiters bounds the callers that wait at a time.
	maxWaiters = 1000
)

// AwaitReading waits until the records are loaded, and tells whether they are.
// It waits for five seconds at most, with no more than 1000 callers at a time, and
// only while a first reading is under way: once one has failed, callers are
// answered at once until storage answers again.
func (r *Registry[K, R]) AwaitReading(ctx context.Context) bool {
	under := r.reading.Load()
	if r.Loaded() || under == nil {
		return r.Loaded()
	}
	defer r.waiters.Add(-1)
	if r.waiters.Add(1) > maxWaiters {
		return false
	}
	limit := time.NewTimer(readingLimit)
	defer limit.Stop()
	select {
	case <-r.ready:
	case <-*under:
	case <-limit.C:
	case <-ctx.Done():
	case <-r.ctx.Done():
	}
	return r.Loaded()
}

// beginReading makes callers wait for the first reading. Only New and the keeper
// call it.
func (r *Registry[K, R]) beginReading() {
	if r.reading.Load() == nil && !r.Loaded() {
		failed := make(chan struct{})
		r.reading.Store(&failed)
	}
}

// failReading answers those who wait for the first reading. Only the keeper calls
// it.
func (r *Registry[K, R]) failReading() {
	if failed := r.reading.Swap(nil); failed != nil {
		close(*failed)
	}
}

// Synced is when storage last confirmed what is known here; zero: never.
func (r *Registry[K, R]) Synced() time.Time {
	at := r.synced.Load()
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

// StorageState is what came of the last reading and writing of storage. Unless it is
// [Ready], the records are the last known ones.
func (r *Registry[K, R]) StorageState() StorageState {
	if state := r.storageState.Load(); state != nil && *state != Ready {
		return *state
	}
	if r.Loaded() {
		return Ready
	}
	return Unread
}

// Unavailable reports whether storage could not be read or written when that was
// last tried, or holds something else.
func (r *Registry[K, R]) Unavailable() bool {
	return r.StorageState() != Ready && r.StorageState() != Unread
}

// poke wakes the keeper to look at what came in.
func (r *Registry[K, R]) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// versions is what was numbered so far in this process, over all registries.
var versions atomic.Uint64

// Version stands for all that look-ups answer: as long as it stays the same, so do
// their answers. Those of different registries differ, whatever their kinds, and a
// later one is greater. 40 bits hold it: a thousand changes a second for decades.
func (r *Registry[K, R]) Version() uint64 { return r.current.Load().version }

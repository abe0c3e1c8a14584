package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Errors that callers tell apart.
var (
	// ErrBusy: storage could not be written in time, or not at all. What was
	// asked for is not acknowledged; in rare cases it happens all the same. The error
	// wraps the storage's own, which is for logs and not for callers.
	ErrBusy = errors.New("storage cannot be written now")
	// ErrDamaged: the change would drop what a damaged record holds. The error
	// names the record.
	ErrDamaged = errors.New("a record in storage is damaged")
	// ErrEmptied: storage answers, and holds nothing of what it held.
	ErrEmptied = errors.New("storage holds nothing of what it held any more: it was emptied, or is another one")
	// ErrDiverged: storage holds records that were begun without those that this
	// node knows. Neither is given up until an operator decides.
	ErrDiverged = errors.New("storage holds other records than this node, begun without them")
	// ErrClosed: the registry was closed.
	ErrClosed = errors.New("the registry was closed")
)

// maxQueue bounds the changes of one process that wait together.
const maxQueue = 4096

// request is one call of Change or Repair on its way through the keeper.
type request[K comparable, R any] struct {
	change   func(*Work[K, R]) any // nil: it is a repair
	size     int                   // about how many changes it makes
	keep     Keep                  // of a repair
	now      int64                 // of the time stamps
	begun    time.Time
	deadline time.Time

	stage    atomic.Uint32
	result   any
	mended   []string
	doubts   map[string]any // of attempts that may have succeeded, by the id of their revision
	progress chan int       // how many changes are written; a newer number replaces an older one; nil: nobody asks
	done     chan struct{}  // closed when result or err are there
	err      error
}

// The stages of a request, which leaves the first of them once.
const (
	waiting   uint32 = iota
	taken            // by the keeper, which will answer soon
	abandoned        // by its caller; it must not happen any more
)

// Change does a change, all of it in one revision, which it may share with others: it
// calls change under the lock of all nodes, and returns what that returned. Nothing
// was written before, and all is durable when the error is nil; where change puts and
// deletes nothing, nothing is written.
//
// change is called by the registry's own goroutine, and again where writing failed. So
// it must depend on what the [Work] holds alone, wait for nothing, and judge before it
// changes: what it has put stays put.
//
// size is about how many records it changes. progress, if not nil, is called now and
// then with the number of those that are written, by the caller's own goroutine.
//
// The error is [ErrBusy] when storage could not be written in time (15 seconds, and a
// millisecond more for each change), [ErrClosed], or the context's.
func Change[K comparable, R, T any](ctx context.Context, r *Registry[K, R], size int, change func(*Work[K, R]) T, progress func(done int)) (result T, err error) {
	req := &request[K, R]{size: size, change: func(w *Work[K, R]) any { return change(w) }}
	if err := r.perform(ctx, req, progress); err != nil {
		return result, err
	}
	result, _ = req.result.(T)
	return result, nil
}

// Repair puts storage right at an operator's request, and returns the keys of the
// records at fault.
//
// With [KeepNode] storage comes to hold what this node knows: records that are
// damaged or gone are written again and, where this node never had their content,
// replaced by the last good content that it had, or by nothing. What can be read of
// the damaged ones is kept aside under names that begin damaged- in the folder.
// If storage was emptied, or holds other records, everything known here is written
// anew.
//
// With [KeepStorage] all nodes come to know what storage holds: other records, an
// older state, or none. Damaged records cannot be kept ([ErrDamaged]).
//
// Other errors are those of [Change].
func (r *Registry[K, R]) Repair(ctx context.Context, keep Keep) (mended []string, err error) {
	if keep != KeepNode && keep != KeepStorage {
		return nil, fmt.Errorf(`keep is %q; want "node" or "storage"`, keep)
	}
	req := &request[K, R]{keep: keep}
	if err := r.perform(ctx, req, nil); err != nil {
		return nil, err
	}
	return req.mended, nil
}

// perform hands the request to the keeper and waits for its end.
func (r *Registry[K, R]) perform(ctx context.Context, req *request[K, R], progress func(done int)) error {
	req.now, req.begun = r.now().Unix(), time.Now()
	req.deadline = req.begun.Add(r.writeLimit + time.Duration(req.size)*time.Millisecond)
	req.doubts, req.done = map[string]any{}, make(chan struct{})
	if progress != nil {
		req.progress = make(chan int, 1)
	}
	if err := r.enqueue(req); err != nil {
		return err
	}
	late := time.NewTimer(time.Until(req.deadline))
	defer late.Stop()
	for {
		select {
		case <-req.done:
			if progress != nil && req.err == nil {
				progress(req.size)
			}
			return req.err
		case n := <-req.progress:
			progress(n)
		case <-ctx.Done():
			req.stage.CompareAndSwap(waiting, abandoned)
			return ctx.Err()
		case <-late.C:
			if req.stage.CompareAndSwap(waiting, abandoned) {
				return fmt.Errorf("%w: %w", ErrBusy, *r.trouble.Load())
			}
			late.Reset(2 * r.callLimit) // it is being written just now
			if time.Since(req.deadline) > 2*r.callLimit {
				return fmt.Errorf("%w: %w", ErrBusy, storage.ErrNoAnswer)
			}
		}
	}
}

func (r *Registry[K, R]) enqueue(req *request[K, R]) error {
	lease := r.leases.Newest()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return ErrClosed
	case lease == nil || !lease.HasStorage():
		return fmt.Errorf("%w: %w", ErrBusy, storage.ErrNoStorage)
	case len(r.queue) >= maxQueue:
		return fmt.Errorf("%w: %d changes wait already", ErrBusy, len(r.queue))
	}
	r.queue = append(r.queue, req)
	r.poke()
	return nil
}

// take empties the queue of those that still want an answer.
func (r *Registry[K, R]) take() []*request[K, R] {
	r.mu.Lock()
	defer r.mu.Unlock()
	queue := r.queue
	r.queue = nil
	return slices.DeleteFunc(queue, func(req *request[K, R]) bool { return !req.stage.CompareAndSwap(waiting, taken) })
}

// putBack queues requests again that were taken and not answered.
func (r *Registry[K, R]) putBack(reqs []*request[K, R]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, req := range reqs {
		req.stage.Store(waiting)
	}
	r.queue = append(reqs, r.queue...)
}

// queued tells how many requests wait, whether one is a repair, and when the
// first gives up.
func (r *Registry[K, R]) queued() (n int, repair bool, deadline time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, req := range r.queue {
		repair = repair || req.keep != ""
		if deadline.IsZero() || req.deadline.Before(deadline) {
			deadline = req.deadline
		}
	}
	return len(r.queue), repair, deadline
}

// expire answers the requests whose time is over with what hindered them, and drops
// those that their callers gave up. It counts the former if they began since a time:
// older ones waited for something else, too.
func (r *Registry[K, R]) expire(since time.Time) (expired int) {
	now := time.Now()
	for _, req := range r.remove(func(req *request[K, R]) bool {
		return !now.Before(req.deadline) || req.stage.Load() == abandoned
	}) {
		if !now.Before(req.deadline) && !req.begun.Before(since) {
			expired++
		}
		if req.stage.CompareAndSwap(waiting, abandoned) {
			req.finish(nil, fmt.Errorf("%w: %w", ErrBusy, *r.trouble.Load()))
		}
	}
	return expired
}

// remove takes those out of the queue that match.
func (r *Registry[K, R]) remove(match func(*request[K, R]) bool) (removed []*request[K, R]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = slices.DeleteFunc(r.queue, func(req *request[K, R]) bool {
		if match(req) {
			removed = append(removed, req)
			return true
		}
		return false
	})
	return removed
}

// finish answers the request.
func (req *request[K, R]) finish(result any, err error) {
	req.result, req.err = result, err
	close(req.done)
}

// report reports progress without waiting for the caller.
func (req *request[K, R]) report(n int) {
	select {
	case <-req.progress:
	default:
	}
	select {
	case req.progress <- n:
	default:
	}
}

// Work is what a change sees, and changes: all records as storage holds them now,
// under the lock of all nodes, and the changes of this revision that are not written
// yet.
type Work[K comparable, R any] struct {
	// Now is when the change was asked for, in Unix seconds.
	Now int64

	kind    *Kind[K, R]
	base    *Snapshot[K, R]
	changed map[K]*R       // nil: deleted
	touched map[uint64][]K // those of changed, by hash
	blocked map[int]string // shards that must not be written, with the damaged record
}

// newWork begins with what was changed in the steps, unless somebody changed the record
// since.
func newWork[K comparable, R any](k *Kind[K, R], base *Snapshot[K, R], blocked map[int]string, steps []step[R]) *Work[K, R] {
	w := &Work[K, R]{kind: k, base: base, changed: map[K]*R{}, touched: map[uint64][]K{}, blocked: blocked}
	for _, s := range steps {
		for _, c := range s.changes {
			key := k.Key(c.Record())
			if k.wants(c, w.Get(key)) {
				_ = w.set(key, c.After) // refused only while the record is damaged
			}
		}
	}
	return w
}

// Get returns the record with that key; nil: there is none.
func (w *Work[K, R]) Get(key K) *R {
	if r, ok := w.changed[key]; ok {
		return r
	}
	return w.base.Find(key)
}

// Like are the records that match, in order, of those with that hash.
func (w *Work[K, R]) Like(hash uint64, match func(*R) bool) []*R {
	found := w.base.Like(hash, func(r *R) bool {
		_, changed := w.changed[w.kind.Key(r)]
		return !changed && match(r)
	})
	for _, key := range w.touched[hash] {
		if r := w.changed[key]; r != nil && match(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, w.kind.Compare)
	return found
}

// ByID returns the record with that id, unless it is not written yet; nil: there is
// none.
func (w *Work[K, R]) ByID(id uuid.UUID) *R {
	if r := w.base.ByID(id); r != nil {
		return w.Get(w.kind.Key(r))
	}
	return nil
}

// Put adds a record, or puts it in the place of the one with its key. It fails with
// [ErrDamaged].
func (w *Work[K, R]) Put(r *R) error { return w.set(w.kind.Key(r), r) }

// Delete removes the record with that key, if there is one. It fails with
// [ErrDamaged].
func (w *Work[K, R]) Delete(key K) error {
	if w.Get(key) == nil {
		return nil
	}
	return w.set(key, nil)
}

// set replaces a record, or deletes it (nil), unless its shard is damaged.
func (w *Work[K, R]) set(key K, r *R) error {
	hash := w.kind.Hash(key)
	if record := w.blocked[int(hash>>56)]; record != "" {
		return fmt.Errorf("%w: %s holds what is to be changed, or would; restore the record, or write what is known of it: %s", ErrDamaged, record, w.kind.Repair)
	}
	if _, again := w.changed[key]; !again {
		w.touched[hash] = append(w.touched[hash], key)
	}
	w.changed[key] = r
	return nil
}

package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Errors that callers tell apart. The text of the first two is that of the API.
var (
	// ErrExists: there is an account with that issuer and subject already.
	ErrExists = errors.New("resource already exists")
	// ErrNotFound: there is no account with that subject or id.
	ErrNotFound = errors.New("resource not found")
	// ErrAmbiguous: several issuers have an account of that subject; the error
	// lists them.
	ErrAmbiguous = errors.New("several issuers have an account of that subject")
	// ErrChanged: the account was changed since whoever asks read it.
	ErrChanged = errors.New("the account was changed meanwhile; read it again")
	// ErrDeclared: the account is declared in the configuration, and can only be
	// changed there.
	ErrDeclared = errors.New("the account is declared in the configuration; change it there")
	// ErrBusy: storage could not be written in time, or not at all. What was
	// asked for is not acknowledged; in rare cases it happens all the same. The error
	// wraps the storage's own, which is for logs and not for callers.
	ErrBusy = errors.New("storage cannot be written now")
	// ErrDamaged: the change would drop what a damaged record holds. The error
	// names the record.
	ErrDamaged = errors.New("a record in storage is damaged")
	// ErrUnread: the accounts were not read from storage yet.
	ErrUnread = errors.New("the service accounts have not been read from storage yet")
	// ErrEmptied: storage answers, and holds nothing of what it held.
	ErrEmptied = errors.New("storage holds no service accounts any more: it was emptied, or is another one; caddy gatehouse service-account repair shows what is known and writes it again")
	// ErrDiverged: storage holds accounts that were begun without those that this
	// node knows. Neither is given up until an operator decides.
	ErrDiverged = errors.New("storage holds other service accounts than this node, begun without them; caddy gatehouse service-account repair shows both and keeps the one that is named")
	// ErrClosed: the registry was closed.
	ErrClosed = errors.New("the registry of service accounts is closed")
)

// maxQueue bounds the changes of one process that wait together.
const maxQueue = 4096

// request is one call of Apply or Repair on its way through the keeper.
type request struct {
	changes  []Change
	keep     Keep  // of a repair
	now      int64 // of the time stamps
	begun    time.Time
	deadline time.Time

	stage    atomic.Uint32
	results  []Result
	mended   []string
	doubts   map[string][]Result // of attempts that may have succeeded, by the id of their revision
	progress chan int            // how many changes are written; a newer number replaces an older one
	done     chan struct{}       // closed when results or err are there
	err      error
}

// The stages of a request, which leaves the first of them once.
const (
	waiting   uint32 = iota
	taken            // by the keeper, which will answer soon
	abandoned        // by its caller; it must not happen any more
)

// Apply does changes, all in one revision: either all that are not refused
// happen, or none. Refused changes do not hinder the others; their results say why.
// The results are in the order of the changes.
//
// progress, if not nil, is called now and then with the number of changes that are
// written, by the caller's own goroutine.
//
// The error is [ErrBusy] when storage could not be written in time (15 seconds,
// and a little more for very many changes), [ErrClosed], or the context's.
func (r *Registry) Apply(ctx context.Context, changes []Change, progress func(done int)) ([]Result, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	req := &request{changes: changes}
	if err := r.perform(ctx, req, progress); err != nil {
		return nil, err
	}
	return req.results, nil
}

// Repair puts storage right at an operator's request, and returns the keys of the
// records at fault.
//
// With [KeepNode] storage comes to hold what this node knows: records that are
// damaged or gone are written again and, where this node never had their content,
// replaced by the last good content that it had, or by nothing. What can be read of
// the damaged ones is kept aside under names that begin gatehouse/accounts/damaged-.
// If storage was emptied, or holds other accounts, everything known here is written
// anew.
//
// With [KeepStorage] all nodes come to know what storage holds: other accounts, an
// older state, or none. Damaged records cannot be kept ([ErrDamaged]).
//
// Other errors are those of Apply.
func (r *Registry) Repair(ctx context.Context, keep Keep) (mended []string, err error) {
	if keep != KeepNode && keep != KeepStorage {
		return nil, invalid("keep", `is %s; want "node" or "storage"`, quote(string(keep)))
	}
	req := &request{keep: keep}
	if err := r.perform(ctx, req, nil); err != nil {
		return nil, err
	}
	return req.mended, nil
}

// perform hands the request to the keeper and waits for its end.
func (r *Registry) perform(ctx context.Context, req *request, progress func(done int)) error {
	req.now, req.begun = r.now().Unix(), time.Now()
	req.deadline = req.begun.Add(r.writeLimit + time.Duration(len(req.changes))*time.Millisecond)
	req.doubts, req.progress, req.done = map[string][]Result{}, make(chan int, 1), make(chan struct{})
	if err := r.enqueue(req); err != nil {
		return err
	}
	late := time.NewTimer(time.Until(req.deadline))
	defer late.Stop()
	for {
		select {
		case <-req.done:
			if progress != nil && req.err == nil {
				progress(len(req.changes))
			}
			return req.err
		case n := <-req.progress:
			if progress != nil {
				progress(n)
			}
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

func (r *Registry) enqueue(req *request) error {
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
func (r *Registry) take() []*request {
	r.mu.Lock()
	defer r.mu.Unlock()
	queue := r.queue
	r.queue = nil
	return slices.DeleteFunc(queue, func(req *request) bool { return !req.stage.CompareAndSwap(waiting, taken) })
}

// putBack queues requests again that were taken and not answered.
func (r *Registry) putBack(reqs []*request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, req := range reqs {
		req.stage.Store(waiting)
	}
	r.queue = append(reqs, r.queue...)
}

// queued tells how many requests wait, whether one is a repair, and when the
// first gives up.
func (r *Registry) queued() (n int, repair bool, deadline time.Time) {
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
func (r *Registry) expire(since time.Time) (expired int) {
	now := time.Now()
	for _, req := range r.remove(func(req *request) bool {
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
func (r *Registry) remove(match func(*request) bool) (removed []*request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queue = slices.DeleteFunc(r.queue, func(req *request) bool {
		if match(req) {
			removed = append(removed, req)
			return true
		}
		return false
	})
	return removed
}

// finish answers the request.
func (req *request) finish(results []Result, err error) {
	req.results, req.err = results, err
	close(req.done)
}

// report reports progress without waiting for the caller.
func (req *request) report(n int) {
	select {
	case <-req.progress:
	default:
	}
	select {
	case req.progress <- n:
	default:
	}
}

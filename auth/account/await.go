package account

import (
	"context"
	"time"
)

const (
	// readingLimit is how long a caller waits for the first reading.
	readingLimit = 5 * time.Second
	// maxWaiters bounds the callers that wait at a time.
	maxWaiters = 1000
)

// AwaitReading waits until the accounts are loaded, and tells whether they are.
// It waits for five seconds at most and for no more than 1000 callers at a time,
// and only as long as a reading is under way that may come to a good end: once
// one has failed, callers are answered at once until storage answers again.
func (r *Registry) AwaitReading(ctx context.Context) bool {
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
func (r *Registry) beginReading() {
	if r.reading.Load() == nil && !r.Loaded() {
		failed := make(chan struct{})
		r.reading.Store(&failed)
	}
}

// failReading lets those go that wait for the first reading. Only the keeper
// calls it.
func (r *Registry) failReading() {
	if failed := r.reading.Swap(nil); failed != nil {
		close(*failed)
	}
}

package registry

import (
	"errors"
	"fmt"
	"maps"
	"time"
)

var (
	errRaced = errors.New("another node wrote at the same time")
	errSlow  = errors.New("writing took too long")
)

// committer writes: the next revision, and what of it is missing from storage.
type committer[K comparable, R any] struct {
	*loader[K, R]
	copyDue   bool // the copy is not yet what the revision record is
	healAt    time.Time
	retired   time.Time // when records that had ended were last removed
	isEmptied bool      // and what is known is to be written again
	garbage   garbage
	first     *revision // of the registry that this node began, or tried to; nil: it never did
}

// isDue reports whether there is something to write though nobody asks for it.
func (c *committer[K, R]) isDue() bool {
	isOlder := !c.staleAt.IsZero() && time.Since(c.staleAt) >= staleLimit
	return c.head != nil && (c.shown.mend || c.copyDue || c.fork != nil || isOlder || c.garbage.isDue() || c.isEmptied || c.mayRetire())
}

// mayRetire reports whether records that ended are to be removed: not one by one, as
// that writes whole shards.
func (c *committer[K, R]) mayRetire() bool {
	return c.r.kind.Leaves && time.Since(c.retired) >= c.r.retire && c.r.Snapshot().Ended(c.retirable()) > 0
}

// retirable is when records must have ended to be removed: some time ago, as the clock
// of this node may be ahead of those of others, for whom they have not ended yet.
func (c *committer[K, R]) retirable() time.Time { return c.r.now().Add(-6 * c.r.retire) }

// basis is what the next revision is made of.
type basis[K comparable, R any] struct {
	rev      *revision       // that it follows, with its records; nil: nothing is stored yet
	also     *revision       // that it follows, too; nil: none
	snapshot *Snapshot[K, R] // what rev names
	blocked  map[int]string
	steps    []step[R] // that rev lacks
	due      bool      // it is to be written though nothing else is changed
	all      bool      // of what is known, whatever of it is damaged
	restore  bool      // records that rev names may be gone
}

// commit does what the requests ask for, under the lock, in one revision. It
// returns the requests that it did not answer.
func (c *committer[K, R]) commit(reqs []*request[K, R]) ([]*request[K, R], error) {
	b, err := c.basis(reqs)
	if err != nil {
		return reqs, err
	}
	pending, settled := b.settle(reqs)
	w, results, forced, err := c.evaluate(b, pending)
	if err != nil {
		return reqs, err
	}
	if len(w.changed) > 0 || len(forced) > 0 || b.due {
		if err := c.write(b, w, pending, results, forced); err != nil {
			return reqs, err
		}
	}
	for i, req := range pending {
		req.finish(results[i], nil)
	}
	for req, result := range settled {
		req.finish(result, nil)
	}
	if c.head != nil {
		c.garbage.sweep(c.lease, c.r.folder, c.head, c.r.linger)
		c.garbage.collect(c.lease, c.r.folder, c.head)
	}
	return nil, c.checkCopy()
}

// basis finds what the next revision is to be made of, as storage is and the
// requests decide.
func (c *committer[K, R]) basis(reqs []*request[K, R]) (*basis[K, R], error) {
	c.recheckAt = time.Time{} // a record may be well again, and the change possible
	saw, err := c.pull()
	b := &basis[K, R]{rev: c.head, snapshot: c.r.current.Load(), blocked: c.damaged, due: c.shown.mend}
	keep := kept(reqs)
	isGone := errors.Is(err, errGone) || errors.Is(err, c.r.kind.Emptied)
	switch {
	case keep == "" && isGone && c.r.kind.Unites:
		b.all = true
		return c.basisOfNothing(b, KeepNode)
	case keep != "" && isGone:
		return c.basisOfNothing(b, keep)
	case keep != "" && errors.Is(err, c.r.kind.Diverged), keep != "" && err == nil && (saw == stale || saw == older):
		return c.basisOfTwo(b, keep)
	case err != nil:
		return nil, err
	case keep == KeepStorage && len(c.damaged) > 0:
		return nil, fmt.Errorf("%w: it cannot be kept; keep what the node knows", ErrDamaged)
	case saw == stale:
		return nil, errOlder
	case saw == older:
		b.due, b.restore = true, true
	case saw == forked:
		return c.fork, nil
	}
	return b, nil
}

// settle finds the requests of which an earlier attempt turns out to have
// succeeded, with what came of them, and gives the others.
func (b *basis[K, R]) settle(reqs []*request[K, R]) (pending []*request[K, R], settled map[*request[K, R]]any) {
	settled = map[*request[K, R]]any{}
	for _, req := range reqs {
		for id, result := range req.doubts {
			if b.rev.follows(id) || b.also.follows(id) {
				settled[req] = result
			}
		}
		if _, done := settled[req]; !done {
			pending = append(pending, req)
		}
	}
	return pending, settled
}

// evaluate finds out what the requests come to. forced are the shards that a
// repair wants written whether changed or not.
func (c *committer[K, R]) evaluate(b *basis[K, R], reqs []*request[K, R]) (w *Work[K, R], results []any, forced []int, err error) {
	w = newWork(c.r.kind, b.snapshot, maps.Clone(b.blocked))
	if isAsked := b.all || kept(reqs) == KeepNode; isAsked || b.restore {
		mended, lost, err := c.restore(b, isAsked)
		if err != nil {
			return nil, nil, nil, err
		}
		if isAsked {
			w.blocked, forced = nil, lost
		}
		for _, req := range reqs {
			req.mended = mended
		}
	}
	w.remake(b.steps)
	if c.mayRetire() {
		w.retire(c.retirable())
		c.retired = time.Now()
	}
	results = make([]any, len(reqs))
	for i, req := range reqs {
		if w.Now = req.now; req.change != nil {
			results[i] = req.change(w)
		}
	}
	return w, results, forced, nil
}

// write makes one revision of the work, and makes it what is known.
func (c *committer[K, R]) write(b *basis[K, R], w *Work[K, R], reqs []*request[K, R], results []any, forced []int) error {
	if b.rev == nil {
		if err := c.found(); err != nil {
			return fmt.Errorf("founding the registry: %w", err)
		}
		b.rev = c.head
	}
	p := c.plan(b, w, forced)
	if err := c.storeShards(p, reqs); err != nil {
		return err
	}
	if err := c.storeRevision(p, reqs, results); err != nil {
		return err
	}
	stay := min(max(3*time.Since(p.begun), time.Second), c.r.linger)
	lost := map[int]error{}
	for i := range w.blocked {
		lost[i] = ErrDamaged
	}
	for _, i := range p.shards {
		delete(lost, i)
		delete(c.garbage.until, c.r.folder.shard(i, p.rev.digests[i]))
		if old := b.rev.digests[i]; old != "" {
			c.garbage.until[c.r.folder.shard(i, old)] = time.Now().Add(stay)
		}
	}
	switch {
	case b.steps != nil:
		c.r.note(Event[R]{Kind: Overwritten})
	case b.restore:
		c.r.note(Event[R]{Kind: Older})
	}
	c.fork, c.staleAt, c.isEmptied = nil, time.Time{}, false
	c.publish(p.rev, p.next, lost)
	return nil
}

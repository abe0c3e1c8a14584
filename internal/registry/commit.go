package registry

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
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
	retired   time.Time            // when records that had ended were last removed
	isEmptied bool                 // and what is known is to be written again
	unnamed   map[string]time.Time // records that no revision names, with when they may be deleted
	sweepAt   time.Time            // when more of them are looked for
	first     *revision            // of the registry that this node began, or tried to; nil: it never did
}

// isPending reports whether there is something to write, though perhaps nobody asks for
// it.
func (c *committer[K, R]) isPending() bool {
	if waiting, _, _ := c.r.queued(); waiting > 0 {
		return true
	}
	isOlder := !c.staleAt.IsZero() && time.Since(c.staleAt) >= staleLimit
	_, mayRetire := c.retirable()
	if c.head == nil || c.shown.mend || c.copyDue || c.fork != nil || isOlder || c.isEmptied || mayRetire {
		return c.head != nil
	}
	for _, until := range c.unnamed {
		if !time.Now().Before(until) {
			return true
		}
	}
	return false
}

// retirable reports whether records that ended are to be removed, and when they must
// have ended: some time ago, as the clock of this node may be ahead of those of others,
// for whom they have not ended yet. They are not removed one by one, as that writes
// whole shards.
func (c *committer[K, R]) retirable() (before time.Time, some bool) {
	if !c.r.kind.Leaves || time.Since(c.retired) < c.r.retire {
		return before, false
	}
	before = c.r.now().Add(-6 * c.r.retire)
	return before, c.r.Snapshot().Ended(before) > 0
}

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
		c.collect()
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
	blocked := maps.Clone(b.blocked)
	if isAsked := b.all || kept(reqs) == KeepNode; isAsked || b.restore {
		mended, lost, err := c.restore(b, isAsked)
		if err != nil {
			return nil, nil, nil, err
		}
		if isAsked {
			blocked, forced = nil, lost
		}
		for _, req := range reqs {
			req.mended = mended
		}
	}
	w = newWork(c.r.kind, b.snapshot, blocked, b.steps)
	if before, some := c.retirable(); some {
		for _, s := range w.base.shards {
			for _, r := range s.ended(before) {
				_ = w.set(w.kind.Key(r), nil) // refused only while the record is damaged
			}
		}
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
	for n, i := range p.shards {
		delete(lost, i)
		delete(c.unnamed, p.keys[n])
		if old := b.rev.digests[i]; old != "" {
			c.unnamed[c.r.kind.shardKey(i, old)] = time.Now().Add(stay)
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

// plan is the next revision in the making.
type plan[K comparable, R any] struct {
	rev    *revision
	next   *Snapshot[K, R]
	shards []int // that have new records
	// Of each of them: the key and content of its record, and how many changes are in
	// it, for the progress.
	keys   []string
	values [][]byte
	counts []int
	begun  time.Time
}

// plan makes the next revision of the work.
func (c *committer[K, R]) plan(b *basis[K, R], w *Work[K, R], forced []int) *plan[K, R] {
	p := &plan[K, R]{rev: b.rev.next(), begun: time.Now()}
	if b.also != nil {
		p.rev = b.rev.join(b.also)
	}
	changes := map[int]map[K]*R{}
	for _, i := range forced {
		changes[i] = map[K]*R{}
	}
	for key, r := range w.changed {
		i := int(w.kind.Hash(key) >> 56)
		if changes[i] == nil {
			changes[i] = map[K]*R{}
		}
		changes[i][key] = r
	}
	next := *w.base
	p.shards = slices.Sorted(maps.Keys(changes))
	for _, i := range p.shards {
		s := newShard(w.kind, w.kind.with(next.shards[i], changes[i]), p.rev.Seq, p.rev.ID)
		record, digest := s.encode(i)
		s.recordDigest, next.shards[i], p.rev.digests[i] = digest, s, digest
		p.keys, p.values = append(p.keys, w.kind.shardKey(i, digest)), append(p.values, record)
		p.counts = append(p.counts, len(changes[i]))
	}
	p.next = &next
	return p
}

// storeShards writes the new records and reads each back. Nothing names them
// yet, so it does no harm if the rest fails. Meanwhile it looks, as late as it
// can, whether the revision record is still the one that was read.
func (c *committer[K, R]) storeShards(p *plan[K, R], reqs []*request[K, R]) error {
	for _, key := range p.keys {
		c.unnamed[key] = p.begun.Add(c.r.linger) // until the revision names it
	}
	ctx := c.lease.Context()
	failed := make([]bool, len(p.keys))
	err := c.lease.Each(len(p.keys), func(n int) error {
		err := c.lease.Store(ctx, p.keys[n], p.values[n])
		failed[n] = err != nil
		if storage.IsLasting(err) || errors.Is(err, storage.ErrNoAnswer) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing records: %w", err)
	}
	var mu sync.Mutex // guards written
	written := 0
	return c.lease.Each(len(p.keys)+1, func(n int) error {
		if n == len(p.keys) {
			return c.unchanged()
		}
		if failed[n] || c.lease.ReadBack(ctx, p.keys[n], p.values[n]) != nil {
			if err := c.storeSurely(p.keys[n], p.values[n]); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		written += p.counts[n]
		for _, req := range reqs {
			req.report(min(written, req.size))
		}
		return nil
	})
}

// storeSurely stores and reads back, and tries a few times: only for records that
// nobody else writes.
func (c *committer[K, R]) storeSurely(key string, value []byte) (err error) {
	for try := range 3 {
		err = c.lease.StoreChecked(c.lease.Context(), key, value)
		if err == nil || storage.IsLasting(err) || errors.Is(err, storage.ErrNoAnswer) {
			return err
		}
		if pause := c.pause(try); pause != nil {
			return pause
		}
	}
	return err
}

// storeRevision makes the change happen: it replaces the revision record, which
// storeShards found to be still the one that the change was made of, and its copy.
func (c *committer[K, R]) storeRevision(p *plan[K, R], reqs []*request[K, R], results []any) error {
	if time.Since(p.begun) > c.r.linger/2 {
		return errSlow // another node may have cleared the new records away
	}
	ctx, record := c.lease.Context(), p.rev.encode()
	err := c.lease.Store(ctx, c.r.kind.Folder+revisionFile, record)
	if err == nil {
		c.copyDue = true
		err = storage.Each(2, parallel, func(i int) error {
			if i == 1 {
				_ = c.lease.Store(ctx, c.r.kind.Folder+copyFile, record) // without it the change has happened all the same
				return nil
			}
			return c.lease.ReadBack(ctx, c.r.kind.Folder+revisionFile, record)
		})
	}
	if err != nil {
		for i, req := range reqs {
			req.doubts[p.rev.ID] = results[i]
		}
		return err
	}
	if time.Since(p.begun) > c.r.linger/2 { // this process was stopped meanwhile
		err := c.lease.Each(len(p.keys), func(n int) error { return c.storeSurely(p.keys[n], p.values[n]) })
		if err != nil {
			return err
		}
	}
	c.shown = reading{raw: record, rev: p.rev}
	c.reportRecord(c.r.kind.Folder+revisionFile, nil)
	return nil
}

// checkCopy makes sure that the copy is what the revision record is.
func (c *committer[K, R]) checkCopy() error {
	if !c.copyDue || c.shown.raw == nil {
		return nil
	}
	ctx := c.lease.Context()
	err := c.lease.ReadBack(ctx, c.r.kind.Folder+copyFile, c.shown.raw)
	if err != nil {
		// Of a storage that was emptied meanwhile it would be the only record.
		if err = c.unchanged(); err == nil {
			err = c.lease.StoreChecked(ctx, c.r.kind.Folder+copyFile, c.shown.raw)
		}
	}
	c.copyDue = err != nil
	return err
}

package account

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
type committer struct {
	*loader
	copyDue bool // the copy is not yet what the revision record is
	healAt  time.Time
	garbage garbage
	first   *revision // of the registry that this node began, or tried to; nil: it never did
}

// isDue reports whether there is something to write though nobody asks for it.
func (c *committer) isDue() bool {
	isOlder := !c.staleAt.IsZero() && time.Since(c.staleAt) >= staleLimit
	return c.head != nil && (c.shown.mend || c.copyDue || c.fork != nil || isOlder || c.garbage.isDue())
}

// basis is what the next revision is made of.
type basis struct {
	rev      *revision // that it follows, with its records; nil: nothing is stored yet
	also     *revision // that it follows, too; nil: none
	snapshot *snapshot // what rev names
	blocked  map[int]string
	steps    []step // that rev lacks
	due      bool   // it is to be written though nothing else is changed
	restore  bool   // records that rev names may be gone
}

// commit does what the requests ask for, under the lock, in one revision. It
// returns the requests that it did not answer.
func (c *committer) commit(reqs []*request) ([]*request, error) {
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
	for req, results := range settled {
		req.finish(results, nil)
	}
	if c.head != nil {
		c.garbage.sweep(c.lease, c.head, c.r.linger)
		c.garbage.collect(c.lease, c.head)
	}
	return nil, c.checkCopy()
}

// basis finds what the next revision is to be made of, as storage is and the
// requests decide.
func (c *committer) basis(reqs []*request) (*basis, error) {
	c.recheckAt = time.Time{} // a record may be well again, and the change possible
	saw, err := c.pull()
	b := &basis{rev: c.head, snapshot: c.r.current.Load(), blocked: c.damaged, due: c.shown.mend}
	keep := kept(reqs)
	switch {
	case keep != "" && (errors.Is(err, errGone) || errors.Is(err, ErrEmptied)):
		return c.basisOfNothing(b, keep)
	case keep != "" && errors.Is(err, ErrDiverged), keep != "" && err == nil && (saw == stale || saw == older):
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
func (b *basis) settle(reqs []*request) (pending []*request, settled map[*request][]Result) {
	settled = map[*request][]Result{}
	for _, req := range reqs {
		for id, results := range req.doubts {
			if b.rev.follows(id) || b.also.follows(id) {
				settled[req] = results
			}
		}
		if settled[req] == nil {
			pending = append(pending, req)
		}
	}
	return pending, settled
}

// evaluate finds out what the requests come to. forced are the shards that a
// repair wants written whether changed or not.
func (c *committer) evaluate(b *basis, reqs []*request) (w *work, results [][]Result, forced []int, err error) {
	w = newWork(b.snapshot, maps.Clone(b.blocked))
	if isAsked := kept(reqs) == KeepNode; isAsked || b.restore {
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
	results = make([][]Result, len(reqs))
	for i, req := range reqs {
		results[i] = make([]Result, 0, len(req.changes))
		for _, change := range req.changes {
			results[i] = append(results[i], w.apply(change, req.now))
		}
	}
	return w, results, forced, nil
}

// write makes one revision of the work, and makes it what is known.
func (c *committer) write(b *basis, w *work, reqs []*request, results [][]Result, forced []int) error {
	if b.rev == nil {
		if err := c.found(); err != nil {
			return fmt.Errorf("founding the registry: %w", err)
		}
		b.rev = c.head
	}
	p := makePlan(b, w, forced)
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
		delete(c.garbage.until, shardKey(i, p.rev.digests[i]))
		if old := b.rev.digests[i]; old != "" {
			c.garbage.until[shardKey(i, old)] = time.Now().Add(stay)
		}
	}
	switch {
	case b.steps != nil:
		c.r.note(Event{Kind: Overwritten})
	case b.restore:
		c.r.note(Event{Kind: Older})
	}
	c.fork, c.staleAt = nil, time.Time{}
	c.publish(p.rev, p.next, lost)
	return nil
}

// plan is the next revision in the making.
type plan struct {
	rev     *revision
	next    *snapshot
	shards  []int // that have new records
	records map[int][]byte
	counts  map[int]int // changes in each, for the progress
	begun   time.Time
}

// makePlan makes the next revision of the work.
func makePlan(b *basis, w *work, forced []int) *plan {
	p := &plan{rev: b.rev.next(), begun: time.Now(), records: map[int][]byte{}, counts: map[int]int{}}
	if b.also != nil {
		p.rev = b.rev.join(b.also)
	}
	changes := map[int]map[Key]*Account{}
	for _, i := range forced {
		changes[i] = map[Key]*Account{}
	}
	for key, a := range w.changed {
		i := shardOf(key.Subject)
		if changes[i] == nil {
			changes[i] = map[Key]*Account{}
		}
		changes[i][key] = a
	}
	next := *w.base
	for i, of := range changes {
		accounts := next.shards[i].with(of)
		record, digest := encodeShard(i, p.rev.Seq, p.rev.ID, accounts)
		next.shards[i] = newShard(accounts, origin{Seq: p.rev.Seq, Revision: p.rev.ID, Digest: digest})
		p.rev.digests[i], p.records[i], p.counts[i] = digest, record, len(of)
		p.shards = append(p.shards, i)
	}
	p.next = &next
	slices.Sort(p.shards)
	return p
}

// record is the nth of the new records, with its key.
func (p *plan) record(n int) (key string, value []byte) {
	i := p.shards[n]
	return shardKey(i, p.rev.digests[i]), p.records[i]
}

// storeShards writes the new records and reads each back. Nothing names them
// yet, so it does no harm if the rest fails. Meanwhile it looks, as late as it
// can, whether the revision record is still the one that was read.
func (c *committer) storeShards(p *plan, reqs []*request) error {
	for n := range p.shards {
		key, _ := p.record(n)
		c.garbage.until[key] = p.begun.Add(c.r.linger) // until the revision names it
	}
	ctx := c.lease.Context()
	failed := make([]bool, len(p.shards))
	err := storage.Each(len(p.shards), parallel, func(n int) error {
		key, value := p.record(n)
		err := c.lease.Store(ctx, key, value)
		failed[n] = err != nil
		if isLasting(err) || errors.Is(err, storage.ErrNoAnswer) {
			return err
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("writing records: %w", err)
	}
	var mu sync.Mutex // guards written
	written := 0
	return storage.Each(len(p.shards)+1, parallel, func(n int) error {
		if n == len(p.shards) {
			return c.unchanged()
		}
		key, value := p.record(n)
		if failed[n] || c.lease.ReadBack(ctx, key, value) != nil {
			if err := c.storeSurely(key, value); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		written += p.counts[p.shards[n]]
		for _, req := range reqs {
			req.report(min(written, len(req.changes)))
		}
		return nil
	})
}

// storeSurely stores and reads back, and tries a few times: only for records that
// nobody else writes.
func (c *committer) storeSurely(key string, value []byte) (err error) {
	for try := range 3 {
		err = c.lease.StoreChecked(c.lease.Context(), key, value)
		if err == nil || isLasting(err) || errors.Is(err, storage.ErrNoAnswer) {
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
func (c *committer) storeRevision(p *plan, reqs []*request, results [][]Result) error {
	if time.Since(p.begun) > c.r.linger/2 {
		return errSlow // another node may have cleared the new records away
	}
	ctx, record := c.lease.Context(), p.rev.encode()
	err := c.lease.Store(ctx, revisionKey, record)
	if err == nil {
		c.copyDue = true
		err = storage.Each(2, parallel, func(i int) error {
			if i == 1 {
				_ = c.lease.Store(ctx, copyKey, record) // without it the change has happened all the same
				return nil
			}
			return c.lease.ReadBack(ctx, revisionKey, record)
		})
	}
	if err != nil {
		for i, req := range reqs {
			req.doubts[p.rev.ID] = results[i]
		}
		return err
	}
	if time.Since(p.begun) > c.r.linger/2 { // this process was stopped meanwhile
		err := storage.Each(len(p.shards), parallel, func(n int) error { return c.storeSurely(p.record(n)) })
		if err != nil {
			return err
		}
	}
	c.shown = reading{raw: record, rev: p.rev}
	c.reportMended(revisionKey)
	return nil
}

// checkCopy makes sure that the copy is what the revision record is.
func (c *committer) checkCopy() error {
	if !c.copyDue || c.shown.raw == nil {
		return nil
	}
	ctx := c.lease.Context()
	err := c.lease.ReadBack(ctx, copyKey, c.shown.raw)
	if err != nil {
		// Of a storage that was emptied meanwhile it would be the only record.
		if err = c.unchanged(); err == nil {
			err = c.lease.StoreChecked(ctx, copyKey, c.shown.raw)
		}
	}
	c.copyDue = err != nil
	return err
}

// found makes the first revision, without accounts, so that there is one from
// the first record on. It is sure that nothing was there: a record of its own
// can be read before and after the revision cannot.
//
// Two nodes that do so at once, by a lock that both hold, would begin two
// registries, and none of them gives up what it knows. So it waits, for longer
// than another one may have taken to write since it found nothing, and looks
// which of the two is there.
func (c *committer) found() error {
	begun := time.Now()
	err := c.probe(func() error {
		found, err := c.read()
		if err == nil && found.rev != nil {
			return errRaced
		}
		return err
	})
	if err != nil {
		return err
	}
	if c.first == nil { // a try that failed may be written late, and must not be another registry then
		c.first = newRevision()
	}
	ctx, rev := c.lease.Context(), c.first
	record := rev.encode()
	if err := c.lease.StoreChecked(ctx, revisionKey, record); err != nil {
		return err
	}
	if err := storage.Pause(ctx, max(2*time.Since(begun), 50*time.Millisecond)); err != nil {
		return err
	}
	if err := c.lease.ReadBack(ctx, revisionKey, record); err != nil {
		return fmt.Errorf("%w: %w", errRaced, err)
	}
	if err := c.lease.StoreChecked(ctx, copyKey, record); err != nil {
		return err
	}
	c.shown = reading{raw: record, rev: rev}
	c.publish(rev, c.r.current.Load(), nil)
	return nil
}

// probe looks for what is perhaps not there while a record of its own can be read
// before and after: a storage that is down may say "not found" of everything.
func (c *committer) probe(look func() error) error {
	ctx := c.lease.Context()
	if err := c.lease.StoreChecked(ctx, probeKey, []byte("ok\n")); err != nil {
		return err
	}
	if err := look(); err != nil {
		return err
	}
	if _, err := c.lease.Load(ctx, probeKey); err != nil {
		return err
	}
	_ = c.lease.Delete(ctx, probeKey) // of no use any more, and no harm
	return nil
}

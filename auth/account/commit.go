package account

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

var (
	errRaced = errors.New("another node wrote at the same time")
	errSlow  = errors.New("writing took too long")
)

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
func (k *keeper) commit(reqs []*request) ([]*request, error) {
	b, err := k.basis(reqs)
	if err != nil {
		return reqs, err
	}
	pending, settled := b.settle(reqs)
	w, results, forced, err := k.evaluate(b, pending)
	if err != nil {
		return reqs, err
	}
	if len(w.changed) > 0 || len(forced) > 0 || b.due {
		if err := k.writeRevision(b, w, pending, results, forced); err != nil {
			return reqs, err
		}
	}
	for i, req := range pending {
		req.succeed(results[i])
	}
	for req, results := range settled {
		req.succeed(results)
	}
	k.sweep()
	k.collect()
	return nil, k.checkCopy()
}

// basis finds what the next revision is to be made of, as storage is and the
// requests decide.
func (k *keeper) basis(reqs []*request) (*basis, error) {
	k.recheckAt = time.Time{} // a record may be well again, and the change possible
	saw, err := k.pull()
	b := &basis{rev: k.head, snapshot: k.r.current.Load(), blocked: k.damaged, due: k.mend}
	keep := kept(reqs)
	switch {
	case keep != "" && (errors.Is(err, errGone) || errors.Is(err, ErrEmptied)):
		return k.basisOfNothing(b, keep)
	case keep != "" && errors.Is(err, ErrDiverged), keep != "" && err == nil && (saw == stale || saw == older):
		return k.basisOfTwo(b, keep)
	case err != nil:
		return nil, err
	case keep == KeepStorage && len(k.damaged) > 0:
		return nil, fmt.Errorf("%w: it cannot be kept; keep what the node knows", ErrDamaged)
	case saw == stale:
		return nil, errPast
	case saw == older:
		b.due, b.restore = true, true
	case saw == forked:
		b.rev, b.also, b.snapshot = k.fork.rev, k.head, k.fork.base
		b.blocked, b.steps, b.due = k.fork.blocked(), k.fork.steps, true
	}
	return b, nil
}

// settle finds the requests of which an earlier attempt turns out to have
// succeeded, with what came of them, and gives the others.
func (b *basis) settle(reqs []*request) (pending []*request, settled map[*request][]Result) {
	settled = map[*request][]Result{}
	for _, req := range reqs {
		at := slices.IndexFunc(req.doubts, func(d doubt) bool { return b.rev.follows(d.id) || b.also.follows(d.id) })
		if at < 0 {
			pending = append(pending, req)
			continue
		}
		settled[req] = req.doubts[at].results
	}
	return pending, settled
}

// evaluate finds out what the requests come to. forced are the shards that a
// repair wants written whether changed or not.
func (k *keeper) evaluate(b *basis, reqs []*request) (w *work, results [][]Result, forced []int, err error) {
	w = &work{base: b.snapshot, changed: map[Key]*Account{}, blocked: maps.Clone(b.blocked)}
	if isAsked := kept(reqs) == KeepNode; isAsked || b.restore {
		mended, lost, err := k.restore(b, isAsked)
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
		for _, c := range req.changes {
			results[i] = append(results[i], w.apply(c, req.now))
		}
	}
	return w, results, forced, nil
}

// writeRevision makes one revision of the work and publishes it.
func (k *keeper) writeRevision(b *basis, w *work, reqs []*request, results [][]Result, forced []int) error {
	if b.rev == nil {
		if err := k.found(); err != nil {
			return fmt.Errorf("founding the registry: %w", err)
		}
		b.rev = k.head
	}
	p := makePlan(b, w, forced)
	if err := k.storeShards(p, reqs); err != nil {
		return err
	}
	if err := k.storeRevision(p, reqs, results); err != nil {
		return err
	}
	k.finish(b, w, p)
	return nil
}

// storeRevision makes the change happen: it replaces the revision record, which
// storeShards found to be still the one that the change was made of, and its copy.
func (k *keeper) storeRevision(p *plan, reqs []*request, results [][]Result) error {
	if time.Since(p.begun) > k.r.linger/2 {
		return errSlow // another node may have cleared the new records away
	}
	record := p.rev.encode()
	err := k.h.Store(k.h.Context(), revisionKey, record)
	if err == nil {
		k.copyDue = true
		err = storage.Each(2, parallel, func(i int) error {
			if i == 1 {
				_ = k.h.Store(k.h.Context(), copyKey, record) // without it the change has happened all the same
				return nil
			}
			return k.h.ReadBack(k.h.Context(), revisionKey, record)
		})
	}
	if err != nil {
		for i, req := range reqs {
			req.doubts = append(req.doubts, doubt{p.rev.ID, results[i]})
		}
		return fmt.Errorf("writing %s: %w", revisionKey, err)
	}
	if time.Since(p.begun) > k.r.linger/2 { // this process was stopped meanwhile
		if err := storage.Each(len(p.shards), parallel, func(n int) error { return k.storeSurely(p.record(n)) }); err != nil {
			return err
		}
	}
	k.raw, k.read, k.mend = record, p.rev, false
	k.mended(revisionKey)
	return nil
}

// checkCopy makes sure that the copy is what the revision record is.
func (k *keeper) checkCopy() error {
	if !k.copyDue || k.raw == nil {
		return nil
	}
	err := k.h.ReadBack(k.h.Context(), copyKey, k.raw)
	if err != nil {
		// Of a storage that was emptied meanwhile it would be the only record.
		if err = k.compare(); err == nil {
			err = k.h.StoreChecked(k.h.Context(), copyKey, k.raw)
		}
	}
	k.copyDue = err != nil
	return err
}

// compare makes sure that nobody replaced the revision record meanwhile.
func (k *keeper) compare() error {
	raw, err := k.h.Load(k.h.Context(), revisionKey)
	switch {
	case k.raw == nil && err != nil:
		return nil // it was not to be had before either, but its copy was
	case err != nil:
		return fmt.Errorf("comparing the revision record: %w", err)
	case k.raw == nil || !bytes.Equal(raw, k.raw):
		return errRaced
	}
	return nil
}

// finish makes the written plan what is known.
func (k *keeper) finish(b *basis, w *work, p *plan) {
	stay := min(max(3*time.Since(p.begun), time.Second), k.r.linger)
	for _, i := range p.shards {
		delete(k.garbage, shardKey(i, p.rev.digests[i]))
		if old := b.rev.digests[i]; old != "" {
			k.garbage[shardKey(i, old)] = time.Now().Add(stay)
		}
	}
	lost := map[int]error{}
	for i := range w.blocked {
		if !slices.Contains(p.shards, i) {
			lost[i] = ErrDamaged
		}
	}
	switch {
	case b.steps != nil:
		k.r.note(Event{Kind: Overwritten})
	case b.restore:
		k.r.note(Event{Kind: Older})
	}
	k.fork, k.staleAt = nil, time.Time{}
	k.publish(p.rev, p.next, lost)
}

// found makes the first revision, without accounts, so that there is one from
// the first record on. It is sure that nothing was there: a record of its own
// can be read before and after the revision cannot.
//
// Two nodes that do so at once, by a lock that both hold, would begin two
// registries, and none of them gives up what it knows. So it waits, for longer
// than another one may have taken to write since it found nothing, and looks
// which of the two is there.
func (k *keeper) found() error {
	begun := time.Now()
	if err := k.h.StoreChecked(k.h.Context(), probeKey, []byte("ok\n")); err != nil {
		return err
	}
	found, err := k.readHead()
	if err != nil {
		return err
	}
	if found.rev != nil {
		return errRaced
	}
	if _, err := k.h.Load(k.h.Context(), probeKey); err != nil {
		return fmt.Errorf("reading %s: %w", probeKey, err)
	}
	rev := newRevision()
	record := rev.encode()
	if err := k.h.StoreChecked(k.h.Context(), revisionKey, record); err != nil {
		return err
	}
	if err := storage.Pause(k.h.Context(), max(2*time.Since(begun), 50*time.Millisecond)); err != nil {
		return err
	}
	if err := k.h.ReadBack(k.h.Context(), revisionKey, record); err != nil {
		return fmt.Errorf("%w: %w", errRaced, err)
	}
	if err := k.h.StoreChecked(k.h.Context(), copyKey, record); err != nil {
		return err
	}
	_ = k.h.Delete(k.h.Context(), probeKey) // of no use any more, and no harm
	k.head, k.raw, k.read = rev, record, rev
	k.r.head.Store(rev)
	k.past.begin(rev.ID)
	return nil
}

package account

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

var (
	errRaced = errors.New("another node wrote at the same time")
	errSlow  = errors.New("writing took too long")
)

// commit does what the requests ask for, under the lock, in one revision. It
// returns the requests that it did not answer.
func (k *keeper) commit(reqs []*request) ([]*request, error) {
	repair := slices.ContainsFunc(reqs, func(req *request) bool { return req.repair })
	k.recheckAt = time.Time{} // a record may be well again, and the change possible
	current, err := k.pull()
	if repair && errors.Is(err, errGone) {
		current, err = true, k.proveEmptied()
	}
	if err == nil && !current {
		err = errPast
	}
	if err != nil {
		return reqs, err
	}
	reqs = k.settle(reqs)
	k.sweep()
	w, results, forced, err := k.evaluate(reqs)
	if err != nil {
		return reqs, err
	}
	if len(w.changed) > 0 || len(forced) > 0 || k.mend {
		if err := k.writeRevision(w, reqs, results, forced); err != nil {
			return reqs, err
		}
	}
	for i, req := range reqs {
		req.succeed(results[i])
	}
	k.collect()
	return nil, k.storeCopy()
}

// evaluate finds out what the requests come to. forced are the shards that a
// repair wants written whether changed or not.
func (k *keeper) evaluate(reqs []*request) (w *work, results [][]Result, forced []int, err error) {
	w = &work{base: k.r.current.Load(), changed: map[Key]*Account{}, blocked: maps.Clone(k.damaged)}
	for _, req := range reqs {
		if req.repair {
			req.mended = nil
			if forced, err = k.repair(req, forced); err != nil {
				return nil, nil, nil, err
			}
			w.blocked = nil
		}
	}
	k.remake(w)
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
func (k *keeper) writeRevision(w *work, reqs []*request, results [][]Result, forced []int) error {
	if k.head == nil {
		if err := k.found(); err != nil {
			return fmt.Errorf("founding the registry: %w", err)
		}
	}
	p := k.plan(w, forced)
	if err := k.storeShards(p, reqs); err != nil {
		return err
	}
	if err := k.storeRevision(p, w, reqs, results); err != nil {
		return err
	}
	_ = k.storeCopy() // without it the change has happened all the same
	k.finish(w, p)
	return nil
}

// storeCopy writes the copy of the revision record, if it is due.
func (k *keeper) storeCopy() error {
	if !k.copyDue || k.raw == nil {
		return nil
	}
	err := k.h.storeChecked(copyKey, k.raw)
	k.copyDue = err != nil
	return err
}

// storeRevision makes the change happen: it replaces the revision record, if
// that is still the one that the change was made of.
func (k *keeper) storeRevision(p *plan, w *work, reqs []*request, results [][]Result) error {
	if err := k.compare(); err != nil {
		return err
	}
	if time.Since(p.begun) > k.r.linger/2 {
		return errSlow // another node may have cleared the new records away
	}
	record := p.rev.encode()
	if err := k.h.storeChecked(revisionKey, record); err != nil {
		for i, req := range reqs {
			req.doubts = append(req.doubts, doubt{acknowledge(w, p.rev), results[i]})
		}
		return err
	}
	if time.Since(p.begun) > k.r.linger/2 { // this process was stopped meanwhile
		if err := k.storeShards(p, nil); err != nil {
			return err
		}
	}
	k.raw, k.read, k.mend, k.copyDue = record, p.rev, false, true
	k.mended(revisionKey)
	return nil
}

// compare makes sure that nobody replaced the revision record meanwhile.
func (k *keeper) compare() error {
	raw, err := k.h.load(revisionKey)
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
func (k *keeper) finish(w *work, p *plan) {
	for _, i := range p.shards {
		delete(k.garbage, shardKey(i, p.rev.digests[i]))
		if old := k.head.digests[i]; old != "" {
			k.garbage[shardKey(i, old)] = time.Now()
		}
	}
	lost := map[int]error{}
	for i := range k.damaged {
		if !slices.Contains(p.shards, i) {
			lost[i] = ErrDamaged // said already
		}
	}
	k.remember(acknowledge(w, p.rev), p.rev)
	k.publish(p.rev, p.next, lost)
}

// settle answers the requests of which an earlier attempt turns out to have
// succeeded, and returns the others.
func (k *keeper) settle(reqs []*request) []*request {
	return slices.DeleteFunc(reqs, func(req *request) bool {
		for _, d := range req.doubts {
			if k.head.follows(d.attempt.id) {
				k.remember(d.attempt, k.head)
				req.succeed(d.results)
				return true
			}
		}
		return false
	})
}

// found makes the first revision, without accounts, so that there is one from
// the first record on. It is sure that nothing was there: a record of its own
// can be read before and after the revision cannot.
func (k *keeper) found() error {
	if err := k.h.storeChecked(probeKey, []byte("ok\n")); err != nil {
		return err
	}
	found, err := k.readHead()
	if err != nil {
		return err
	}
	if found.rev != nil {
		return errRaced
	}
	if _, err := k.h.load(probeKey); err != nil {
		return fmt.Errorf("reading %s: %w", probeKey, err)
	}
	rev := &revision{Seq: 1, ID: newRevisionID()}
	record := rev.encode()
	if err := k.h.storeChecked(revisionKey, record); err != nil {
		return err
	}
	if err := k.h.storeChecked(copyKey, record); err != nil {
		return err
	}
	_ = k.h.delete(probeKey) // of no use any more, and no harm
	k.head, k.raw, k.read = rev, record, rev
	return nil
}

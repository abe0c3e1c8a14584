package registry

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// plan is the next revision in the making.
type plan[K comparable, R any] struct {
	rev     *revision
	next    *Snapshot[K, R]
	shards  []int // that have new records
	records map[int][]byte
	counts  map[int]int // changes in each, for the progress
	begun   time.Time
}

// plan makes the next revision of the work.
func (c *committer[K, R]) plan(b *basis[K, R], w *Work[K, R], forced []int) *plan[K, R] {
	p := &plan[K, R]{rev: b.rev.next(), begun: time.Now(), records: map[int][]byte{}, counts: map[int]int{}}
	if b.also != nil {
		p.rev = b.rev.join(b.also)
	}
	changes := map[int]map[K]*R{}
	for _, i := range forced {
		changes[i] = map[K]*R{}
	}
	for key, r := range w.changed {
		i := w.kind.shardOf(key)
		if changes[i] == nil {
			changes[i] = map[K]*R{}
		}
		changes[i][key] = r
	}
	next := *w.base
	for i, of := range changes {
		records := w.kind.with(next.shards[i], of)
		record, digest := w.kind.encode(i, p.rev.Seq, p.rev.ID, records)
		next.shards[i] = newShard(w.kind, records, origin{Seq: p.rev.Seq, Revision: p.rev.ID, Digest: digest})
		p.rev.digests[i], p.records[i], p.counts[i] = digest, record, len(of)
		p.shards = append(p.shards, i)
	}
	p.next = &next
	slices.Sort(p.shards)
	return p
}

// record is the nth of the new records, with its key.
func (p *plan[K, R]) record(f folder, n int) (key string, value []byte) {
	i := p.shards[n]
	return f.shard(i, p.rev.digests[i]), p.records[i]
}

// storeShards writes the new records and reads each back. Nothing names them
// yet, so it does no harm if the rest fails. Meanwhile it looks, as late as it
// can, whether the revision record is still the one that was read.
func (c *committer[K, R]) storeShards(p *plan[K, R], reqs []*request[K, R]) error {
	for n := range p.shards {
		key, _ := p.record(c.r.folder, n)
		c.garbage.until[key] = p.begun.Add(c.r.linger) // until the revision names it
	}
	ctx := c.lease.Context()
	failed := make([]bool, len(p.shards))
	err := storage.Each(len(p.shards), parallel, func(n int) error {
		key, value := p.record(c.r.folder, n)
		err := c.lease.Store(ctx, key, value)
		failed[n] = err != nil
		if c.r.kind.isLasting(err) || errors.Is(err, storage.ErrNoAnswer) {
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
		key, value := p.record(c.r.folder, n)
		if failed[n] || c.lease.ReadBack(ctx, key, value) != nil {
			if err := c.storeSurely(key, value); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		written += p.counts[p.shards[n]]
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
		if err == nil || c.r.kind.isLasting(err) || errors.Is(err, storage.ErrNoAnswer) {
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
	err := c.lease.Store(ctx, c.r.folder.revision(), record)
	if err == nil {
		c.copyDue = true
		err = storage.Each(2, parallel, func(i int) error {
			if i == 1 {
				_ = c.lease.Store(ctx, c.r.folder.copied(), record) // without it the change has happened all the same
				return nil
			}
			return c.lease.ReadBack(ctx, c.r.folder.revision(), record)
		})
	}
	if err != nil {
		for i, req := range reqs {
			req.doubts[p.rev.ID] = results[i]
		}
		return err
	}
	if time.Since(p.begun) > c.r.linger/2 { // this process was stopped meanwhile
		err := storage.Each(len(p.shards), parallel, func(n int) error { return c.storeSurely(p.record(c.r.folder, n)) })
		if err != nil {
			return err
		}
	}
	c.shown = reading{raw: record, rev: p.rev}
	c.reportMended(c.r.folder.revision())
	return nil
}

// checkCopy makes sure that the copy is what the revision record is.
func (c *committer[K, R]) checkCopy() error {
	if !c.copyDue || c.shown.raw == nil {
		return nil
	}
	ctx := c.lease.Context()
	err := c.lease.ReadBack(ctx, c.r.folder.copied(), c.shown.raw)
	if err != nil {
		// Of a storage that was emptied meanwhile it would be the only record.
		if err = c.unchanged(); err == nil {
			err = c.lease.StoreChecked(ctx, c.r.folder.copied(), c.shown.raw)
		}
	}
	c.copyDue = err != nil
	return err
}

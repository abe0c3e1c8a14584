package account

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

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
func (k *keeper) storeShards(p *plan, reqs []*request) error {
	for n := range p.shards {
		key, _ := p.record(n)
		k.garbage[key] = p.begun.Add(k.r.linger) // until the revision names it
	}
	failed := make([]bool, len(p.shards))
	err := storage.Each(len(p.shards), parallel, func(n int) error {
		key, value := p.record(n)
		err := k.h.Store(k.h.Context(), key, value)
		failed[n] = err != nil
		if lasting(err) || errors.Is(err, storage.ErrNoAnswer) {
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
			return k.compare()
		}
		key, value := p.record(n)
		if failed[n] || k.h.ReadBack(k.h.Context(), key, value) != nil {
			if err := k.storeSurely(key, value); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		written += p.counts[p.shards[n]]
		for _, req := range reqs {
			req.tell(min(written, len(req.changes)))
		}
		return nil
	})
}

// storeSurely is storeChecked, tried a few times: only for records that nobody
// else writes.
func (k *keeper) storeSurely(key string, value []byte) (err error) {
	for try := range 3 {
		if err = k.h.StoreChecked(k.h.Context(), key, value); err == nil || lasting(err) || errors.Is(err, storage.ErrNoAnswer) {
			return err
		}
		if pause := k.pause(try); pause != nil {
			return pause
		}
	}
	return err
}

package account

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

var errReadBack = errors.New("a record read back is not what was written")

// plan is the next revision in the making.
type plan struct {
	rev     *revision
	next    *snapshot
	shards  []int // that have new records
	records map[int][]byte
	counts  map[int]int // changes in each, for the progress
	begun   time.Time
}

// plan makes the next revision of the work.
func (k *keeper) plan(w *work, forced []int) *plan {
	p := &plan{rev: k.head.next(), begun: time.Now(), records: map[int][]byte{}, counts: map[int]int{}}
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

// next is the revision that follows, with the same records.
func (v *revision) next() *revision {
	n := &revision{Seq: v.Seq + 1, ID: newRevisionID(), digests: v.digests}
	n.History = append([]string{v.ID}, v.History...)
	n.History = n.History[:min(len(n.History), historySize)]
	return n
}

func newRevisionID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// storeShards writes the new records and reads each back. Nothing names them
// yet, so it does no harm if the rest fails.
func (k *keeper) storeShards(p *plan, reqs []*request) error {
	for _, i := range p.shards {
		k.garbage[shardKey(i, p.rev.digests[i])] = p.begun // until the revision names it
	}
	var mu sync.Mutex // guards written
	written := 0
	return each(len(p.shards), func(n int) error {
		i := p.shards[n]
		if err := k.storeSurely(shardKey(i, p.rev.digests[i]), p.records[i]); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		written += p.counts[i]
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
		if err = k.h.storeChecked(key, value); err == nil || lasting(err) || errors.Is(err, errNoAnswer) {
			return err
		}
		if pause := k.pause(try); pause != nil {
			return pause
		}
	}
	return err
}

// storeChecked stores and reads back.
func (h *hosting) storeChecked(key string, value []byte) error {
	if err := h.store(key, value); err != nil {
		return fmt.Errorf("writing %s: %w", key, err)
	}
	got, err := h.load(key)
	if err != nil {
		return fmt.Errorf("reading back %s: %w", key, err)
	}
	if !bytes.Equal(got, value) {
		return fmt.Errorf("%w: %s", errReadBack, key)
	}
	return nil
}

package account

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Keep says what [Registry.Repair] keeps where storage and node differ.
type Keep string

// What can be kept.
const (
	// KeepNode keeps what this node knows, and writes it to storage.
	KeepNode Keep = "node"
	// KeepStorage keeps what storage holds, for this node and all others.
	KeepStorage Keep = "storage"
)

// kept is what the requests want kept; empty: none is a repair. Of two that do not
// agree the one that loses nothing in memory counts.
func kept(reqs []*request) (keep Keep) {
	for _, req := range reqs {
		if req.keep != "" && keep != KeepNode {
			keep = req.keep
		}
	}
	return keep
}

// basisOfNothing is for a storage that holds no revision any more.
func (k *keeper) basisOfNothing(b *basis, keep Keep) (*basis, error) {
	if err := k.proveEmptied(); err != nil {
		return nil, err
	}
	b.due = true
	if keep == KeepStorage {
		empty := *b.rev
		empty.digests = [shardCount]string{}
		b.rev, b.snapshot, b.blocked = &empty, &snapshot{}, nil
	}
	return b, nil
}

// basisOfTwo is for a storage that holds something else than is known here. The
// next revision follows both, so that the nodes that know either adopt it.
func (k *keeper) basisOfTwo(b *basis, keep Keep) (*basis, error) {
	b.also, b.due = k.read, true
	if keep == KeepNode {
		return b, nil
	}
	theirs, lost, err := fetch(k.h, k.read, b.snapshot)
	if err != nil {
		return nil, err
	}
	for i, why := range lost {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, shardKey(i, k.read.digests[i]), why)
	}
	b.rev, b.also, b.snapshot, b.blocked = k.read, b.rev, theirs, nil
	return b, nil
}

// restore writes again the records of the basis that are damaged or gone in
// storage, and gives their keys. Of those whose content is not known here, lost are
// the shards; what can be read of them is kept aside if an operator asked for it.
func (k *keeper) restore(b *basis, asked bool) (mended []string, lost []int, err error) {
	if b.rev == nil {
		return nil, nil, nil
	}
	var mu sync.Mutex // guards mended and lost
	err = storage.Each(shardCount, parallel, func(i int) error {
		digest := b.rev.digests[i]
		if digest == "" {
			return nil
		}
		key := shardKey(i, digest)
		if _, err := loadShard(k.h, i, digest, nil); err == nil {
			return nil
		}
		known := b.snapshot.shards[i]
		isLost := known.digest() != digest
		if isLost && !asked {
			return nil
		}
		var err error
		if isLost {
			err = k.keepAside(i, digest)
		} else {
			err = k.storeSurely(key, known.encode(i))
		}
		mu.Lock()
		defer mu.Unlock()
		mended = append(mended, key)
		if isLost {
			lost = append(lost, i)
		}
		return err
	})
	if k.mend {
		mended = append(mended, revisionKey)
	}
	slices.Sort(mended)
	return mended, lost, err
}

// healEvery is how often lost records are looked for, in refreshes.
const healEvery = 30

// heal writes again the records that are gone though the revision, which storage
// holds, names them: a storage may have lost, or evicted, some. It needs no lock, as
// their names say what they hold. A second copy of the revision that is gone, or
// another one's, is written under the lock.
func (k *keeper) heal() {
	if k.head == nil || k.raw == nil || k.mend || time.Now().Before(k.healAt) {
		return
	}
	k.healAt = time.Now().Add(storage.Spread(healEvery*k.h.Host.Refresh, 0.1))
	listed, err := list(k.h)
	if err != nil {
		return // the next look will find them
	}
	copied, copyErr := k.h.Load(k.h.Context(), copyKey)
	if k.compare() != nil {
		return // perhaps all is gone
	}
	k.copyDue = k.copyDue || copyErr != nil || !bytes.Equal(copied, k.raw)
	known := k.r.current.Load()
	var missing []int
	for i, digest := range k.head.digests {
		if _, found := slices.BinarySearch(listed, shardKey(i, digest)); digest != "" && !found && known.shards[i].digest() == digest {
			missing = append(missing, i)
		}
	}
	var healed atomic.Int32
	_ = storage.Each(len(missing), parallel, func(n int) error {
		i := missing[n]
		if _, err := loadShard(k.h, i, k.head.digests[i], nil); err == nil {
			return nil // it was not listed, and is there
		}
		if err := k.storeSurely(shardKey(i, k.head.digests[i]), known.shards[i].encode(i)); err != nil {
			return err // the next look will find it
		}
		healed.Add(1)
		return nil
	})
	if n := healed.Load(); n > 0 {
		k.r.note(Event{Kind: Healed, Records: int(n)})
	}
}

// encode makes the record that the shard was read from.
func (s *shard) encode(i int) []byte {
	record, _ := encodeShard(i, s.origin.Seq, s.origin.Revision, s.accounts)
	return record
}

// keepAside copies what can be read of a damaged record, for people to look at.
func (k *keeper) keepAside(i int, digest string) error {
	damaged, err := k.h.Load(k.h.Context(), shardKey(i, digest))
	if err != nil || len(damaged) == 0 {
		return nil // nothing to keep
	}
	return k.h.StoreChecked(k.h.Context(), asideKey(i, digest), damaged)
}

// proveEmptied makes sure that a storage without the revision record is not just
// down: a record of its own can be read before and after that one cannot.
func (k *keeper) proveEmptied() error {
	if err := k.h.StoreChecked(k.h.Context(), probeKey, []byte("ok\n")); err != nil {
		return err
	}
	found, err := k.readHead()
	if err == nil {
		return errRaced // it is there after all
	}
	if !errors.Is(err, errGone) && !errors.Is(err, ErrEmptied) {
		return err
	}
	if _, err := k.h.Load(k.h.Context(), probeKey); err != nil {
		return fmt.Errorf("reading %s: %w", probeKey, err)
	}
	_ = k.h.Delete(k.h.Context(), probeKey) // of no use any more, and no harm
	k.raw, k.read, k.mend = found.raw, nil, true
	return nil
}

package registry

import (
	"bytes"
	"cmp"
	"context"
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
func kept[K comparable, R any](reqs []*request[K, R]) (keep Keep) {
	for _, req := range reqs {
		if req.keep != "" && keep != KeepNode {
			keep = req.keep
		}
	}
	return keep
}

// basisOfNothing is for a storage that holds no revision any more.
func (c *committer[K, R]) basisOfNothing(b *basis[K, R], keep Keep) (*basis[K, R], error) {
	if err := c.probe(func() error {
		found, err := c.read()
		if err == nil {
			return errRaced // it is there after all
		}
		if !errors.Is(err, errGone) && !errors.Is(err, c.r.kind.Emptied) {
			return err
		}
		c.shown = reading{raw: found.raw, mend: true}
		return nil
	}); err != nil {
		return nil, err
	}
	b.due = true
	if keep == KeepStorage {
		empty := *b.rev
		empty.digests = [shardCount]string{}
		b.rev, b.snapshot, b.blocked = &empty, &Snapshot[K, R]{kind: c.r.kind}, nil
	}
	return b, nil
}

// basisOfTwo is for a storage that holds something else than is known here. The
// next revision follows both, so that the nodes that know either adopt it.
func (c *committer[K, R]) basisOfTwo(b *basis[K, R], keep Keep) (*basis[K, R], error) {
	shown := c.shown.rev
	b.also, b.due = shown, true
	if keep == KeepNode {
		return b, nil
	}
	theirs, lost, err := c.r.kind.fetch(c.lease, shown, b.snapshot)
	if err != nil {
		return nil, err
	}
	for i, why := range lost {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, c.r.kind.shardKey(i, shown.digests[i]), why)
	}
	b.rev, b.also, b.snapshot, b.blocked = shown, b.rev, theirs, nil
	return b, nil
}

// restore writes again the records of the basis that are damaged or gone in
// storage, and gives their keys. Of those whose content is not known here, lost are
// the shards; what can be read of them is kept aside if an operator asked for it.
func (c *committer[K, R]) restore(b *basis[K, R], asked bool) (mended []string, lost []int, err error) {
	if b.rev == nil {
		return nil, nil, nil
	}
	var mu sync.Mutex // guards mended and lost
	err = storage.Each(shardCount, parallel, func(i int) error {
		digest := b.rev.digests[i]
		if digest == "" {
			return nil
		}
		key := c.r.kind.shardKey(i, digest)
		if _, err := c.r.kind.load(c.lease, i, digest, nil); err == nil {
			return nil
		}
		known := b.snapshot.shards[i]
		isLost := known.digest() != digest
		if isLost && !asked {
			return nil
		}
		var err error
		if isLost {
			err = c.keepAside(i, digest)
		} else {
			record, _ := known.encode(i)
			err = c.storeSurely(key, record)
		}
		mu.Lock()
		defer mu.Unlock()
		mended = append(mended, key)
		if isLost {
			lost = append(lost, i)
		}
		return err
	})
	if c.shown.mend {
		mended = append(mended, c.r.kind.Folder+revisionFile)
	}
	slices.Sort(mended)
	return mended, lost, err
}

// keepAside copies what can be read of a damaged record, for people to look at.
func (c *committer[K, R]) keepAside(i int, digest string) error {
	ctx := c.lease.Context()
	damaged, err := c.lease.Load(ctx, c.r.kind.shardKey(i, digest))
	if err != nil || len(damaged) == 0 {
		return nil // nothing to keep
	}
	return c.lease.StoreChecked(ctx, c.r.kind.Folder+"/damaged-"+shardName(i)+"-"+digest+".json", damaged)
}

// healEvery is how often lost records are looked for, in refreshes.
const healEvery = 30

// heal writes again the records that are gone though the revision, which storage
// holds, names them: a storage may have lost, or evicted, some. It needs no lock, as
// their names say what they hold. A second copy of the revision that is gone, or
// another one's, is written under the lock.
func (c *committer[K, R]) heal() {
	if c.head == nil || c.shown.raw == nil || c.shown.mend || time.Now().Before(c.healAt) {
		return
	}
	c.healAt = time.Now().Add(storage.Spread(healEvery*c.lease.Host.Refresh, 0.1))
	listed, err := c.r.kind.list(c.lease.Context(), c.lease.Client)
	if err != nil {
		return // the next look will find them
	}
	copied, copyErr := c.lease.Load(c.lease.Context(), c.r.kind.Folder+copyFile)
	if c.unchanged() != nil {
		return // perhaps all is gone
	}
	c.copyDue = c.copyDue || copyErr != nil || !bytes.Equal(copied, c.shown.raw)
	known := c.r.current.Load()
	var missing []int
	for i, digest := range c.head.digests {
		if _, found := slices.BinarySearch(listed, c.r.kind.shardKey(i, digest)); digest != "" && !found && known.shards[i].digest() == digest {
			missing = append(missing, i)
		}
	}
	var healed atomic.Int32
	_ = storage.Each(len(missing), parallel, func(n int) error {
		i := missing[n]
		if _, err := c.r.kind.load(c.lease, i, c.head.digests[i], nil); err == nil {
			return nil // it was not listed, and is there
		}
		record, _ := known.shards[i].encode(i)
		if err := c.storeSurely(c.r.kind.shardKey(i, c.head.digests[i]), record); err != nil {
			return err // the next look will find it
		}
		healed.Add(1)
		return nil
	})
	if n := healed.Load(); n > 0 {
		c.r.note(Event[R]{Kind: Healed, Records: int(n)})
	}
}

// Comparison is what storage holds beside what a registry knows.
type Comparison[K comparable, R any] struct {
	// StorageState is that of the registry.
	StorageState StorageState
	// Node is what is known, Storage what storage holds; nil: nothing.
	Node, Storage *Side[K, R]
	// OnlyNode and OnlyStorage count the records of one side, Different those of
	// both that are not alike.
	OnlyNode, OnlyStorage, Different int
	// Differences are some of all those, at most 100.
	Differences []Changed[R] // Before: in storage; After: here
	// Damaged are the records of storage that storage lacks though it names them, or that
	// cannot be read; what they hold is left out of the comparison.
	Damaged []string
}

// Side is one of two states.
type Side[K comparable, R any] struct {
	Revision uint64 // the number of its revision
	ID       string // and its id
	Records  *Snapshot[K, R]
}

// maxDifferences bounds those that a [Comparison] lists.
const maxDifferences = 100

// Compare reads all of storage anew. Its error is [ErrBusy] if that is not
// possible.
func (r *Registry[K, R]) Compare() (*Comparison[K, R], error) {
	h := r.leases.Newest()
	if h == nil || !h.HasStorage() {
		return nil, fmt.Errorf("%w: %w", ErrBusy, storage.ErrNoStorage)
	}
	known, head := r.current.Load(), r.head.Load()
	c := &Comparison[K, R]{StorageState: r.StorageState()}
	if head != nil {
		c.Node = &Side[K, R]{head.Seq, head.ID, known}
	}
	rev, err := r.kind.anyRevision(h.Context(), h.Client)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	held, lost, err := r.kind.fetch(h, rev, known)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	if rev != nil {
		c.Storage = &Side[K, R]{rev.Seq, rev.ID, held}
	}
	for i := range held.shards {
		if lost[i] != nil {
			c.Damaged = append(c.Damaged, r.kind.shardKey(i, rev.digests[i]))
			continue
		}
		differences := r.kind.difference(held.shards[i], known.shards[i])
		for _, d := range differences {
			switch {
			case d.Before == nil:
				c.OnlyNode++
			case d.After == nil:
				c.OnlyStorage++
			default:
				c.Different++
			}
		}
		room := min(maxDifferences-len(c.Differences), len(differences))
		c.Differences = append(c.Differences, differences[:room]...)
	}
	return c, nil
}

// anyRevision reads the revision record or, if that cannot be used, its copy. It is
// nil if storage holds neither.
func (k *Kind[K, R]) anyRevision(ctx context.Context, c *storage.Client) (*revision, error) {
	var why error
	for _, key := range []string{k.Folder + revisionFile, k.Folder + copyFile} {
		raw, err := c.Load(ctx, key)
		if err == nil {
			var rev *revision
			if rev, err = parseRevision(raw); err == nil {
				return rev, nil
			}
		}
		why = cmp.Or(why, fmt.Errorf("%s: %w", key, err))
	}
	keys, err := k.list(ctx, c)
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		return nil, nil
	}
	return nil, why
}

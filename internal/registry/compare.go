package registry

import (
	"cmp"
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

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
	c := &Comparison[K, R]{StorageState: r.StorageState(), Node: side(head, known)}
	rev, err := r.folder.anyRevision(h)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	held, lost, err := r.kind.fetch(h, rev, known)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	c.Storage = side(rev, held)
	for i := range held.shards {
		if lost[i] != nil {
			c.Damaged = append(c.Damaged, r.folder.shard(i, rev.digests[i]))
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

func side[K comparable, R any](rev *revision, records *Snapshot[K, R]) *Side[K, R] {
	if rev == nil {
		return nil
	}
	return &Side[K, R]{rev.Seq, rev.ID, records}
}

// anyRevision reads the revision record or, if that cannot be used, its copy. It is
// nil if storage holds neither.
func (f folder) anyRevision(h *lease) (*revision, error) {
	var why error
	for _, key := range []string{f.revision(), f.copied()} {
		raw, err := h.Load(h.Context(), key)
		if err == nil {
			var rev *revision
			if rev, err = parseRevision(raw); err == nil {
				return rev, nil
			}
		}
		why = cmp.Or(why, fmt.Errorf("%s: %w", key, err))
	}
	keys, err := f.list(h)
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		return nil, nil
	}
	return nil, why
}

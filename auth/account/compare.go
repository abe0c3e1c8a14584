package account

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Comparison is what storage holds beside what a registry knows.
type Comparison struct {
	// Standing is that of the registry.
	Standing Standing
	// Node is what is known, Storage what storage holds; nil: nothing.
	Node, Storage *Side
	// OnlyNode and OnlyStorage count the accounts of one side, Different those of
	// both that are not alike.
	OnlyNode, OnlyStorage, Different int
	// Differences are the first of all those, by issuer and subject.
	Differences []Changed // Before: in storage; After: here
	// Damaged are the records that storage lacks though it names them, or that
	// cannot be read; their accounts are left out of the comparison.
	Damaged []string
}

// Side is one of two states of the accounts.
type Side struct {
	Revision uint64 // the number of its revision
	ID       string // and its id
	Counts   Counts
}

// maxDifferences bounds those that a [Comparison] lists.
const maxDifferences = 100

// Compare reads all of storage anew. Its error is [ErrBusy] if that is not
// possible.
func (r *Registry) Compare() (*Comparison, error) {
	h := r.leases.Newest()
	if h == nil || !h.HasStorage() {
		return nil, fmt.Errorf("%w: %w", ErrBusy, storage.ErrNoStorage)
	}
	known, head := r.current.Load(), r.head.Load()
	c := &Comparison{Standing: r.Standing(), Node: r.side(head, known)}
	rev, err := anyRevision(h)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	held, lost, err := fetch(h, rev, known)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBusy, err)
	}
	c.Storage = r.side(rev, held)
	for i := range held.shards {
		if lost[i] != nil {
			c.Damaged = append(c.Damaged, shardKey(i, rev.digests[i]))
			continue
		}
		c.count(difference(held.shards[i], known.shards[i]))
	}
	slices.SortFunc(c.Differences, func(a, b Changed) int {
		return cmp.Or(strings.Compare(a.Key().Issuer, b.Key().Issuer), strings.Compare(a.Subject(), b.Subject()))
	})
	return c, nil
}

func (c *Comparison) count(differences []Changed) {
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

func (r *Registry) side(rev *revision, accounts *snapshot) *Side {
	if rev == nil {
		return nil
	}
	return &Side{rev.Seq, rev.ID, accounts.counts(r.now())}
}

// anyRevision reads the revision record or, if that cannot be used, its copy. It is
// nil if storage holds neither.
func anyRevision(h *lease) (*revision, error) {
	var why error
	for _, key := range []string{revisionKey, copyKey} {
		raw, err := h.Load(h.Context(), key)
		if err == nil {
			var rev *revision
			if rev, err = parseRevision(raw); err == nil {
				return rev, nil
			}
		}
		why = cmp.Or(why, fmt.Errorf("%s: %w", key, err))
	}
	keys, err := list(h)
	switch {
	case err != nil:
		return nil, err
	case len(keys) == 0:
		return nil, nil
	}
	return nil, why
}

package registry

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Work is what a change sees, and changes: all records as storage holds them now,
// under the lock of all nodes, and the changes of this revision that are not written
// yet.
type Work[K comparable, R any] struct {
	// Now is when the change was asked for, in Unix seconds.
	Now int64

	kind    *Kind[K, R]
	base    *Snapshot[K, R]
	changed map[K]*R       // nil: deleted
	touched map[uint64][]K // those of changed, by hash
	blocked map[int]string // shards that must not be written, with the damaged record
}

func newWork[K comparable, R any](k *Kind[K, R], base *Snapshot[K, R], blocked map[int]string) *Work[K, R] {
	return &Work[K, R]{kind: k, base: base, changed: map[K]*R{}, touched: map[uint64][]K{}, blocked: blocked}
}

// Get returns the record with that key; nil: there is none.
func (w *Work[K, R]) Get(key K) *R {
	if r, ok := w.changed[key]; ok {
		return r
	}
	return w.base.Find(key)
}

// Like are the records that match, in order, of those with that hash.
func (w *Work[K, R]) Like(hash uint64, match func(*R) bool) []*R {
	found := w.base.Like(hash, func(r *R) bool {
		_, changed := w.changed[w.kind.Key(r)]
		return !changed && match(r)
	})
	for _, key := range w.touched[hash] {
		if r := w.changed[key]; r != nil && match(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, w.kind.Compare)
	return found
}

// ByID returns the record with that id, unless it is not written yet; nil: there is
// none.
func (w *Work[K, R]) ByID(id uuid.UUID) *R {
	if r := w.base.ByID(id); r != nil {
		return w.Get(w.kind.Key(r))
	}
	return nil
}

// Put adds a record, or puts it in the place of the one with its key. It fails with
// [ErrDamaged].
func (w *Work[K, R]) Put(r *R) error { return w.set(w.kind.Key(r), r) }

// Delete removes the record with that key, if there is one. It fails with
// [ErrDamaged].
func (w *Work[K, R]) Delete(key K) error {
	if w.Get(key) == nil {
		return nil
	}
	return w.set(key, nil)
}

// set replaces a record, or deletes it (nil), unless its shard is damaged.
func (w *Work[K, R]) set(key K, r *R) error {
	hash := w.kind.Hash(key)
	if record := w.blocked[int(hash>>56)]; record != "" {
		return fmt.Errorf("%w: %s holds what is to be changed, or would; restore the record, or write what is known of it: %s", ErrDamaged, record, w.kind.Repair)
	}
	if _, again := w.changed[key]; !again {
		w.touched[hash] = append(w.touched[hash], key)
	}
	w.changed[key] = r
	return nil
}

// retire removes what has ended.
func (w *Work[K, R]) retire(now time.Time) {
	for _, s := range w.base.shards {
		if s == nil {
			continue
		}
		for _, r := range s.ending[:s.endedAt(now)] {
			_ = w.set(w.kind.Key(r), nil) // refused only while the record is damaged
		}
	}
}

package registry

import (
	"encoding/binary"
	"iter"
	"slices"
	"sort"
	"time"

	"github.com/google/uuid"
)

// Snapshot is all records at one revision. It never changes once made.
type Snapshot[K comparable, R any] struct {
	kind    *Kind[K, R]
	version uint64
	shards  [shardCount]*shard[K, R]
}

// Find returns the record with that key; nil: there is none. It takes no lock and
// allocates nothing.
func (s *Snapshot[K, R]) Find(key K) *R {
	h := s.kind.Hash(key)
	return s.shards[h>>56].find(h, key)
}

// Like are the records that match, in order, of those with that hash; it may ask
// about others, too.
func (s *Snapshot[K, R]) Like(hash uint64, match func(*R) bool) []*R {
	sh := s.shards[hash>>56]
	if sh == nil {
		return nil
	}
	var found []*R
	sh.table.find(hash, func(r *R) bool {
		if match(r) {
			found = append(found, r)
		}
		return false
	})
	slices.SortFunc(found, s.kind.Compare)
	return found
}

// ByID returns the record with that id; nil: there is none.
func (s *Snapshot[K, R]) ByID(id uuid.UUID) *R {
	if s.kind.ID == nil {
		return nil
	}
	hash := binary.BigEndian.Uint64(id[:]) // it is a digest already
	for _, sh := range s.shards {
		if sh == nil {
			continue
		}
		if r := sh.ids().find(hash, func(r *R) bool { return s.kind.ID(r) == id }); r != nil {
			return r
		}
	}
	return nil
}

// Len is the number of records.
func (s *Snapshot[K, R]) Len() (sum int) {
	for _, sh := range s.shards {
		sum += len(sh.members())
	}
	return sum
}

// Ended counts the records that have ended, by [Kind.Ends].
func (s *Snapshot[K, R]) Ended(now time.Time) (sum int) {
	for _, sh := range s.shards {
		sum += len(sh.ended(now))
	}
	return sum
}

// Summaries are what [Kind.Summarize] made of each shard that has records.
func (s *Snapshot[K, R]) Summaries() iter.Seq[any] {
	return func(yield func(any) bool) {
		for _, sh := range s.shards {
			if sh != nil && !yield(sh.summary) {
				return
			}
		}
	}
}

// List gives records in their order: those that match (nil: all), from the first of
// which from is true, which must be so of all after it (nil: all); at most limit of
// them (0: all). It costs as much as it returns and passes over, however many records
// there are. It is never nil.
func (s *Snapshot[K, R]) List(from, match func(*R) bool, limit int) []*R {
	var rest [][]*R // of each shard, none empty, by the first record
	byFirst := func(a, b []*R) int { return s.kind.Compare(a[0], b[0]) }
	skip := func(run []*R) []*R {
		for len(run) > 0 && match != nil && !match(run[0]) {
			run = run[1:]
		}
		return run
	}
	total := 0
	for _, sh := range s.shards {
		run := sh.members()
		if from != nil {
			run = run[sort.Search(len(run), func(i int) bool { return from(run[i]) }):]
		}
		if run = skip(run); len(run) > 0 {
			rest = append(rest, run)
			total += len(run)
		}
	}
	if limit > 0 {
		total = min(total, limit)
	}
	slices.SortFunc(rest, byFirst)
	listed := make([]*R, 0, total)
	for len(rest) > 0 && len(listed) < total {
		listed = append(listed, rest[0][0])
		run := skip(rest[0][1:])
		if len(run) == 0 {
			rest = rest[1:]
			continue
		}
		at, _ := slices.BinarySearchFunc(rest[1:], run, byFirst)
		copy(rest, rest[1:at+1])
		rest[at] = run
	}
	return listed
}

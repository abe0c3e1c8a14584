package account

import (
	"container/heap"
	"sort"
	"time"

	"github.com/google/uuid"
)

// snapshot is all accounts at one revision. It never changes once made.
type snapshot struct {
	version uint64
	shards  [shardCount]*shard
}

func (s *snapshot) find(subject string) *Account {
	h := hash(subject)
	return s.shards[h>>56].find(h, subject)
}

// get finds an account by subject or, if there is none, by id.
func (s *snapshot) get(key string) *Account {
	if a := s.find(key); a != nil {
		return a
	}
	if len(key) != 36 {
		return nil
	}
	id, err := uuid.Parse(key)
	if err != nil {
		return nil
	}
	for _, sh := range s.shards {
		if a := sh.findID(id); a != nil {
			return a
		}
	}
	return nil
}

// Counts are numbers of accounts by their [State].
type Counts struct {
	Active, Inactive, Expired int
}

// Total is the number of all.
func (c Counts) Total() int { return c.Active + c.Inactive + c.Expired }

func (s *snapshot) counts(now time.Time) Counts {
	var c Counts
	for _, sh := range s.shards {
		if sh == nil {
			continue
		}
		expired := sh.expiredAt(now)
		c.Active += sh.active - expired
		c.Expired += expired
		c.Inactive += len(sh.accounts) - sh.active
	}
	return c
}

// list returns up to limit accounts (0: all) whose subjects come after the one
// given, by subject. Its cost grows with what it returns, not with what there is.
func (s *snapshot) list(after string, limit int) []*Account {
	var rest runs
	total := 0
	for _, sh := range s.shards {
		run := sh.members()
		if after != "" {
			run = run[sort.Search(len(run), func(i int) bool { return run[i].Subject() > after }):]
		}
		if len(run) > 0 {
			rest = append(rest, run)
			total += len(run)
		}
	}
	if limit <= 0 || limit > total {
		limit = total
	}
	heap.Init(&rest)
	listed := make([]*Account, 0, limit)
	for len(listed) < limit {
		listed = append(listed, rest[0][0])
		if rest[0] = rest[0][1:]; len(rest[0]) == 0 {
			heap.Pop(&rest)
			continue
		}
		heap.Fix(&rest, 0)
	}
	return listed
}

// runs is a heap of sorted lists, none empty, by their first element.
type runs [][]*Account

func (r runs) Len() int           { return len(r) }
func (r runs) Less(i, j int) bool { return r[i][0].Subject() < r[j][0].Subject() }
func (r runs) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *runs) Push(x any)        { *r = append(*r, x.([]*Account)) }
func (r *runs) Pop() any {
	old := *r
	last := old[len(old)-1]
	*r = old[:len(old)-1]
	return last
}

// difference lists what became of the accounts of one shard.
func difference(old, fresh *shard) []Changed {
	var changed []Changed
	before, after := old.members(), fresh.members()
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && before[0].Subject() < after[0].Subject():
			changed = append(changed, Changed{Before: before[0]})
			before = before[1:]
		case len(before) == 0 || after[0].Subject() < before[0].Subject():
			changed = append(changed, Changed{After: after[0]})
			after = after[1:]
		default:
			if before[0] != after[0] && !before[0].equal(after[0]) {
				changed = append(changed, Changed{Before: before[0], After: after[0]})
			}
			before, after = before[1:], after[1:]
		}
	}
	return changed
}

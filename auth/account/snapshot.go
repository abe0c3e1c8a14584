package account

import (
	"slices"
	"sort"
	"time"

	"github.com/google/uuid"
)

// snapshot is all accounts at one revision. It never changes once made.
type snapshot struct {
	version uint64
	shards  [shardCount]*shard
}

func (s *snapshot) find(key Key) *Account {
	h := hash(key.Subject)
	return s.shards[h>>56].find(h, key)
}

// named are the accounts with that subject, of all issuers.
func (s *snapshot) named(subject string) []*Account {
	h := hash(subject)
	return s.shards[h>>56].named(h, subject)
}

// findID finds an account by its id.
func (s *snapshot) findID(id uuid.UUID) *Account {
	for _, sh := range s.shards {
		if a := sh.findID(id); a != nil {
			return a
		}
	}
	return nil
}

func parseID(text string) (uuid.UUID, bool) {
	if len(text) != 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(text)
	return id, err == nil
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

// Unconfirmed counts, by issuer, the stored accounts that were registered for another
// issuer than the one which has its name now. They let nobody in until they are
// confirmed.
func (r *Registry) Unconfirmed(configured Issuers) map[Issuer]int {
	counts := map[Issuer]int{}
	for _, s := range r.current.Load().shards {
		if s == nil {
			continue
		}
		for was, n := range s.issuers() {
			if now := configured.Identifier(was.Name); now != "" && was.Identifier != "" && was.Identifier != now {
				counts[was] += n
			}
		}
	}
	return counts
}

// Query asks for accounts in their order: by subject, and those of one subject by
// issuer. The zero value asks for all.
type Query struct {
	// After: the accounts after those with that subject.
	After string
	// AfterIssuer: those after the account of After with that issuer instead.
	AfterIssuer string
	// Issuer, if not empty: only accounts of that one.
	Issuer string
	// Limit is the greatest number of accounts. Zero: all.
	Limit int
}

// begin is the rest of sorted accounts from the first one that is meant.
func (q Query) begin(run []*Account) []*Account {
	if q.After != "" {
		run = run[sort.Search(len(run), func(i int) bool {
			if q.AfterIssuer == "" {
				return run[i].Subject() > q.After
			}
			return run[i].Key().compare(Key{q.AfterIssuer, q.After}) > 0
		}):]
	}
	return q.next(run)
}

// next skips the accounts of other issuers.
func (q Query) next(run []*Account) []*Account {
	for len(run) > 0 && q.Issuer != "" && run[0].Issuer() != q.Issuer {
		run = run[1:]
	}
	return run
}

// list answers a query. It costs as much as it returns and, where only one issuer's
// accounts are meant, passes over, however many accounts there are.
func (s *snapshot) list(q Query) []*Account {
	var rest [][]*Account // of each shard, none empty, by the first account
	byFirst := func(a, b []*Account) int { return byKey(a[0], b[0]) }
	total := 0
	for _, sh := range s.shards {
		if run := q.begin(sh.members()); len(run) > 0 {
			rest = append(rest, run)
			total += len(run)
		}
	}
	if q.Limit > 0 {
		total = min(total, q.Limit)
	}
	slices.SortFunc(rest, byFirst)
	listed := make([]*Account, 0, total)
	for len(rest) > 0 && len(listed) < total {
		listed = append(listed, rest[0][0])
		run := q.next(rest[0][1:])
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

// difference lists what became of the accounts of one shard.
func difference(old, fresh *shard) []Changed {
	var changed []Changed
	before, after := old.members(), fresh.members()
	for len(before) > 0 || len(after) > 0 {
		switch {
		case len(after) == 0 || len(before) > 0 && byKey(before[0], after[0]) < 0:
			changed = append(changed, Changed{Before: before[0]})
			before = before[1:]
		case len(before) == 0 || byKey(after[0], before[0]) < 0:
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

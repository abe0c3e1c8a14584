package account

import (
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

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

// Counts counts the accounts by their state now.
func (r *Registry) Counts() Counts { return Count(r.Snapshot(), r.now()) }

// Count counts accounts by their state at that time.
func Count(s *registry.Snapshot[Key, Account], now time.Time) Counts {
	c := Counts{Expired: s.Ended(now)}
	for of := range s.Summaries() {
		of := of.(*summary)
		c.Active += of.active
		c.Inactive += of.total - of.active
	}
	c.Active -= c.Expired
	return c
}

// Unconfirmed counts, by issuer, the stored accounts that were registered for another
// issuer than the one which has its name now. They let nobody in until they are
// confirmed.
func (r *Registry) Unconfirmed(configured Issuers) map[Issuer]int {
	counts := map[Issuer]int{}
	for of := range r.Snapshot().Summaries() {
		for was, n := range of.(*summary).issuers() {
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

// from reports whether the account is one of those after After.
func (q Query) from(a *Account) bool {
	switch {
	case q.After == "":
		return true
	case q.AfterIssuer == "":
		return a.Subject() > q.After
	}
	return a.Key().compare(Key{q.AfterIssuer, q.After}) > 0
}

func (q Query) matches(a *Account) bool { return q.Issuer == "" || a.Issuer() == q.Issuer }

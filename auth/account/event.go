package account

import "time"

// EventKind says what happened. The set is closed.
type EventKind string

// The kinds of events.
const (
	// Loaded: the accounts were read for the first time.
	Loaded EventKind = "loaded"
	// Updated: accounts are others than before, by this node or another one;
	// Changes tells which.
	Updated EventKind = "updated"
	// Lapsed: the expires_at of accounts has come; Changes tells whose.
	Lapsed EventKind = "lapsed"
	// Unavailable: storage cannot be read, or not be written, or holds something
	// else; Standing and Err say which. Said once an outage, and when it turns out
	// to be another. The last known accounts stay.
	Unavailable EventKind = "unavailable"
	// Recovered: storage answers again.
	Recovered EventKind = "recovered"
	// Damaged: Record cannot be used; Err says why. Said once a record.
	Damaged EventKind = "damaged"
	// Mended: Record is well again, or no longer needed.
	Mended EventKind = "mended"
	// Overwritten: changes that were acknowledged were overwritten by another
	// node that held the lock at the same time; they were made again.
	Overwritten EventKind = "overwritten"
	// Older: storage showed an older state than was known, which was written again
	// from what this node or the storage's second copy held.
	Older EventKind = "older"
	// Healed: records that were gone from storage were written again; Records tells
	// how many.
	Healed EventKind = "healed"
)

// Event is one thing that happened to the accounts or their storage.
type Event struct {
	Kind EventKind
	Time time.Time
	// Changes are those of Updated and Lapsed, never empty there.
	Changes []Changed
	// Record is the storage key of Damaged and Mended.
	Record string
	// Records counts those of Healed.
	Records int
	// Standing is that of Unavailable.
	Standing Standing
	// Err is the reason of Unavailable and Damaged: possibly the storage's own
	// error, which is for logs and not for callers.
	Err error
}

// Changed is what became of one account.
type Changed struct {
	// Before is nil if the account is new, After if it was deleted. They are the
	// same if it expired.
	Before, After *Account
}

// Subject is the account's.
func (c Changed) Subject() string { return c.either().Subject() }

// Key is the account's.
func (c Changed) Key() Key { return c.either().Key() }

func (c Changed) either() *Account {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// note queues an event. Changes are never lost: where many events wait they join
// the last ones.
func (r *Registry) note(ev Event) {
	if r.leases.Newest() == nil && len(ev.Changes) > 0 {
		return // nothing was let in that could end
	}
	ev.Time = r.now()
	r.events.Note(ev)
}

func (ev Event) hasChanges() bool { return len(ev.Changes) > 0 }

// join adds the changes of an event to an older one of its kind.
func (ev *Event) join(next Event) bool {
	if ev.Kind != next.Kind {
		return false
	}
	ev.Changes = append(ev.Changes, next.Changes...)
	return true
}

// observer is who is told now.
func (r *Registry) observer() (func(Event), bool) {
	lease := r.leases.Newest()
	if lease == nil {
		return nil, false
	}
	return lease.Host.Observe, true
}

package registry

import (
	"time"
)

// EventKind says what happened. The set is closed.
type EventKind string

// The kinds of events.
const (
	// Loaded: the records were read for the first time.
	Loaded EventKind = "loaded"
	// Updated: records were changed, by this node or another one; Changes tells
	// which.
	Updated EventKind = "updated"
	// Ended: the time of records is over, by [Kind.Ends]; Changes tells whose.
	Ended EventKind = "expired"
	// Unavailable: storage cannot be read or written, or holds something else;
	// StorageState and Err say which. It is sent once for each outage, and again when
	// that turns into one of another kind. The last known records stay in use.
	Unavailable EventKind = "unavailable"
	// Recovered: storage answers again.
	Recovered EventKind = "recovered"
	// Damaged: Record, one of storage, cannot be used; Err says why. It is sent once for each record.
	Damaged EventKind = "damaged"
	// Mended: Record is well again, or no longer needed.
	Mended EventKind = "mended"
	// Overwritten: another node, which held the lock at the same time, overwrote
	// changes that had been acknowledged; they were made again.
	Overwritten EventKind = "overwritten"
	// Older: storage showed an older state than was known; the newer one was written
	// again from what this node or the second copy in storage held.
	Older EventKind = "older"
	// Healed: records of storage that were gone from storage were written again; Records tells
	// how many.
	Healed EventKind = "healed"
)

// Event is one thing that happened to the records or their storage.
type Event[R any] struct {
	Kind EventKind
	Time time.Time
	// Changes are those of Updated and Ended, never empty there.
	Changes []Changed[R]
	// Record is the storage key of Damaged and Mended.
	Record string
	// Records counts those of Healed.
	Records int
	// StorageState is that of Unavailable.
	StorageState StorageState
	// Err is the reason of Unavailable and Damaged: possibly the storage's own
	// error, which is for logs and not for callers.
	Err error
}

// Changed is what became of one record.
type Changed[R any] struct {
	// Before is nil if the record is new, After if it was deleted. They are the same
	// if it ended.
	Before, After *R
}

// Record is the record after the change or, if it was deleted, before.
func (c Changed[R]) Record() *R {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// note queues an event. Changes are never lost: where many events wait they join
// the last ones.
func (r *Registry[K, R]) note(ev Event[R]) {
	if r.leases.Newest() == nil && len(ev.Changes) > 0 {
		return // no configuration runs, so nobody was let in
	}
	ev.Time = r.now()
	r.events.Note(ev)
}

// observer receives the events now.
func (r *Registry[K, R]) observer() (func(Event[R]), bool) {
	host, ok := r.leases.NewestHost()
	return host.Observe, ok
}

// StorageState says how a registry found its storage.
type StorageState string

// The states of a storage.
const (
	// Ready: storage confirms what is known.
	Ready StorageState = "ready"
	// Unread: nothing was read yet, and nothing is known to be wrong.
	Unread StorageState = "unread"
	// Away: storage cannot be read, or not be written.
	Away StorageState = "away"
	// Emptied: storage answers, and holds nothing of what it held.
	Emptied StorageState = "emptied"
	// Diverged: storage holds records that were begun without those known here.
	Diverged StorageState = "diverged"
)

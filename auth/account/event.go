package account

import (
	"errors"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// EventKind says what happened. The set is closed.
type EventKind string

// The kinds of events.
const (
	// Loaded: the accounts were read for the first time.
	Loaded EventKind = "loaded"
	// Updated: accounts were changed, by this node or another one; Changes tells
	// which.
	Updated EventKind = "updated"
	// AccountsExpired: the expires_at of accounts has come; Changes tells whose.
	AccountsExpired EventKind = "expired"
	// Unavailable: storage cannot be read or written, or holds something else;
	// StorageState and Err say which. It is sent once for each outage, and again when
	// that turns into one of another kind. The last known accounts stay in use.
	Unavailable EventKind = "unavailable"
	// Recovered: storage answers again.
	Recovered EventKind = "recovered"
	// Damaged: Record cannot be used; Err says why. It is sent once for each record.
	Damaged EventKind = "damaged"
	// Mended: Record is well again, or no longer needed.
	Mended EventKind = "mended"
	// Overwritten: another node, which held the lock at the same time, overwrote
	// changes that had been acknowledged; they were made again.
	Overwritten EventKind = "overwritten"
	// Older: storage showed an older state than was known; the newer one was written
	// again from what this node or the second copy in storage held.
	Older EventKind = "older"
	// Healed: records that were gone from storage were written again; Records tells
	// how many.
	Healed EventKind = "healed"
)

// Event is one thing that happened to the accounts or their storage.
type Event struct {
	Kind EventKind
	Time time.Time
	// Changes are those of Updated and AccountsExpired, never empty there.
	Changes []Changed
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

// Changed is what became of one account.
type Changed struct {
	// Before is nil if the account is new, After if it was deleted. They are the
	// same if it expired.
	Before, After *Account
}

// Subject is the account's.
func (c Changed) Subject() string { return c.Key().Subject }

// Key is the account's.
func (c Changed) Key() Key {
	if c.After != nil {
		return c.After.Key()
	}
	return c.Before.Key()
}

// note queues an event. Changes are never lost: where many events wait they join
// the last ones.
func (r *Registry) note(ev Event) {
	if r.leases.Newest() == nil && len(ev.Changes) > 0 {
		return // no configuration runs, so nobody was let in
	}
	ev.Time = r.now()
	r.events.Note(ev)
}

// observer receives the events now.
func (r *Registry) observer() (func(Event), bool) {
	lease := r.leases.Newest()
	if lease == nil {
		return nil, false
	}
	return lease.Host.Observe, true
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
	// Diverged: storage holds accounts that were begun without those known here.
	Diverged StorageState = "diverged"
)

// outage reports once that storage is out of reach, and once that it is back.
type outage struct {
	r        *Registry
	reading  StorageState // as it was reported last
	writing  StorageState
	readable time.Time // since when reading has been possible again
}

// reads notes how reading went. It reports whether that is possible again.
func (o *outage) reads(err error) (again bool) {
	if again = err == nil && o.reading != Ready; again {
		o.readable = time.Now()
		o.r.blame(storage.ErrLockSlow)
	}
	o.say(&o.reading, err)
	return again
}

// writes notes how writing went. Nothing is reported while the cause is that
// storage cannot be read.
func (o *outage) writes(err error) {
	if err == nil || o.reading == Ready {
		o.say(&o.writing, err)
	}
}

func (o *outage) say(said *StorageState, err error) {
	now := Away
	switch {
	case err == nil:
		now = Ready
	case errors.Is(err, ErrDiverged):
		now = Diverged
	case errors.Is(err, ErrEmptied):
		now = Emptied
	}
	if now != *said && now != Ready {
		o.r.note(Event{Kind: Unavailable, StorageState: now, Err: err})
	} else if now != *said {
		o.r.note(Event{Kind: Recovered})
	}
	*said = now
	worst := o.reading
	if worst == Ready {
		worst = o.writing
	}
	o.r.storageState.Store(&worst)
}

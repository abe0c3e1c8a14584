package account

import (
	"errors"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// lapse reports accounts whose time has come since the last turn.
func (k *keeper) lapse() {
	now := k.r.now()
	var changed []Changed
	for _, s := range k.r.current.Load().shards {
		for _, a := range s.expiredBetween(k.lapsed, now) {
			changed = append(changed, Changed{Before: a, After: a})
		}
	}
	k.lapsed = now
	if len(changed) > 0 {
		k.r.note(Event{Kind: Lapsed, Changes: changed})
	}
}

// Standing is how a registry stands to its storage.
type Standing string

// The standings.
const (
	// Ready: storage confirms what is known.
	Ready Standing = "ready"
	// Unread: nothing was read yet, and nothing is known to be wrong.
	Unread Standing = "unread"
	// Away: storage cannot be read, or not be written.
	Away Standing = "away"
	// Emptied: storage answers, and holds nothing of what it held.
	Emptied Standing = "emptied"
	// Diverged: storage holds accounts that were begun without those known here.
	Diverged Standing = "diverged"
)

func standingOf(err error) Standing {
	switch {
	case err == nil:
		return Ready
	case errors.Is(err, ErrDiverged):
		return Diverged
	case errors.Is(err, ErrEmptied):
		return Emptied
	}
	return Away
}

func (k *keeper) reportReading(err error) {
	if err != nil && k.h.Context().Err() == nil { // else the next host reads at once
		k.r.failReading()
	}
	if err == nil && k.unread != Ready {
		k.failures, k.retryAt = 0, time.Time{} // what waits need not wait for the next try
		k.readable = time.Now()
		k.blame(storage.ErrLockSlow)
	}
	k.report(&k.unread, err)
}

// reportWriting says nothing while the cause is that storage cannot be read.
func (k *keeper) reportWriting(err error) {
	if err == nil || k.unread == Ready {
		k.report(&k.unwritten, err)
	}
}

// report says once that storage is out of reach, and once that it is back.
func (k *keeper) report(said *Standing, err error) {
	now := standingOf(err)
	switch {
	case now == *said:
	case now != Ready:
		k.r.note(Event{Kind: Unavailable, Standing: now, Err: err})
	default:
		k.r.note(Event{Kind: Recovered})
	}
	*said = now
	worst := k.unread
	if worst == Ready {
		worst = k.unwritten
	}
	k.r.standing.Store(&worst)
}

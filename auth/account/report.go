package account

import "time"

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

func (k *keeper) reportReading(err error) {
	if err == nil && k.unread {
		k.failures, k.retryAt = 0, time.Time{} // what waits need not wait for the next try
		k.readable = time.Now()
		k.blame(errLockSlow)
	}
	k.report(&k.unread, err)
}

// reportWriting says nothing while the cause is that storage cannot be read.
func (k *keeper) reportWriting(err error) {
	if err == nil || !k.unread {
		k.report(&k.unwritten, err)
	}
}

// report says once that storage is out of reach, and once that it is back.
func (k *keeper) report(said *bool, err error) {
	switch {
	case err != nil && !*said:
		k.r.note(Event{Kind: Unavailable, Err: err})
	case err == nil && *said:
		k.r.note(Event{Kind: Recovered})
	}
	*said = err != nil
	k.r.away.Store(k.unread || k.unwritten)
}

package issuer

import "time"

const (
	// flapMemory is how long a withdrawn key that comes back is a sign that the
	// issuer's replicas differ, and for how long that is believed.
	flapMemory = 10 * time.Minute
	// absentTime is how long a key is then used after it was last seen.
	absentTime = time.Minute

	maxWithdrawn = maxKeys // that are remembered
)

// flaps tells an issuer that withdrew a key from one whose replicas publish
// different sets in turn. A withdrawn key is no longer trusted, at once. But if one
// has come back, the next that is missing is used for a minute more, or else half of
// the good tokens would be refused. The engine's lock guards it.
type flaps struct {
	until     time.Time               // the replicas are believed to differ until then
	withdrawn map[[5]string]time.Time // keys that were withdrawn lately, by identity
	absent    map[*Key]time.Time      // keys that are missing, and until when they are used
}

// publish makes s the current set, fetched at that time; e.mu is held. Keys that
// stayed the same are the same *Key. Those that are gone, and that [flaps] does not
// keep, are distrusted before the new set is seen; final: it keeps none.
func (e *Engine) publish(s *JWKS, fetchedAt time.Time, final bool) (added, removed []string) {
	old := e.jwks.Load()
	current := &JWKS{byID: make(map[string][]*Key, len(s.byID)), unusable: s.unusable, refresh: s.refresh}
	for _, k := range s.keys {
		if known := old.match(k); known != nil {
			current.add(known)
			continue
		}
		k.trust = e.trust
		current.add(k)
		added = append(added, k.Name())
	}
	for _, k := range e.flaps.missing(old, current, fetchedAt, final) {
		k.withdrawn.Store(true)
		removed = append(removed, k.Name())
	}
	e.jwks.Store(current)
	e.confirm(fetchedAt)
	return added, removed
}

// confirm says that the current set was the issuer's at that time; e.mu is held.
func (e *Engine) confirm(at time.Time) {
	e.keys.fetchedAt = at
	if !e.closed {
		e.trust.until.Store(at.Add(e.cfg.MaxStale).UnixNano())
	}
}

// flapping reports whether the issuer's replicas are believed to differ.
func (f *flaps) flapping(at time.Time) bool { return at.Before(f.until) }

// missing compares the set that was published with the one before. It returns the
// keys that are gone, and adds to s those that are used for a while; final: none is.
func (f *flaps) missing(old, s *JWKS, at time.Time, final bool) (gone []*Key) {
	for id, when := range f.withdrawn {
		if at.Sub(when) >= flapMemory {
			delete(f.withdrawn, id)
		}
	}
	for _, k := range s.keys {
		_, gone := f.withdrawn[k.identity()]
		_, absent := f.absent[k]
		if gone || absent { // it came back
			f.until = at.Add(flapMemory)
			delete(f.withdrawn, k.identity())
		}
	}
	if old == nil {
		return nil
	}
	for _, k := range old.keys {
		if s.match(k) != nil {
			delete(f.absent, k)
			continue
		}
		until, known := f.absent[k]
		if !known {
			until = at.Add(absentTime)
		}
		if final || !f.flapping(at) || !at.Before(until) {
			gone = append(gone, k)
			f.withdraw(k, at)
			continue
		}
		if f.absent == nil {
			f.absent = map[*Key]time.Time{}
		}
		f.absent[k] = until
		s.add(k)
	}
	return gone
}

func (f *flaps) withdraw(k *Key, at time.Time) {
	delete(f.absent, k)
	if f.withdrawn == nil {
		f.withdrawn = map[[5]string]time.Time{}
	}
	if len(f.withdrawn) < maxWithdrawn {
		f.withdrawn[k.identity()] = at
	}
}

// due is when the time of the first of the absent keys is over; zero: none is absent.
func (f *flaps) due() (first time.Time) {
	for _, until := range f.absent {
		if first.IsZero() || until.Before(first) {
			first = until
		}
	}
	return first
}

// dropAbsent withdraws the absent keys whose time is over, whether or not the issuer
// answers meanwhile.
func (e *Engine) dropAbsent() {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.now()
	due := e.flaps.due()
	if due.IsZero() || at.Before(due) {
		return
	}
	jwks := e.jwks.Load()
	var removed []string
	rest := jwks.filter(func(k *Key) bool {
		until, absent := e.flaps.absent[k]
		if !absent || at.Before(until) {
			return true
		}
		k.withdrawn.Store(true)
		e.flaps.withdraw(k, at)
		removed = append(removed, k.Name())
		return false
	})
	e.jwks.Store(rest)
	e.note(Event{Kind: KeysChanged, Removed: removed})
	e.record.changed = true
}

package issuer

import (
	"fmt"
	"time"
)

const (
	// flapMemory is how long a withdrawn key that comes back is a sign that the
	// issuer's replicas differ, and for how long that is believed.
	flapMemory = 10 * time.Minute
	// absentTime is how long a key then serves after it was last seen.
	absentTime = time.Minute

	maxWithdrawn = maxKeys // that are remembered
)

// flaps tells an issuer that withdrew a key from one whose replicas publish
// different sets in turn. A withdrawn key is trusted no more, at once. But where
// one has come back, the next that is missing serves for a minute more, lest half
// of the good tokens be refused. The engine's lock guards it.
type flaps struct {
	until     time.Time              // the replicas are believed to differ until then
	withdrawn map[identity]time.Time // keys that were withdrawn lately
	absent    map[*Key]time.Time     // keys that are missing, and until when they serve
}

// identity is what makes two keys the same.
type identity struct{ thumb, id, alg, use string }

// flapping reports whether the issuer's replicas are believed to differ.
func (f *flaps) flapping(at time.Time) bool { return at.Before(f.until) }

// missing holds the set that was published against the one before. It returns the
// keys that are gone, and adds to s those that serve for a while; final: none does.
func (f *flaps) missing(old, s *Set, at time.Time, final bool) (gone []*Key) {
	f.notice(s, at)
	if old == nil {
		return nil
	}
	for _, k := range old.keys {
		if s.holds(k) {
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

// notice looks for keys that came back.
func (f *flaps) notice(s *Set, at time.Time) {
	for id, when := range f.withdrawn {
		if at.Sub(when) >= flapMemory {
			delete(f.withdrawn, id)
		}
	}
	for _, k := range s.keys {
		_, gone := f.withdrawn[k.identity()]
		_, absent := f.absent[k]
		if gone || absent {
			f.until = at.Add(flapMemory)
			delete(f.withdrawn, k.identity())
		}
	}
}

func (f *flaps) withdraw(k *Key, at time.Time) {
	delete(f.absent, k)
	if f.withdrawn == nil {
		f.withdrawn = map[identity]time.Time{}
	}
	if len(f.withdrawn) < maxWithdrawn {
		f.withdrawn[k.identity()] = at
	}
}

// over reports whether an absent key has served its time.
func (f *flaps) over(k *Key, at time.Time) bool {
	until, absent := f.absent[k]
	return absent && !at.Before(until)
}

// due is when the first of the absent keys has served its time; zero: none is.
func (f *flaps) due() (first time.Time) {
	for _, until := range f.absent {
		if first.IsZero() || until.Before(first) {
			first = until
		}
	}
	return first
}

// complaint is what to tell while the replicas differ.
func (f *flaps) complaint(at time.Time) error {
	if !f.flapping(at) {
		return nil
	}
	return fmt.Errorf("the issuer publishes different key sets in turn, as replicas do that do not agree; a key that is missing from one serves for %s more", absentTime)
}

// dropAbsent withdraws the keys that have served their time, whether or not the
// issuer answers meanwhile.
func (e *Engine) dropAbsent() {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := e.now()
	due := e.flaps.due()
	if due.IsZero() || at.Before(due) {
		return
	}
	set := e.set.Load()
	rest := set.only(func(k *Key) bool { return !e.flaps.over(k, at) })
	var removed []string
	for _, k := range set.keys {
		if !rest.holds(k) {
			k.withdrawn.Store(true)
			e.flaps.withdraw(k, at)
			removed = append(removed, k.Name())
		}
	}
	e.set.Store(rest)
	e.note(Event{Kind: KeysChanged, Removed: removed})
	e.record.changed = true
}

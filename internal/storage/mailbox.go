package storage

import "sync"

// MaxEvents bounds the events that wait in a [Mailbox].
const MaxEvents = 256

// Mailbox holds events until an observer takes them: in the order in which they
// were noted, one at a time, and while neither the mailbox nor its owner is locked.
// When it is full the oldest give way. The zero value is ready. Its methods are
// safe for concurrent use.
type Mailbox[E any] struct {
	// Keep, if not nil, reports whether an event must never be lost. When the box is
	// full such an event joins the last one that Join lets it, or else pushes out
	// the oldest that may be lost.
	Keep func(E) bool
	// Join adds ev to an older event, and reports false if they do not fit together.
	// It is called only where Keep is set.
	Join func(old *E, ev E) bool

	mu         sync.Mutex
	events     []E
	delivering bool
}

// Note adds an event. It never waits, so it may be called with the owner's lock
// held, and then in the order of what happened to the owner.
func (m *Mailbox[E]) Note(ev E) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.events) >= MaxEvents {
		keep := func(E) bool { return false }
		if m.Keep != nil {
			keep = m.Keep
		}
		if keep(ev) {
			for i := len(m.events) - 1; i >= 0; i-- {
				if m.Join(&m.events[i], ev) {
					return
				}
			}
		}
		for i, old := range m.events {
			if !keep(old) {
				m.events = append(m.events[:i], m.events[i+1:]...)
				break
			}
		}
	}
	m.events = append(m.events, ev)
}

// Deliver hands what waits to whom newest names at that moment: a nil observer
// loses the event, and ok is false while there is nobody, so that the rest waits.
// It is to be called without the owner's lock, after each Note or now and then.
// One goroutine delivers at a time; others leave their events to it and return.
func (m *Mailbox[E]) Deliver(newest func() (observe func(E), ok bool)) {
	m.mu.Lock()
	if m.delivering {
		m.mu.Unlock()
		return
	}
	m.delivering = true
	m.mu.Unlock()
	for {
		m.mu.Lock()
		var observe func(E)
		ok := len(m.events) > 0
		if ok {
			observe, ok = newest()
		}
		if !ok {
			m.delivering = false
			m.mu.Unlock()
			return
		}
		ev := m.events[0]
		m.events = m.events[1:]
		m.mu.Unlock()
		if observe != nil {
			observe(ev)
		}
	}
}

package issuer

import "time"

// EventKind says what happened. The set is closed.
type EventKind string

// The kinds of events.
const (
	// FetchSucceeded: a key set was fetched, or read from its file.
	FetchSucceeded EventKind = "fetch_succeeded"
	// FetchFailed: it could not be had; Err says why. The last good keys stay.
	FetchFailed EventKind = "fetch_failed"
	// Unavailable follows the first FetchFailed of an outage, once.
	Unavailable EventKind = "unavailable"
	// Recovered follows the first FetchSucceeded after an outage, once.
	Recovered EventKind = "recovered"
	// KeysChanged: the trusted keys are others than before; Added and Removed
	// name them.
	KeysChanged EventKind = "keys_changed"
	// Restored: keys kept in storage serve until a fetch succeeds; Added names
	// them.
	Restored EventKind = "restored"
	// Warned: something is wrong that stops nothing; Err says what. The same one
	// is not repeated while it lasts.
	Warned EventKind = "warned"
)

// Event is one thing that happened to an issuer's metadata or keys.
type Event struct {
	Kind   EventKind
	Time   time.Time
	Issuer string
	// Added and Removed are key ids (a key without one is named by its RFC 7638
	// thumbprint).
	Added, Removed []string
	// Err is the reason of FetchFailed, Unavailable and Warned. It holds
	// neither remote bodies nor tokens.
	Err error
}

// maxEvents bounds the events that wait for an observer.
const maxEvents = 256

// note queues an event; e.mu is held. The oldest give way to the newest when
// nobody takes them.
func (e *Engine) note(ev Event) {
	ev.Time, ev.Issuer = e.now(), e.cfg.Issuer
	if len(e.events) == maxEvents {
		e.events = e.events[1:]
	}
	e.events = append(e.events, ev)
}

// warn queues a warning unless the same one of its kind was the last to be
// said; nil ends it. e.mu is held.
func (e *Engine) warn(topic string, err error) {
	said := ""
	if err != nil {
		said = err.Error()
	}
	if e.warned[topic] == said {
		return
	}
	e.warned[topic] = said
	if err != nil {
		e.note(Event{Kind: Warned, Err: err})
	}
}

// deliver hands queued events to the newest host, in order and without a lock.
// One goroutine delivers at a time; the others leave their events to it.
func (e *Engine) deliver() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.delivering {
		return
	}
	e.delivering = true
	defer func() { e.delivering = false }()
	for len(e.events) > 0 && len(e.hosts) > 0 {
		ev := e.events[0]
		e.events = e.events[1:]
		observe := e.newest().host.Observe
		if observe == nil {
			continue
		}
		e.mu.Unlock()
		observe(ev)
		e.mu.Lock()
	}
}

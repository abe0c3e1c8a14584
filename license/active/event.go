package active

import (
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// EventKind says what happened. The set is closed.
type EventKind string

// The kinds of events.
const (
	// StateChanged: the state is To now and was From before; From is empty the
	// first time. Words says why; Validity is what is in force; Err is what is
	// wrong, if the state is missing or invalid.
	StateChanged EventKind = "state_changed"
	// Replaced: another license than before, Validity, is in force.
	Replaced EventKind = "replaced"
	// Deferred: Validity is a genuine license that was found and does not let
	// pass now, Err says why. The one in force stays until its end or until the
	// other's time has come. After a restart it would not be in force.
	Deferred EventKind = "deferred"
	// Rejected: what was found is no genuine license or cannot be read, Err says
	// why. What was in force stays.
	Rejected EventKind = "rejected"
	// Vanished: the license in force is no longer where it came from. It stays in
	// force.
	Vanished EventKind = "vanished"
	// Mended: what was rejected or had vanished is all right again.
	Mended EventKind = "mended"
	// Unavailable: storage cannot be read or written, Err says why. One event for
	// each outage. What was known stays.
	Unavailable EventKind = "unavailable"
	// Recovered: storage answers again.
	Recovered EventKind = "recovered"
	// ClockSuspect: the clock is more than a day behind a time that was seen
	// before; Words says both.
	ClockSuspect EventKind = "clock_suspect"
	// ClockFine: it is not any more.
	ClockFine EventKind = "clock_fine"
	// Damaged: the record of the highest time seen, or of revoked licenses, could not
	// be used, Err says why. It is written anew.
	Damaged EventKind = "damaged"
	// RevocationsChanged: another list of revoked licenses counts, Words says which.
	RevocationsChanged EventKind = "revocations_changed"
	// RevocationsRejected: the source of such lists has none that counts, Err says
	// why. The one that is known stays.
	RevocationsRejected EventKind = "revocations_rejected"
	// RevocationsMended: it has one again.
	RevocationsMended EventKind = "revocations_mended"
	// RevocationsLate: there should be a newer list; Words says since when.
	RevocationsLate EventKind = "revocations_late"
	// Renewed: the vendor sent another license, and it is in force: Validity.
	Renewed EventKind = "renewed"
	// RenewalFailed: the vendor sent none, or one that was kept aside, Err says why.
	// The one in force stays.
	RenewalFailed EventKind = "renewal_failed"
)

// Event is one thing that happened to the license or what it depends on.
type Event struct {
	Kind EventKind
	Time time.Time
	// Source names where the license comes from, for logs.
	Source string
	// From and To are the states of StateChanged.
	From, To license.State
	// Words is a sentence for people, and names no path: of StateChanged,
	// ClockSuspect, ClockFine, RevocationsChanged and RevocationsLate.
	Words string
	// Validity is the license that the event is about, of StateChanged, Replaced,
	// Deferred and Renewed.
	Validity *license.Validity
	// Err is for logs and not for callers: it may name paths, or be the
	// storage's own.
	Err error
}

// note queues an event; k.mu is held, so that they are in the order of what
// happened.
func (k *Keeper) note(ev Event) {
	ev.Time, ev.Source = k.now(), k.source.String()
	k.events.Note(ev)
}

// lookTopic is the topic of outages that reading the license meets.
const lookTopic = "license"

// outage notes one event when storage gets out of reach, whatever it was asked for,
// and one when all of it is back.
func (k *Keeper) outage(topic string, err error) {
	defer ring(k.notifierBell)
	k.mu.Lock()
	defer k.mu.Unlock()
	before := len(k.outages)
	if err == nil {
		delete(k.outages, topic)
	} else {
		k.outages[topic] = err
	}
	switch {
	case before == 0 && err != nil:
		k.note(Event{Kind: Unavailable, Err: err})
	case before > 0 && len(k.outages) == 0:
		k.note(Event{Kind: Recovered})
	}
}

// notifyPause is the longest time between two looks at the state when no request
// and no timer asks for one: a clock may be set.
const notifyPause = 5 * time.Second

// notify notes what changed by itself and delivers all events. It is called by one
// goroutine only.
func (k *Keeper) notify() time.Duration {
	k.noticed.Store(false) // before looking: what is noticed later rings again
	k.mu.Lock()
	k.notifyState()
	k.notifyList()
	k.mu.Unlock()
	k.notifyClock()
	k.events.Deliver(func() (observe func(Event), ok bool) { // of the configuration that is used now
		host, ok := k.leases.NewestHost()
		return host.Observe, ok
	})
	wait := notifyPause
	v := k.view.Load()
	for _, h := range []*held{&v.good, v.next} {
		if h == nil {
			continue
		}
		if at, ok := h.validity.NextChange(); ok {
			wait = min(wait, max(at.Sub(k.now()), time.Millisecond))
		}
	}
	return wait
}

// notifyState notes a change of state; k.mu is held. There is none before the
// first look.
func (k *Keeper) notifyState() {
	v := k.view.Load()
	now := v.now()
	if now == v.next {
		k.view.Store(&view{good: *now})
		k.note(Event{Kind: Replaced, Validity: now.validity})
	}
	from := *k.notified.Load()
	if !k.search.ended || now.validity.State() == from {
		return
	}
	state, words := now.validity.Explain()
	ev := Event{Kind: StateChanged, From: from, To: state, Words: words, Validity: now.validity}
	if now.text == nil {
		ev.Err = k.search.cause
	}
	k.note(ev)
	k.notified.Store(&state)
	ring(k.clockBell)
}

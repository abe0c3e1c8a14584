package inforce

import (
	"fmt"
	"time"
)

// tellPause is the longest time between two looks at the state when no request
// and no timer asks for one: a clock may be set.
const tellPause = 5 * time.Second

// tell tells of what changed by itself and delivers all events. It is called by
// one goroutine only.
func (k *Keeper) tell() time.Duration {
	k.noticed.Store(false) // before looking: what is noticed later rings again
	k.mu.Lock()
	k.tellState()
	k.mu.Unlock()
	k.tellClock()
	k.deliver()
	wait := tellPause
	if at, ok := k.view.Load().nextChange(); ok {
		wait = min(wait, max(at.Sub(k.now()), time.Millisecond))
	}
	return wait
}

// tellState notes a change of state; k.mu is held. Nothing is told before the
// first look.
func (k *Keeper) tellState() {
	v := k.view.Load()
	now := v.now()
	if now == v.next {
		k.view.Store(&view{good: *now})
		k.note(Event{Kind: Replaced, Standing: now.standing})
	}
	from := *k.told.Load()
	if !k.search.ended || now.standing.State() == from {
		return
	}
	state, words := now.standing.Explain()
	ev := Event{Kind: StateChanged, From: from, To: state, Words: words, Standing: now.standing}
	if now.text == nil {
		ev.Err = k.search.cause
	}
	k.note(ev)
	k.told.Store(&state)
	k.clocks.ring()
}

// ClockSuspect reports whether the clock is more than a day behind a time that
// was seen before. Nothing is refused for it.
func (k *Keeper) ClockSuspect() bool { return k.suspect.Load() }

// maxBehind is how far behind a clock is believed nevertheless.
const maxBehind = 24 * time.Hour

// tellClock compares the clock with the highest time seen.
func (k *Keeper) tellClock() {
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &k.clock
	c.own = max(c.own, now.Unix())
	highest := time.Unix(max(c.own, c.stored), 0)
	suspect := highest.Sub(now) > maxBehind
	if k.suspect.Swap(suspect) == suspect {
		return
	}
	ev := Event{Kind: ClockFine, Words: "the clock shows " + stamp(now)}
	if suspect {
		ev.Kind = ClockSuspect
		ev.Words += fmt.Sprintf(", but it was %s before; set it right, or licenses last longer than they should", stamp(highest))
	}
	k.note(ev)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

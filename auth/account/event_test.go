package account

import (
	"fmt"
	"testing"
)

// TestChangesAreNeverDropped: however many events wait for an observer, the
// changes in them are all there, because streams are cut by them.
func TestChangesAreNeverDropped(t *testing.T) {
	r := New(Options{})
	var heard []Event
	h := &hosting{host: Host{Observe: func(e Event) { heard = append(heard, e) }}}
	r.note(Event{Kind: Updated, Changes: []Changed{{Before: anAccount("before any host", 1)}}})
	r.hosts = append(r.hosts, h)
	const count = 3 * maxEvents
	for i := range count {
		r.note(Event{Kind: Unavailable})
		r.note(Event{Kind: Updated, Changes: []Changed{{Before: anAccount(fmt.Sprint(i), i)}}})
		r.note(Event{Kind: Recovered})
	}
	if len(r.events) > maxEvents {
		t.Errorf("%d events wait; want at most %d", len(r.events), maxEvents)
	}
	r.deliver()
	seen := map[string]int{}
	for _, e := range heard {
		for _, c := range e.Changes {
			seen[c.Subject()]++
		}
	}
	if len(seen) != count || heard[len(heard)-1].Kind != Recovered {
		t.Errorf("%d of %d changes were heard, the last event was %s", len(seen), count, heard[len(heard)-1].Kind)
	}
}

func TestQuoteIsBounded(t *testing.T) {
	long := ""
	for range 100 {
		long += "ü"
	}
	if got := quote("x" + long); len(got) > 60 {
		t.Errorf("quoted %s", got)
	}
}

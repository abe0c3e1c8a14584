package account

import (
	"fmt"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// TestChangesAreNeverDropped: however many events wait for an observer, the
// changes in them are all there, because streams are cut by them.
func TestChangesAreNeverDropped(t *testing.T) {
	r := New(Options{})
	var heard []Event
	r.note(Event{Kind: Updated, Changes: []Changed{{Before: anAccount("before any host", 1)}}})
	r.leases.Attach(t.Context(), storage.NewClient(nil, 0), Host{Observe: func(e Event) { heard = append(heard, e) }})
	const count = 3 * storage.MaxEvents
	for i := range count {
		r.note(Event{Kind: Unavailable})
		r.note(Event{Kind: Updated, Changes: []Changed{{Before: anAccount(fmt.Sprint(i), i)}}})
		r.note(Event{Kind: Recovered})
	}
	r.events.Deliver(r.observer)
	if len(heard) > storage.MaxEvents {
		t.Errorf("%d events waited; want at most %d", len(heard), storage.MaxEvents)
	}
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

package registry

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// TestChangesAreNeverDropped: however many events wait for an observer, the
// changes in them are all there, because streams are cut by them.
func TestChangesAreNeverDropped(t *testing.T) {
	r := New(items, Options{})
	var heard []Event[item]
	r.note(Event[item]{Kind: Updated, Changes: []Changed[item]{{Before: &item{}}}})
	r.leases.Attach(t.Context(), storage.NewClient(nil, 0), Host[item]{Observe: func(e Event[item]) { heard = append(heard, e) }})
	const count = 3 * storage.MaxEvents
	for i := range count {
		r.note(Event[item]{Kind: Unavailable})
		r.note(Event[item]{Kind: Updated, Changes: []Changed[item]{{Before: &item{number: i}}}})
		r.note(Event[item]{Kind: Recovered})
	}
	r.events.Deliver(r.observer)
	if len(heard) > storage.MaxEvents {
		t.Errorf("%d events waited; want at most %d", len(heard), storage.MaxEvents)
	}
	seen := map[int]int{}
	for _, e := range heard {
		for _, c := range e.Changes {
			seen[c.Record().number]++
		}
	}
	if len(seen) != count || heard[len(heard)-1].Kind != Recovered {
		t.Errorf("%d of %d changes were heard, the last event was %s", len(seen), count, heard[len(heard)-1].Kind)
	}
}

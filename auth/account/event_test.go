package account

import (
	"fmt"
	"testing"
	"time"
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

func TestEnded(t *testing.T) {
	now := time.Unix(1_800_000_100, 0)
	active, moved := anAccount("a", 1), anAccount("a", 1)
	moved.traits = newTraits("other", nil, false)
	for name, c := range map[string]struct {
		change Changed
		want   bool
	}{
		"made":        {Changed{After: active}, false},
		"renamed":     {Changed{Before: active, After: anAccount("a", 2)}, false},
		"deleted":     {Changed{Before: active}, true},
		"disabled":    {Changed{Before: active, After: anAccount("a", 5)}, true},
		"expired":     {Changed{Before: anAccount("a", 3), After: anAccount("a", 3)}, true},
		"moved":       {Changed{Before: active, After: moved}, true},
		"still there": {Changed{Before: active, After: active}, false},
	} {
		if got := c.change.Ended(now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
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

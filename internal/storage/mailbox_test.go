package storage

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMailboxOrder(t *testing.T) {
	var box Mailbox[int]
	var got []int
	there := false
	newest := func() (func(int), bool) { return func(n int) { got = append(got, n) }, there }
	for n := range MaxEvents + 50 {
		box.Note(n)
	}
	box.Deliver(newest)
	if got != nil {
		t.Error("reported though nobody is there")
	}
	there = true
	box.Deliver(newest)
	if len(got) != MaxEvents || got[0] != 50 || !slices.IsSorted(got) {
		t.Errorf("%d events from %d; want the last %d, in order", len(got), got[0], MaxEvents)
	}
	box.Note(1)
	box.Deliver(func() (func(int), bool) { return nil, true })
	got = nil
	box.Deliver(newest)
	if got != nil {
		t.Errorf("%v is reported, though a configuration that does not observe was there", got)
	}
}

// TestMailboxOneAtATime: whoever delivers, events are reported one after the other, in
// order, and nobody who notes one waits for the observer.
func TestMailboxOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var box Mailbox[int]
		var mu sync.Mutex // the owner's
		var got []int
		next, atOnce := 0, 0
		observe := func(n int) {
			if atOnce++; atOnce != 1 {
				t.Errorf("%d events at a time", atOnce)
			}
			time.Sleep(time.Second)
			got = append(got, n)
			atOnce--
		}
		begun := time.Now()
		for range 10 {
			go func() {
				mu.Lock()
				box.Note(next)
				next++
				mu.Unlock()
				wantTook(t, begun, 0)
				box.Deliver(func() (func(int), bool) { return observe, true })
			}()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(got, want) {
			t.Errorf("reported %v", got)
		}
	})
}

// TestMailboxKeeps: what must not be lost joins what waits already.
func TestMailboxKeeps(t *testing.T) {
	type event struct {
		kind    string
		changes []int
	}
	box := Mailbox[event]{
		Keep: func(e event) bool { return len(e.changes) > 0 },
		Join: func(old *event, e event) bool {
			if old.kind != e.kind {
				return false
			}
			old.changes = append(old.changes, e.changes...)
			return true
		},
	}
	const count = 3 * MaxEvents
	for i := range count {
		box.Note(event{kind: "away"})
		box.Note(event{kind: []string{"updated", "expired"}[i%2], changes: []int{i}})
		box.Note(event{kind: "back"})
	}
	var changes []int
	events, last := 0, ""
	box.Deliver(func() (func(event), bool) {
		return func(e event) {
			changes = append(changes, e.changes...)
			events, last = events+1, e.kind
		}, true
	})
	slices.Sort(changes)
	if changes = slices.Compact(changes); len(changes) != count {
		t.Errorf("%d changes, want %d", len(changes), count)
	}
	if events > MaxEvents || last != "back" {
		t.Errorf("%d events, the last one %s", events, last)
	}
}

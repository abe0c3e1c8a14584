package caddymodule

import (
	"sync"
	"time"
)

// recentRefusals are those of the last hour, over all configurations.
var recentRefusals = newTally(time.Now)

const tallyMinutes = 60

// tally counts words of a closed set by the minute, and forgets them after an
// hour.
type tally struct {
	now func() time.Time

	mu      sync.Mutex
	minutes [tallyMinutes]tallyMinute
}

type tallyMinute struct {
	minute int64 // since 1970
	counts map[string]int
}

func newTally(now func() time.Time) *tally { return &tally{now: now} }

func (t *tally) add(word string) {
	minute := t.now().Unix() / 60
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := &t.minutes[minute%tallyMinutes]
	if slot.minute != minute || slot.counts == nil {
		*slot = tallyMinute{minute, make(map[string]int)}
	}
	slot.counts[word]++
}

// sums gives how often each word came in the last hour; never nil.
func (t *tally) sums() map[string]int {
	oldest := t.now().Unix()/60 - tallyMinutes
	t.mu.Lock()
	defer t.mu.Unlock()
	sums := make(map[string]int)
	for i := range t.minutes {
		if t.minutes[i].minute <= oldest {
			continue
		}
		for word, n := range t.minutes[i].counts {
			sums[word] += n
		}
	}
	return sums
}

package active

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

const (
	clockEvery = time.Hour   // between two writes of the time
	clockRetry = time.Minute // after a failure
	// clockStep is by how much the time must have moved on to be written.
	clockStep = time.Minute
	// maxTime is the end of the year 9999: a later time is a damaged record.
	maxTime = 253402300799
)

// keepClock reads the highest time seen and moves it on: when a configuration
// starts, when the state changes, and once an hour. Nodes that write at once may lose an
// hour of it, which is no matter beside a day, so it is written without a lock.
func (k *Keeper) keepClock() time.Duration {
	h := k.leases.Newest()
	if h == nil || !h.HasStorage() {
		return idle
	}
	err := k.syncClock(h)
	if h.Context().Err() != nil {
		return 0 // it detached meanwhile; perhaps another one is there
	}
	k.outage("clock", err)
	if err != nil {
		return spread(clockRetry)
	}
	return spread(clockEvery)
}

func (k *Keeper) syncClock(h *storage.Lease[Host]) error {
	data, err := h.Find(h.Context(), clockKey)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	now, due := k.learnTime(data, err == nil)
	ring(k.notifierBell)
	if !due {
		return nil
	}
	value := fmt.Appendf(nil, `{"highest":%d}`, now)
	if err := h.StoreChecked(h.Context(), clockKey, value); err != nil && !errors.Is(err, storage.ErrReadBack) {
		return err // another node's time read back is as good
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.clock.stored = now
	return nil
}

// learnTime takes the time that was stored, if any, and says whether a later one
// is to be stored.
func (k *Keeper) learnTime(data []byte, found bool) (now int64, due bool) {
	now = k.now().Unix()
	k.mu.Lock()
	defer k.mu.Unlock()
	highest, err := parseClock(data)
	switch {
	case !found:
		k.clock.stored = 0
	case err != nil:
		k.note(Event{Kind: Damaged, Err: err})
	default:
		k.clock.stored = highest
	}
	step := int64(clockStep / time.Second)
	return now, now >= k.clock.stored+step && now >= k.clock.own-step
}

func parseClock(data []byte) (int64, error) {
	var rec struct {
		Highest int64 `json:"highest"`
	}
	if len(data) > 1<<10 || json.Unmarshal(data, &rec, json.RejectUnknownMembers(true)) != nil ||
		rec.Highest <= 0 || rec.Highest > maxTime {
		return 0, fmt.Errorf("%s is damaged; want the highest time seen, in Unix seconds", clockKey)
	}
	return rec.Highest, nil
}

// ClockSuspect reports whether the clock is more than a day behind a time that
// was seen before. Nothing is refused for it.
func (k *Keeper) ClockSuspect() bool { return k.suspect.Load() }

// maxBehind is how far behind a clock may be without a warning.
const maxBehind = 24 * time.Hour

// notifyClock compares the clock with the highest time seen.
func (k *Keeper) notifyClock() {
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
	ev := Event{Kind: ClockFine, Words: "the clock shows " + now.UTC().Format(time.RFC3339)}
	if suspect {
		ev.Kind = ClockSuspect
		ev.Words += fmt.Sprintf(", but it was %s before; set it right, or licenses last longer than they should", highest.UTC().Format(time.RFC3339))
	}
	k.note(ev)
}

package auth

import (
	"math/bits"
	"sync/atomic"
)

// memory remembers verified tokens: a table of buckets of slots, found by the
// token's fingerprint. Reading takes no lock and allocates nothing: a slot is an
// atomic pointer to what never changes. A token that finds its bucket full
// takes the place of one that no longer holds, else of one not asked for lately.
// There are four slots for each token, so full buckets are rare: one token in
// ten thousand meets one.
type memory struct {
	slots []atomic.Pointer[remembered]
	limit int64
	count atomic.Int64
	hand  atomic.Uint64 // where eviction goes on when the limit is reached
}

const (
	bucketSlots   = 8
	slotsPerToken = 4
	evictionTries = 64
)

// newMemory remembers at most limit tokens; nil, which remembers nothing, for 0.
func newMemory(limit int) *memory {
	if limit <= 0 {
		return nil
	}
	buckets := (limit*slotsPerToken + bucketSlots - 1) / bucketSlots
	return &memory{
		slots: make([]atomic.Pointer[remembered], buckets*bucketSlots),
		limit: int64(limit),
	}
}

func (m *memory) bucket(place uint64) []atomic.Pointer[remembered] {
	index, _ := bits.Mul64(place, uint64(len(m.slots)/bucketSlots))
	start := index * bucketSlots
	return m.slots[start : start+bucketSlots]
}

// find gives a remembered token that still holds, or nil. One that does not is
// forgotten.
func (m *memory) find(sum fingerprint, now int64) *remembered {
	if m == nil {
		return nil
	}
	bucket := m.bucket(sum.place())
	for i := range bucket {
		r := bucket[i].Load()
		if r == nil || r.sum != sum {
			continue
		}
		if !r.holds(now) {
			m.forget(&bucket[i], r)
			return nil
		}
		if !r.asked.Load() {
			r.asked.Store(true)
		}
		return r
	}
	return nil
}

// add remembers a token, and forgets another where the limit is reached. Two
// requests that add the same one at once may leave it twice, which costs a slot
// and does no harm.
func (m *memory) add(r *remembered, now int64) {
	if m == nil {
		return
	}
	// Counting before adding keeps the limit whatever happens at once: who
	// counted beyond it has taken out another before it puts in its own.
	if m.count.Add(1) > m.limit && !m.evict(now) {
		m.count.Add(-1)
		return
	}
	r.asked.Store(true) // so that it stays until eviction comes by again
	bucket := m.bucket(r.sum.place())
	for i := range bucket {
		if bucket[i].CompareAndSwap(nil, r) {
			return
		}
	}
	if old := victim(bucket, now).Swap(r); old != nil {
		m.count.Add(-1)
	}
}

// victim picks the slot of a full bucket to be written over: of a token that no
// longer holds, else of one not asked for since this was last decided.
func victim(bucket []atomic.Pointer[remembered], now int64) *atomic.Pointer[remembered] {
	for i := range bucket {
		if r := bucket[i].Load(); r == nil || !r.holds(now) {
			return &bucket[i]
		}
	}
	for i := range bucket {
		if r := bucket[i].Load(); r == nil || !r.asked.Swap(false) {
			return &bucket[i]
		}
	}
	return &bucket[0]
}

// evict forgets one token to make room: the hand walks on over the table and
// takes the first that no longer holds or was not asked for since it last came
// by, or else whatever it meets after a bounded number. It fails only if all
// the table's tokens were taken out meanwhile.
func (m *memory) evict(now int64) bool {
	met := 0
	for range 2 * len(m.slots) { // the second time nothing counts as asked for
		slot := &m.slots[m.hand.Add(1)%uint64(len(m.slots))]
		r := slot.Load()
		if r == nil {
			continue
		}
		met++
		if met < evictionTries && r.holds(now) && r.asked.Swap(false) {
			continue
		}
		if m.forget(slot, r) {
			return true
		}
	}
	return false
}

// forget empties a slot, unless it holds something else by now.
func (m *memory) forget(slot *atomic.Pointer[remembered], r *remembered) bool {
	if !slot.CompareAndSwap(r, nil) {
		return false
	}
	m.count.Add(-1)
	return true
}

// len is how many tokens are remembered now.
func (m *memory) len() int {
	if m == nil {
		return 0
	}
	return int(m.count.Load())
}

package auth

import (
	"math/bits"
	"sync/atomic"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// remembered is a token that was verified before: whose it is and what it
// still depends on.
type remembered struct {
	sum       fingerprint
	key       *issuer.Key
	principal *Principal
	asked     atomic.Bool // since eviction last came by
}

// holds tells whether the token still counts: its key is still its issuer's,
// and it has not expired.
func (r *remembered) holds(now int64) bool {
	return now < r.principal.lastMoment && r.key.Trusted()
}

// memory remembers verified tokens: a table of buckets of slots, found by the
// token's fingerprint. Reading takes no lock and allocates nothing: a slot is an
// atomic pointer to what never changes. A token that finds its bucket full
// takes the place of one that no longer holds, else of one not asked for lately.
// Slots outnumber tokens by four to eight, so full buckets are rare.
type memory struct {
	slots []atomic.Pointer[remembered]
	mask  uint64
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
	slots := max(bucketSlots, 1<<bits.Len(uint(limit*slotsPerToken-1)))
	return &memory{
		slots: make([]atomic.Pointer[remembered], slots),
		mask:  uint64(slots/bucketSlots - 1),
		limit: int64(limit),
	}
}

func (m *memory) bucket(place uint64) []atomic.Pointer[remembered] {
	start := (place & m.mask) * bucketSlots
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

// add remembers a token. Two requests that add the same one at once may leave
// it twice, which costs a slot and does no harm.
func (m *memory) add(r *remembered, now int64) {
	if m == nil {
		return
	}
	if m.count.Load() >= m.limit {
		m.evict(now)
	}
	bucket := m.bucket(r.sum.place())
	for i := range bucket {
		if bucket[i].CompareAndSwap(nil, r) {
			m.count.Add(1)
			return
		}
	}
	slot := victim(bucket, now)
	if old := slot.Swap(r); old == nil {
		m.count.Add(1)
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
// by, or else the last of a bounded number that it met.
func (m *memory) evict(now int64) {
	met := 0
	for range m.slots {
		slot := &m.slots[m.hand.Add(1)%uint64(len(m.slots))]
		r := slot.Load()
		if r == nil {
			continue
		}
		met++
		if met == evictionTries || !r.holds(now) || !r.asked.Swap(false) {
			m.forget(slot, r)
			return
		}
	}
}

func (m *memory) forget(slot *atomic.Pointer[remembered], r *remembered) {
	if slot.CompareAndSwap(r, nil) {
		m.count.Add(-1)
	}
}

// len is how many tokens are remembered now.
func (m *memory) len() int {
	if m == nil {
		return 0
	}
	return int(m.count.Load())
}

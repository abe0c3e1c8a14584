package auth

import (
	"math/bits"
	"sync/atomic"
)

// table holds remembered tokens in buckets of slots, found by the token's
// fingerprint. Reading takes no lock and allocates nothing. A token that finds its
// bucket full takes the place of one that no longer holds, else of one not asked
// for lately. There are four slots for each token, so full buckets are rare: one
// token in a thousand meets one when the table is full.
type table struct {
	slots  []atomic.Pointer[Token]
	tokens int   // that there is room for
	limit  int64 // of tokens, however much room there is
	count  atomic.Int64
	hand   atomic.Uint64 // where eviction goes on when the limit is reached
}

const (
	bucketSlots   = 8
	slotsPerToken = 4
	evictionTries = 64
)

func newTable(tokens, limit int) *table {
	buckets := (tokens*slotsPerToken + bucketSlots - 1) / bucketSlots
	return &table{
		slots:  make([]atomic.Pointer[Token], buckets*bucketSlots),
		tokens: tokens,
		limit:  int64(limit),
	}
}

// isFull tells whether the table holds as many tokens as it was made for.
func (t *table) isFull() bool { return t.count.Load() >= int64(t.tokens) }

// living counts the tokens that still hold.
func (t *table) living(now int64) (n int) {
	for i := range t.slots {
		if r := t.slots[i].Load(); r != nil && r.holds(now) {
			n++
		}
	}
	return n
}

func (t *table) bucket(place uint64) []atomic.Pointer[Token] {
	index, _ := bits.Mul64(place, uint64(len(t.slots)/bucketSlots))
	start := index * bucketSlots
	return t.slots[start : start+bucketSlots]
}

// find gives a remembered token that still holds, or nil. One that does not is
// forgotten.
func (t *table) find(sum fingerprint, now int64) *Token {
	bucket := t.bucket(sum.place())
	for i := range bucket {
		r := bucket[i].Load()
		if r == nil || r.sum != sum {
			continue
		}
		if !r.holds(now) {
			t.forget(&bucket[i], r)
			return nil
		}
		if !r.asked.Load() {
			r.asked.Store(true)
		}
		return r
	}
	return nil
}

// add takes a token in, and forgets another where the limit is reached.
func (t *table) add(r *Token, now int64) {
	r.asked.Store(true) // so that it stays until eviction comes by again
	t.put(r, now)
}

func (t *table) put(r *Token, now int64) {
	// Counting before adding keeps the limit whatever happens at once: who
	// counted beyond it has taken out another before it puts in its own.
	if t.count.Add(1) > t.limit && !t.evict(now) {
		t.count.Add(-1)
		return
	}
	bucket := t.bucket(r.sum.place())
	for i := range bucket {
		if bucket[i].CompareAndSwap(nil, r) {
			return
		}
	}
	if old := victim(bucket, now).Swap(r); old != nil {
		t.count.Add(-1)
	}
}

// victim picks the slot of a full bucket to be written over: of a token that no
// longer holds, else of one not asked for since this was last decided.
func victim(bucket []atomic.Pointer[Token], now int64) *atomic.Pointer[Token] {
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
func (t *table) evict(now int64) bool {
	met := 0
	for range 2 * len(t.slots) { // the second time nothing counts as asked for
		slot := &t.slots[t.hand.Add(1)%uint64(len(t.slots))]
		r := slot.Load()
		if r == nil {
			continue
		}
		met++
		if met < evictionTries && r.holds(now) && r.asked.Swap(false) {
			continue
		}
		if t.forget(slot, r) {
			return true
		}
	}
	return false
}

// forget empties a slot, unless it holds something else by now.
func (t *table) forget(slot *atomic.Pointer[Token], r *Token) bool {
	if !slot.CompareAndSwap(r, nil) {
		return false
	}
	t.count.Add(-1)
	return true
}

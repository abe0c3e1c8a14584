package auth

import (
	"iter"
	"math/bits"
	"sync/atomic"
)

// table holds remembered tokens in buckets, found by the token's fingerprint.
// Reading takes no lock and allocates nothing. A token that finds its bucket full
// takes the place of one that no longer holds, else of one not asked for lately.
// There are four slots for each token, so full buckets are rare: two tokens in a
// thousand meet one when the table is full.
type table struct {
	buckets []bucket
	tokens  int   // that there is room for
	limit   int64 // of tokens, however much room there is
	count   atomic.Int64
	hand    atomic.Uint64 // the slot where eviction goes on when the limit is reached
}

const (
	slotsPerToken = 4
	evictionTries = 64
)

func newTable(tokens, limit int) *table {
	return &table{
		buckets: make([]bucket, (tokens*slotsPerToken+bucketSlots-1)/bucketSlots),
		tokens:  tokens,
		limit:   int64(limit),
	}
}

// isFull tells whether the table holds as many tokens as it was made for.
func (t *table) isFull() bool { return t.count.Load() >= int64(t.tokens) }

// all gives the tokens that still hold.
func (t *table) all(now int64) iter.Seq[*Token] {
	return func(yield func(*Token) bool) {
		for i := range t.buckets {
			for j := range t.buckets[i].slots {
				held := t.buckets[i].slots[j].Load()
				if held != nil && held.holds(now) && !yield(held) {
					return
				}
			}
		}
	}
}

// living counts the tokens that still hold.
func (t *table) living(now int64) (n int) {
	for range t.all(now) {
		n++
	}
	return n
}

func (t *table) bucket(sum fingerprint) *bucket {
	index, _ := bits.Mul64(sum.place(), uint64(len(t.buckets)))
	return &t.buckets[index]
}

// find gives a remembered token that still holds, or nil. One that does not is
// forgotten.
func (t *table) find(sum fingerprint, now int64) *Token {
	bucket := t.bucket(sum)
	i, found := bucket.find(sum)
	if found == nil {
		return nil
	}
	if !found.holds(now) {
		t.forget(bucket, i, found)
		return nil
	}
	if !found.asked.Load() {
		found.asked.Store(true)
	}
	return found
}

// add takes a token in, and forgets another where the limit is reached.
func (t *table) add(token *Token, now int64) {
	token.asked.Store(true) // so that it stays until eviction comes by again
	t.put(token, now)
}

func (t *table) put(token *Token, now int64) {
	// Counting before adding keeps the limit whatever happens at once: who
	// counted beyond it has taken out another before it puts in its own.
	if t.count.Add(1) > t.limit && !t.evict(now) {
		t.count.Add(-1)
		return
	}
	bucket := t.bucket(token.sum)
	if bucket.add(token) {
		return
	}
	if old := bucket.replace(token, now); old != nil {
		t.count.Add(-1)
	}
}

// evict forgets one token to make room: the hand walks on over the table and
// takes the first that no longer holds or was not asked for since it last came
// by, or else whatever it meets after a bounded number. It fails only if all
// the table's tokens were taken out meanwhile.
func (t *table) evict(now int64) bool {
	met, slots := 0, uint64(len(t.buckets)*bucketSlots)
	for range 2 * slots { // the second time nothing counts as asked for
		at := t.hand.Add(1) % slots
		bucket, i := &t.buckets[at/bucketSlots], int(at%bucketSlots)
		held := bucket.slots[i].Load()
		if held == nil {
			continue
		}
		met++
		if met < evictionTries && held.holds(now) && held.asked.Swap(false) {
			continue
		}
		if t.forget(bucket, i, held) {
			return true
		}
	}
	return false
}

// forget empties a slot, unless it holds something else by now.
func (t *table) forget(bucket *bucket, i int, token *Token) bool {
	if !bucket.slots[i].CompareAndSwap(token, nil) {
		return false
	}
	t.count.Add(-1)
	return true
}

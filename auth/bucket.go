package auth

import "sync/atomic"

// bucketSlots is how many slots are as long as a line of a processor's cache,
// together with their marks.
const bucketSlots = 7

// bucket is some slots for tokens, and a byte of each one's fingerprint, its
// mark: most of the time it spares a look at somebody else's token, which is in
// no cache. With a hundred thousand tokens that is half a miss for each request.
//
// A mark is no more than a hint, as it cannot be written together with its slot:
// where two requests change the same slot at once, a token may end up with
// another's mark. It is not found then, and verified and added once more when it
// comes again; the first one leaves as tokens do that nobody asks for.
type bucket struct {
	marks atomic.Uint64 // slot 0's in the lowest byte
	slots [bucketSlots]atomic.Pointer[Token]
}

// find gives the place and the token with a fingerprint, or nil.
func (b *bucket) find(sum fingerprint) (int, *Token) {
	marks := b.marks.Load()
	for i := range b.slots {
		if byte(marks>>(8*i)) != sum.mark() {
			continue
		}
		if found := b.slots[i].Load(); found != nil && found.sum == sum {
			return i, found
		}
	}
	return 0, nil
}

// add puts a token into an empty slot, if there is one.
func (b *bucket) add(token *Token) bool {
	for i := range b.slots {
		if b.slots[i].CompareAndSwap(nil, token) {
			b.mark(i, token.sum.mark())
			return true
		}
	}
	return false
}

// replace puts a token where another is: one that no longer holds, else one not
// asked for since this was last decided. It gives the one that was there.
func (b *bucket) replace(token *Token, now int64) *Token {
	i := b.victim(now)
	old := b.slots[i].Swap(token)
	b.mark(i, token.sum.mark())
	return old
}

func (b *bucket) victim(now int64) int {
	for i := range b.slots {
		if held := b.slots[i].Load(); held == nil || !held.holds(now) {
			return i
		}
	}
	for i := range b.slots {
		if held := b.slots[i].Load(); held == nil || !held.asked.Swap(false) {
			return i
		}
	}
	return 0
}

func (b *bucket) mark(i int, mark byte) {
	for {
		old := b.marks.Load()
		if b.marks.CompareAndSwap(old, old&^(0xff<<(8*i))|uint64(mark)<<(8*i)) {
			return
		}
	}
}

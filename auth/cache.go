package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// cache holds verified tokens by their fingerprints, so that each is verified
// once. Its bound is the memory that they take: tokens may differ a hundredfold.
//
// It is plain maps with a lock each. Looking a token up takes one of the locks for
// some 20 ns, for reading; Go's maps grow piece by piece, so no request pays for
// moving all tokens to a larger one. The maps hold no pointers, and the tokens stand
// in lists: so the garbage collector needs half the time for a hundred thousand.
type cache struct {
	limit  int64 // bytes
	used   atomic.Int64
	now    func() time.Time
	hand   atomic.Uint64 // the shard that the next eviction begins with
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu     sync.RWMutex
	places map[fingerprint]uint32 // of the tokens in the list
	tokens []*Token               // in no order
	hand   int                    // the place that the next look begins with
} // a line of a processor's cache

const (
	cacheShards = 128

	// cacheLook is how many tokens of a shard are looked at where one comes in.
	// Eight keep those that no longer hold below an eighth of all.
	cacheLook = 8

	// cacheEntry is what a map and a list take for a token, in bytes: key, place and
	// pointer, half as much again for the room that they keep free, and the control byte.
	cacheEntry = int64(unsafe.Sizeof(fingerprint{})+unsafe.Sizeof(uint32(0))+unsafe.Sizeof((*Token)(nil)))*3/2 + 1
)

// newCache makes a cache of so many bytes; nil, which holds nothing, for 0.
func newCache(limit int64, now func() time.Time) *cache {
	if limit <= 0 {
		return nil
	}
	c := &cache{limit: limit, now: now}
	for i := range c.shards {
		c.shards[i].places = make(map[fingerprint]uint32)
	}
	return c
}

func (c *cache) shard(sum fingerprint) *cacheShard {
	return &c.shards[binary.LittleEndian.Uint64(sum[:8])%cacheShards]
}

// get gives the token of a fingerprint, or nil. The shard is locked.
func (s *cacheShard) get(sum fingerprint) *Token {
	if place, ok := s.places[sum]; ok {
		return s.tokens[place]
	}
	return nil
}

// find gives a token that still holds, or nil. One that does not is dropped.
func (c *cache) find(sum fingerprint, now int64) *Token {
	if c == nil {
		return nil
	}
	s := c.shard(sum)
	s.mu.RLock()
	found := s.get(sum)
	s.mu.RUnlock()
	if found == nil {
		return nil
	}
	if !found.holds(now) {
		c.forget(found)
		return nil
	}
	if !found.asked.Load() {
		found.asked.Store(true)
	}
	return found
}

// add takes a token in, instead of an older copy if there is one, and drops
// others as long as all together take too much.
func (c *cache) add(t *Token) {
	if c == nil || t.bytes()+t.profile.bytes > c.limit {
		return
	}
	now := c.now().Unix()
	s := c.shard(t.sum)
	s.mu.Lock()
	if twin := s.get(t.sum); twin != nil {
		c.drop(s, twin)
	}
	c.look(s, now, t)
	t.asked.Store(true) // so that the next look spares it
	s.places[t.sum] = uint32(len(s.tokens))
	s.tokens = append(s.tokens, t)
	c.used.Add(t.bytes() + t.profile.counted(1))
	s.mu.Unlock()
	for c.used.Load() > c.limit && (c.evict(now, t) || c.evict(now, nil)) { // the one in use goes last
	}
}

// evict goes on from shard to shard until it finds tokens that no longer hold, or
// else one that was not asked for since the last look, and drops that. It fails
// only if there is none but the one to spare.
func (c *cache) evict(now int64, spare *Token) bool {
	for range 2 * cacheShards { // at the second look nothing counts as asked for
		s := &c.shards[c.hand.Add(1)%cacheShards]
		s.mu.Lock()
		dropped, idle := c.look(s, now, spare)
		if !dropped && idle != nil {
			dropped = c.drop(s, idle)
		}
		s.mu.Unlock()
		if dropped {
			return true
		}
	}
	return false
}

// look drops those of the next few tokens of a shard that no longer hold. It also
// gives one that was not asked for since the last look, or the last one that it met if
// there are more than it looks at.
func (c *cache) look(s *cacheShard, now int64, spare *Token) (dropped bool, idle *Token) {
	for met := range min(cacheLook, len(s.tokens)) {
		s.hand %= len(s.tokens)
		t := s.tokens[s.hand]
		if !t.holds(now) {
			dropped = c.drop(s, t) // another stands in its place
			continue
		}
		s.hand++
		if idle == nil && t != spare && (!t.asked.Swap(false) || met == cacheLook-1) {
			idle = t
		}
	}
	return dropped, idle
}

// drop takes a token out, unless another is in its place by now. The shard is
// locked for writing.
func (c *cache) drop(s *cacheShard, t *Token) bool {
	if s.get(t.sum) != t {
		return false
	}
	place, last := s.places[t.sum], len(s.tokens)-1
	moved := s.tokens[last]
	s.tokens[place], s.places[moved.sum] = moved, place
	s.tokens[last] = nil
	s.tokens = s.tokens[:last]
	delete(s.places, t.sum)
	c.used.Add(-(t.bytes() + t.profile.counted(-1)))
	return true
}

// forget takes a token out that does not hold any more; nil is none.
func (c *cache) forget(t *Token) {
	if c == nil || t == nil {
		return
	}
	s := c.shard(t.sum)
	s.mu.Lock()
	c.drop(s, t)
	s.mu.Unlock()
}

// fingerprint stands for a token in the cache. It is spread evenly over tokens.
type fingerprint [16]byte

// newFingerprinter gives what makes fingerprints: GMAC under a random key of the
// process, a keyed universal hash. Two tokens share one with a chance of 2^-117 at
// most, whoever chose them, because neither key nor output is ever seen. It costs a
// tenth of SHA-256 on machines without instructions for it.
//
// GMAC gets the token as it is, and only reads it: copying it would add a tenth to the
// time. The nonce is always zero, as no output leaves this package.
func newFingerprinter() (func(token string) fingerprint, error) {
	key := make([]byte, 16)
	rand.Read(key) // never fails: crypto/rand ends the process instead
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making the fingerprint's cipher: %w", err)
	}
	gmac, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("making the fingerprint's mode: %w", err)
	}
	// The nonce and the sum, so that neither is allocated.
	pool := sync.Pool{New: func() any { return new([28]byte) }}
	return func(token string) fingerprint {
		s := pool.Get().(*[28]byte)
		defer pool.Put(s)
		return fingerprint(gmac.Seal(s[12:12], s[:12], nil, unsafe.Slice(unsafe.StringData(token), len(token))))
	}, nil
}

package auth

import (
	"sync"
	"sync/atomic"
)

// memory remembers verified tokens in a table that grows with them: the garbage
// collector reads all of a table each time it comes by, and one that is large
// and empty made it cost more than all else that a remembered token needs.
type memory struct {
	limit   int
	table   atomic.Pointer[table]
	growing sync.Mutex
	reserve reserve // guarded by growing
}

// firstTokens is how many tokens the first table is for.
const firstTokens = 256

// newMemory remembers at most limit tokens; nil, which remembers nothing, for 0.
func newMemory(limit int) *memory {
	if limit <= 0 {
		return nil
	}
	room := min(limit, firstTokens)
	m := &memory{limit: limit, reserve: newReserve(room)}
	m.table.Store(newTable(room, limit))
	return m
}

// find gives a remembered token that still holds, or nil. One that does not is
// forgotten.
func (m *memory) find(sum fingerprint, now int64) *Token {
	if m == nil {
		return nil
	}
	return m.table.Load().find(sum, now)
}

// add remembers a token, and forgets another where the limit is reached. Two
// requests that add the same one at once may leave it twice, which costs a slot
// and does no harm.
func (m *memory) add(token *Token, now int64) {
	if m == nil {
		return
	}
	t := m.table.Load()
	if t.isFull() && t.tokens < m.limit {
		t = m.grow(now)
	}
	t.add(token, now)
}

// grow moves the tokens that still hold to another table, of twice the size if
// they are more than half, unless another request does so already. One request
// pays for all of it, some 12 ms for 65 536 tokens. What others add to the
// old table meanwhile is verified once more when it comes again.
func (m *memory) grow(now int64) *table {
	if !m.growing.TryLock() {
		return m.table.Load()
	}
	defer m.growing.Unlock()
	t := m.table.Load()
	if !t.isFull() {
		return t
	}
	room := t.tokens
	if t.living(now) > room/2 {
		room = min(2*room, m.limit)
	}
	next := newTable(room, m.limit)
	for token := range t.all(now) {
		next.put(token, now)
	}
	m.table.Store(next)
	m.reserve.shrinkFor(room)
	return next
}

// len is how many tokens are remembered now.
func (m *memory) len() int {
	if m == nil {
		return 0
	}
	return int(m.table.Load().count.Load())
}

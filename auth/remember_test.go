package auth

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// anyKey is a key that no engine will ever withdraw.
func anyKey(t *testing.T) *issuer.Key {
	t.Helper()
	g := newGate(t)
	set, _, err := issuer.ParseSet(g.idp.JWKS())
	if err != nil || len(set.All()) != 1 {
		t.Fatalf("no key: %v", err)
	}
	return set.All()[0]
}

// entries makes remembered tokens with fingerprints spread as real ones are.
func entries(key *issuer.Key, n int, expires int64) []*Token {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	list := make([]*Token, n)
	for i := range list {
		r := &Token{standing: &standing{key: key}}
		binary.LittleEndian.PutUint64(r.sum[:8], random.Uint64())
		binary.LittleEndian.PutUint64(r.sum[8:], random.Uint64())
		r.until = expires
		list[i] = r
	}
	return list
}

// held counts what is really in the table.
func (m *memory) held() (n int) {
	for range m.table.Load().all(math.MinInt64) {
		n++
	}
	return n
}

func TestMemory(t *testing.T) {
	key := anyKey(t)
	m := newMemory(1000)
	list := entries(key, 1000, 100)
	for _, r := range list {
		if m.find(r.sum, 0) != nil {
			t.Fatal("found before it was added")
		}
		m.add(r, 0)
	}
	missing := 0
	for _, r := range list {
		if found := m.find(r.sum, 99); found == nil {
			missing++
		} else if found != r {
			t.Fatal("found another's token")
		}
	}
	// A few buckets may have been full.
	if missing > 5 || m.len() != 1000-missing {
		t.Errorf("%d of 1000 tokens are missing, %d are counted", missing, m.len())
	}
	for _, r := range list {
		if m.find(r.sum, 100) != nil {
			t.Fatal("found though it has expired")
		}
	}
	if m.len() != 0 || m.held() != 0 {
		t.Errorf("%d tokens are counted and %d held after all have expired", m.len(), m.held())
	}
}

func TestNoMemory(t *testing.T) {
	for _, limit := range []int{0, -1} {
		m := newMemory(limit)
		r := entries(anyKey(t), 1, 100)[0]
		m.add(r, 0)
		if m.find(r.sum, 0) != nil || m.len() != 0 {
			t.Errorf("limit %d: something is remembered", limit)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	key := anyKey(t)
	for _, limit := range []int{1, 2, 7, 100, 1000} {
		m := newMemory(limit)
		for _, r := range entries(key, 5*limit+50, 100) {
			m.add(r, 0)
			if m.len() > limit || m.held() > limit {
				t.Fatalf("limit %d: %d tokens are counted, %d held", limit, m.len(), m.held())
			}
			if m.find(r.sum, 0) != r {
				t.Fatalf("limit %d: the token just added is not found", limit)
			}
		}
		if limit >= 100 && m.len() < limit*99/100 {
			t.Errorf("limit %d: only %d tokens are remembered", limit, m.len())
		}
	}
}

func TestMemoryIsBoundedTogether(t *testing.T) {
	key := anyKey(t)
	const limit, writers = 64, 8
	m := newMemory(limit)
	var group sync.WaitGroup
	for w := range writers {
		list := entries(key, 3000+w, 100)
		group.Go(func() {
			for i, r := range list {
				m.add(r, 0)
				if n := m.len(); n > limit+writers {
					t.Errorf("%d tokens are counted, expected %d and one for each writer at most", n, limit)
					return
				}
				m.find(list[i/2].sum, 0)
			}
		})
	}
	group.Wait()
	if m.len() > limit || m.len() != m.held() {
		t.Errorf("afterwards %d tokens are counted and %d held, limit %d", m.len(), m.held(), limit)
	}
}

// The table grows with the tokens, and no further than the limit.
func TestMemoryGrows(t *testing.T) {
	const limit = 10*firstTokens + 3
	m := newMemory(limit)
	list := entries(anyKey(t), limit+firstTokens, 100)
	for i, r := range list {
		m.add(r, 0)
		if m.find(r.sum, 0) != r {
			t.Fatal("the token just added is not found")
		}
		if room := m.table.Load().tokens; room < m.len() || room > max(2*i, firstTokens) || room > limit {
			t.Fatalf("with %d tokens there is room for %d, limit %d", i+1, room, limit)
		}
	}
	if m.len() != m.held() || m.len() > limit || m.len() < limit*99/100 {
		t.Errorf("%d tokens are counted and %d held, limit %d", m.len(), m.held(), limit)
	}
	dead := newMemory(limit)
	for _, r := range entries(anyKey(t), firstTokens, 10) {
		dead.add(r, 0)
	}
	dead.add(list[0], 10)
	if dead.len() != 1 || dead.table.Load().tokens != firstTokens {
		t.Errorf("%d tokens are kept in a table for %d, though one only still holds", dead.len(), dead.table.Load().tokens)
	}
}

// What is set aside gives way to the tokens, and is never less than nothing.
func TestReserve(t *testing.T) {
	const limit = 200 * firstTokens
	m := newMemory(limit)
	if n := len(m.reserve); n != SetAside/reservePiece {
		t.Errorf("%d pieces are set aside at first", n)
	}
	list := entries(anyKey(t), limit, 100)
	for _, r := range list {
		m.add(r, 0)
	}
	left := reservePieces(limit)
	if n := len(m.reserve); n != left || left >= SetAside/reservePiece {
		t.Errorf("%d pieces are set aside beside room for %d tokens, expected %d", n, limit, left)
	}
	for i, piece := range m.reserve[:SetAside/reservePiece] {
		if (piece != nil) != (i < left) {
			t.Errorf("piece %d of %d left is there: %t", i, left, piece != nil)
		}
	}
	if n := len(newReserve(MaxRemember)); n != 0 {
		t.Errorf("%d pieces are set aside beside the most tokens", n)
	}
}

// What a request needs of a token is less than two lines of a processor's cache.
func TestTokenIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Token{}); size > 112 { // the size the allocator has for it
		t.Errorf("a token is %d bytes, expected 112 at most", size)
	}
}

// Growing while others add forgets a few tokens at most, and never counts wrong.
func TestMemoryGrowsTogether(t *testing.T) {
	const writers, each = 8, 4 * firstTokens
	m := newMemory(2 * writers * each)
	list := entries(anyKey(t), writers*each, 100)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for _, r := range list[w*each : (w+1)*each] {
				m.add(r, 0)
			}
		})
	}
	group.Wait()
	if m.len() != m.held() || m.len() > len(list) {
		t.Errorf("%d tokens are counted and %d held, of %d", m.len(), m.held(), len(list))
	}
	for _, r := range list {
		if m.find(r.sum, 0) == nil {
			m.add(r, 0)
		}
	}
	missing := 0
	for _, r := range list {
		if m.find(r.sum, 0) == nil {
			missing++
		}
	}
	if missing > len(list)/100 {
		t.Errorf("%d of %d tokens are missing", missing, len(list))
	}
}

// Tokens that no longer hold make room before those that do.
func TestEvictionPrefersDeadTokens(t *testing.T) {
	key := anyKey(t)
	const limit = 400
	m := newMemory(limit)
	list := entries(key, 2*limit, 100)
	dying, living, later := list[:limit/2], list[limit/2:limit], list[limit:limit+limit/4]
	for i := range limit / 2 {
		dying[i].until = 10
		m.add(dying[i], 0)
		m.add(living[i], 0)
	}
	present := func(list []*Token, now int64) (n int) {
		for _, r := range list {
			if m.find(r.sum, now) != nil {
				n++
			}
		}
		return n
	}
	before := present(living, 10) // marks them as asked for, too
	for _, r := range later {
		m.add(r, 10)
	}
	if after := present(living, 10); after < before-2 {
		t.Errorf("of %d living tokens %d are left, though %d dead ones could go", before, after, len(dying))
	}
	if n := present(later, 10); n < len(later)-2 {
		t.Errorf("of %d new tokens %d are remembered", len(later), n)
	}
}

// What is asked for all the time survives a flood of what is seen once.
func TestEvictionSparesWhatIsAsked(t *testing.T) {
	key := anyKey(t)
	const limit = 400
	m := newMemory(limit)
	list := entries(key, 20*limit, 100)
	popular, flood := list[:20], list[20:]
	for _, r := range popular {
		m.add(r, 0)
	}
	lost := 0
	for _, r := range flood {
		m.add(r, 0)
		for _, p := range popular {
			if m.find(p.sum, 0) == nil {
				lost++
				m.add(p, 0)
			}
		}
	}
	if lost > 40 {
		t.Errorf("popular tokens were forgotten %d times in %d", lost, len(flood)*len(popular))
	}
}

// A token whose bucket is full takes a place there.
func TestFullBucket(t *testing.T) {
	key := anyKey(t)
	m := newMemory(1000)
	list := entries(key, 3*bucketSlots, 100)
	for i, r := range list {
		binary.LittleEndian.PutUint64(r.sum[:8], 0) // all to the first bucket
		m.add(r, 0)
		if m.find(r.sum, 0) != r {
			t.Fatal("the token just added is not found")
		}
		if want := min(i+1, bucketSlots); m.len() != want || m.held() != want {
			t.Fatalf("%d tokens are counted and %d held, expected %d", m.len(), m.held(), want)
		}
	}
	// Of a full bucket the dead go first.
	slots := &m.table.Load().buckets[0].slots
	dead := slots[5].Load()
	dead.until = -1
	fresh := entries(key, 1000, 100)[999]
	binary.LittleEndian.PutUint64(fresh.sum[:8], 0)
	m.add(fresh, 0)
	if slots[5].Load() != fresh {
		t.Error("a living token was forgotten though a dead one could go")
	}
}

// A mark that is another token's makes no other token found, and the token is
// found again once it was added again.
func TestWrongMark(t *testing.T) {
	m := newMemory(1000)
	list := entries(anyKey(t), 2, 100)
	first, second := list[0], list[1]
	first.sum[8], second.sum[8] = 1, 2
	second.sum = fingerprint(append(append([]byte{}, first.sum[:8]...), second.sum[8:]...))
	m.add(first, 0)
	m.table.Load().bucket(first.sum).mark(0, second.sum.mark())
	if found := m.find(second.sum, 0); found != nil {
		t.Errorf("found %x, expected nothing", found.sum)
	}
	if found := m.find(first.sum, 0); found != nil {
		t.Error("found by a mark that is not its own")
	}
	m.add(first, 0)
	m.add(second, 0)
	if m.find(first.sum, 0) != first || m.find(second.sum, 0) != second {
		t.Error("not found after it was added again")
	}
}

// The same token added twice at once is one caller all the same.
func TestAddedTwice(t *testing.T) {
	m := newMemory(10)
	r := entries(anyKey(t), 1, 100)[0]
	again := &Token{sum: r.sum, standing: r.standing, until: 100}
	m.add(r, 0)
	m.add(again, 0)
	if found := m.find(r.sum, 0); found != r && found != again {
		t.Error("not found")
	}
	m.find(r.sum, 100)
	m.find(r.sum, 100)
	if m.len() != 0 || m.held() != 0 {
		t.Errorf("%d tokens are counted and %d held after it has expired", m.len(), m.held())
	}
}

// The whole verifier, with a memory that is too small, keys that come and go
// and a clock that runs, used by many at once: nobody gets in with another's
// name, and nobody after the end.
func TestVerifierTogether(t *testing.T) {
	g := newGate(t, "ES256", "EdDSA")
	v := g.verifier(func(c *VerifierConfig) { c.Remember = 16 })
	type known struct{ token, subject string }
	var tokens []known
	for i := range 40 {
		subject := string(rune('A' + i))
		algorithm := []string{"ES256", "EdDSA"}[i%2]
		tokens = append(tokens, known{g.idp.Mint(map[string]any{"sub": subject, "exp": at(time.Hour)}, idp.WithAlg(algorithm)), subject})
	}
	var group sync.WaitGroup
	for w := range 2 * runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := range 200 {
				k := tokens[(i*7+w)%len(tokens)]
				verdict := v.Verify(t.Context(), k.token)
				if verdict.Refusal != nil || verdict.Token.Subject() != k.subject {
					t.Errorf("%s: got %+v", k.subject, verdict)
					return
				}
			}
		})
	}
	group.Go(func() {
		for range 5 {
			g.refresh()
			g.clock.advance(time.Second)
		}
	})
	group.Wait()
	if n := v.Remembered(); n > 16 {
		t.Errorf("%d tokens are remembered, the limit is 16", n)
	}
	g.clock.advance(time.Hour)
	for _, k := range tokens {
		refused(t, v, k.token, ErrExpired)
	}
}

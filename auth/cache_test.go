package auth

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// anyKey is a key that no engine will ever withdraw.
func anyKey(t *testing.T) *issuer.Key {
	t.Helper()
	g := newGate(t)
	set, _, err := issuer.Config{}.ParseJWKS(g.idp.JWKS())
	if err != nil || len(set.All()) != 1 {
		t.Fatalf("no key: %v", err)
	}
	return set.All()[0]
}

// entries makes tokens with fingerprints spread as real ones are, and what each
// takes in a cache.
func entries(key *issuer.Key, n int, expires int64) (list []*Token, each int64) {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	list = make([]*Token, n)
	for i := range list {
		r := &Token{profile: &profile{profileKey: profileKey{key: key}}, until: expires}
		binary.LittleEndian.PutUint64(r.sum[:8], random.Uint64())
		binary.LittleEndian.PutUint64(r.sum[8:], random.Uint64())
		list[i] = r
	}
	return list, list[0].bytes()
}

// cacheOf makes a cache that always is of the same time.
func cacheOf(limit, now int64) *cache {
	return newCache(limit, func() time.Time { return time.Unix(now, 0) })
}

// at lets another time come.
func (c *cache) at(now int64) { c.now = func() time.Time { return time.Unix(now, 0) } }

// check holds the sum of the bytes against what is really there.
func (c *cache) check(t *testing.T) (tokens int) {
	t.Helper()
	var bytes int64
	profiles := map[*profile]bool{}
	for i := range c.shards {
		s := &c.shards[i]
		if len(s.places) != len(s.tokens) {
			t.Errorf("a shard has %d places of %d tokens", len(s.places), len(s.tokens))
		}
		for place, r := range s.tokens {
			if got, ok := s.places[r.sum]; !ok || int(got) != place {
				t.Errorf("a token at %d is looked for at %d, %v", place, got, ok)
			}
			tokens++
			bytes += r.bytes()
			if !profiles[r.profile] {
				bytes += r.profile.bytes
			}
			profiles[r.profile] = true
		}
	}
	if n, counted := sizeOf(c); n != tokens || counted != bytes {
		t.Errorf("%d tokens of %d bytes are counted, there are %d of %d", n, counted, tokens, bytes)
	}
	if bytes > c.limit {
		t.Errorf("%d bytes are taken, the limit is %d", bytes, c.limit)
	}
	return tokens
}

func TestCache(t *testing.T) {
	list, each := entries(anyKey(t), 1000, 100)
	c := cacheOf(1000*each, 0)
	for _, r := range list {
		if c.find(r.sum, 0) != nil {
			t.Fatal("found before it was added")
		}
		c.add(r)
	}
	for _, r := range list {
		if c.find(r.sum, 99) != r {
			t.Fatal("not found, or another's token")
		}
	}
	if n := c.check(t); n != 1000 {
		t.Errorf("%d of 1000 tokens are there", n)
	}
	for _, r := range list {
		if c.find(r.sum, 100) != nil {
			t.Fatal("found though it has expired")
		}
	}
	if n := c.check(t); n != 0 {
		t.Errorf("%d tokens are there after all have expired", n)
	}
}

func TestNoCache(t *testing.T) {
	for _, limit := range []int64{0, -1} {
		c := cacheOf(limit, 0)
		list, _ := entries(anyKey(t), 1, 100)
		c.add(list[0])
		n, bytes := sizeOf(c)
		if c.find(list[0].sum, 0) != nil || n != 0 || bytes != 0 {
			t.Errorf("limit %d: something is kept", limit)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	key := anyKey(t)
	for _, tokens := range []int64{1, 2, 7, 100, 1000} {
		list, each := entries(key, int(5*tokens+50), 100)
		c := cacheOf(tokens*each+each/2, 0)
		for _, r := range list {
			c.add(r)
			if c.find(r.sum, 0) != r {
				t.Fatalf("room for %d: the token just added is not found", tokens)
			}
			if _, bytes := sizeOf(c); bytes > c.limit {
				t.Fatalf("room for %d: %d bytes are taken, the limit is %d", tokens, bytes, c.limit)
			}
		}
		if n := c.check(t); int64(n) != tokens {
			t.Errorf("room for %d: %d tokens are there", tokens, n)
		}
	}
}

// Where all are asked for all the time, one goes all the same.
func TestEvictionWhereAllAreAsked(t *testing.T) {
	const room = 20 * cacheShards * cacheLook
	list, each := entries(anyKey(t), room+500, 100)
	c := cacheOf(room*each, 0)
	for _, r := range list[:room] {
		c.add(r)
		c.find(r.sum, 0)
	}
	for _, r := range list[room:] {
		c.add(r)
		r.asked.Store(true)
	}
	if n := c.check(t); n != room {
		t.Errorf("%d tokens are there, expected %d", n, room)
	}
}

// What is larger than all the room pushes nobody out.
func TestCacheAndHugeToken(t *testing.T) {
	list, each := entries(anyKey(t), 2, 100)
	c := cacheOf(2*each, 0)
	c.add(list[0])
	list[1].text = strings.Repeat("a", int(each)+1)
	c.add(list[1])
	if c.find(list[0].sum, 0) == nil || c.find(list[1].sum, 0) != nil {
		t.Error("a token larger than the cache was taken in")
	}
}

func TestCacheIsBoundedTogether(t *testing.T) {
	key := anyKey(t)
	const tokens, writers = 64, 8
	_, each := entries(key, 1, 100)
	c := cacheOf(tokens*each, 0)
	var group sync.WaitGroup
	for w := range writers {
		list, _ := entries(key, 3000+w, 100)
		group.Go(func() {
			for i, r := range list {
				c.add(r)
				if _, bytes := sizeOf(c); bytes > (tokens+writers)*each {
					t.Errorf("%d bytes are counted, expected %d and one token for each writer at most", bytes, c.limit)
					return
				}
				c.find(list[i/2].sum, 0)
			}
		})
	}
	group.Wait()
	c.check(t)
}

// Tokens that no longer hold make room before those that do.
func TestEvictionPrefersDeadTokens(t *testing.T) {
	const room = 4000
	list, each := entries(anyKey(t), 2*room, 100)
	c := cacheOf(room*each, 0)
	dying, living, later := list[:room/2], list[room/2:room], list[room:room+room/4]
	for i := range room / 2 {
		dying[i].until = 10
		c.add(dying[i])
		c.add(living[i])
	}
	present := func(list []*Token) (n int) {
		for _, r := range list {
			if c.find(r.sum, 9) != nil {
				n++
			}
		}
		return n
	}
	if n := present(living); n != len(living) { // and marks them as asked for
		t.Fatalf("%d of %d tokens are there", n, len(living))
	}
	c.at(10)
	for _, r := range later {
		c.add(r)
	}
	if n := present(living); n < len(living)*98/100 {
		t.Errorf("of %d living tokens %d are left, though %d dead ones could go", len(living), n, len(dying))
	}
	if n := present(later); n < len(later)*98/100 {
		t.Errorf("of %d new tokens %d are there", len(later), n)
	}
}

// Those that no longer hold go by and by, full or not, without being asked for:
// what is kept follows the tokens in use.
func TestExpiredTokensAreDropped(t *testing.T) {
	const alive, rounds = 2000, 20
	list, each := entries(anyKey(t), alive*rounds, 0)
	c := cacheOf(int64(len(list))*each, 0)
	for i, r := range list {
		now := int64(i)
		r.until = now + alive
		c.at(now)
		c.add(r)
	}
	if n := c.check(t); n > alive*3/2 {
		t.Errorf("%d tokens are kept, %d hold", n, alive)
	}
}

// What is asked for all the time survives a flood of what is seen once.
func TestEvictionSparesWhatIsAsked(t *testing.T) {
	const room = 4000
	list, each := entries(anyKey(t), 5*room, 100)
	c := cacheOf(room*each, 0)
	popular, flood := list[:20], list[20:]
	for _, r := range popular {
		c.add(r)
	}
	lost := 0
	for _, r := range flood {
		c.add(r)
		for _, p := range popular {
			if c.find(p.sum, 0) == nil {
				lost++
				c.add(p)
			}
		}
	}
	if lost > 40 {
		t.Errorf("popular tokens were dropped %d times in %d", lost, len(flood)*len(popular))
	}
}

// The same token added twice takes the place of the first one.
func TestAddedTwice(t *testing.T) {
	list, each := entries(anyKey(t), 1, 100)
	r := list[0]
	c := cacheOf(10*each, 0)
	again := &Token{sum: r.sum, profile: r.profile, until: 100}
	c.add(r)
	c.add(again)
	if found := c.find(r.sum, 0); found != again {
		t.Error("the second one is not found")
	}
	if n := c.check(t); n != 1 {
		t.Errorf("%d tokens are there", n)
	}
}

// A token with many groups counts by what it takes, and so does what is read of
// its claims later: the memory is what the cache says.
func TestCacheCountsWhatTokensTake(t *testing.T) {
	g := newGate(t)
	letIn(t, g.verifier(), g.idp.Mint(nil))
	key := g.engine.JWKS().All()[0]
	for _, tt := range []struct {
		name          string
		tokens        int
		groups        int
		registered    bool
		claims        []string
		fewest, times float64 // of what they really take
	}{
		{name: "ordinary", tokens: 20000, groups: 2, fewest: 0.9, times: 2},
		{name: "registered", tokens: 20000, groups: 2, registered: true, fewest: 0.8, times: 1.3},
		{name: "claims asked", tokens: 20000, groups: 2, claims: []string{"email", "name", "sub"}, fewest: 0.9, times: 2},
		{name: "some groups", tokens: 5000, groups: 40, fewest: 0.9, times: 1.5},
		{name: "200 groups", tokens: 2000, groups: 200, fewest: 0.9, times: 1.7},
		{name: "200 groups, registered, asked", tokens: 2000, groups: 200, registered: true, claims: []string{"groups"}, fewest: 0.9, times: 1.5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sums, _ := entries(key, tt.tokens, 0)
			accounts := make([]roll, tt.tokens)
			for i := range accounts {
				if tt.registered {
					accounts[i].register(t, account.Draft{Subject: subjectOf(i), Groups: []string{"deployers"}})
				}
			}
			a, err := newAuthority(g.policy(), g.engine)
			if err != nil {
				t.Fatal(err)
			}
			before := liveHeap()
			c := cacheOf(1<<40, epoch.Unix())
			for i, one := range sums {
				r := &Token{sum: one.sum}
				claims, _ := parseClaims(ofPerson(g.idp.URL, i, tt.groups))
				if refusal := a.describe(r, &header{}, claims, key); refusal != nil {
					t.Fatal(refusal)
				}
				c.add(r)
				p, refusal := (&Registration{Accounts: &accounts[i]}).Admit(r, epoch)
				if refusal != nil {
					t.Fatal(refusal)
				}
				for _, path := range tt.claims {
					p.claim(path)
				}
				if int(r.planned) < len(tt.claims) { // as the next request with it would
					c.add(r.extended())
				}
			}
			c.check(t)
			taken := float64(liveHeap() - before)
			_, counted := sizeOf(c)
			t.Logf("a token takes %.0f bytes, %d are counted", taken/float64(tt.tokens), counted/int64(tt.tokens))
			if share := float64(counted) / taken; share < tt.fewest || share > tt.times {
				t.Errorf("%d bytes are counted, %.2f of what is taken; expected %.2f to %.2f", counted, share, tt.fewest, tt.times)
			}
			runtime.KeepAlive(a)
			runtime.KeepAlive(c)
			runtime.KeepAlive(sums)
			runtime.KeepAlive(accounts)
		})
	}
}

func subjectOf(i int) string { return fmt.Sprintf("f:5f8fa1c0-9c0e-4f5e-8f6a-6e1f:%08d", i) }

// ofPerson are the claims of a token of a person in some groups.
func ofPerson(iss string, i, groups int) []byte {
	list := make([]string, groups)
	for j := range list {
		list[j] = fmt.Sprintf(`"team-%d-%d"`, i%7*j, (i+j)%1000)
	}
	return fmt.Appendf(nil, `{"iss":%q,"aud":%q,"sub":%q,"jti":"2b0c5a5e-7b7f-4d59-9c59-%012d",`+
		`"iat":%d,"exp":%d,"client_id":"web-console","name":"Person %d","email":"person-%d@example.com","groups":[%s]}`,
		iss, idp.DefaultAudience, subjectOf(i), i, epoch.Unix(), epoch.Unix()+3600, i, i, strings.Join(list, ","))
}

// The whole verifier, with a cache that is too small, keys that come and go
// and a clock that runs, used by many at once: nobody gets in with another's
// name, and nobody after the end.
func TestVerifierTogether(t *testing.T) {
	const limit = 16 << 10
	g := newGate(t, "ES256", "EdDSA")
	v := g.verifier(func(c *VerifierConfig) { c.CacheBytes = limit })
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
	if n, bytes := v.Cached(); bytes > limit || n == 0 {
		t.Errorf("%d tokens of %d bytes are in the cache, the limit is %d", n, bytes, limit)
	}
	g.clock.advance(time.Hour)
	for _, k := range tokens {
		refused(t, v, k.token, ErrExpired)
	}
}

func TestFingerprint(t *testing.T) {
	f, err := newFingerprinter()
	if err != nil {
		t.Fatal(err)
	}
	tokens := []string{"", "a", "b", "aa", "a\x00", "\x00", "\x00\x00", strings.Repeat("a", MaxTokenBytes), strings.Repeat("a", MaxTokenBytes-1)}
	seen := map[fingerprint]string{}
	for _, token := range tokens {
		sum := f(token)
		if other, twice := seen[sum]; twice {
			t.Errorf("tokens of %d and %d bytes share a fingerprint", len(token), len(other))
		}
		seen[sum] = token
		if f(token) != sum {
			t.Errorf("a token of %d bytes has two fingerprints", len(token))
		}
	}
	long := []byte(strings.Repeat("a", 900))
	sum := f(string(long))
	for i := range long {
		long[i] = 'b'
		if f(string(long)) == sum {
			t.Errorf("byte %d says nothing to the fingerprint", i)
		}
		long[i] = 'a'
	}
}

// Whoever knows one process's fingerprints knows nothing of another's.
func TestFingerprintsAreKeyed(t *testing.T) {
	one, err := newFingerprinter()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newFingerprinter()
	if err != nil {
		t.Fatal(err)
	}
	if one("token") == other("token") {
		t.Error("two processes make the same fingerprint")
	}
}

func TestFingerprintTogether(t *testing.T) {
	f, err := newFingerprinter()
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range 8 {
		token := strings.Repeat(string(rune('a'+i)), 100+i)
		sum := f(token)
		group.Go(func() {
			for range 500 {
				if f(token) != sum {
					t.Error("the fingerprint changed")
					return
				}
			}
		})
	}
	group.Wait()
}

// sizeOf is how many tokens are in a cache, and the bytes that they take.
func sizeOf(c *cache) (tokens int, bytes int64) { return (&Verifier{cache: c}).Cached() }

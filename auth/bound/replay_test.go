package bound

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestProofIsTakenOnce(t *testing.T) {
	me, other := newClient(t, "ES256", "me"), newClient(t, "ES256", "other")
	c := newChecker(t)
	proof := me.proof(t, nil, map[string]any{"jti": "one"})
	refuses(t, c, me.request(proof), nil)
	refuses(t, c, me.request(proof), ErrProofRepeated)
	again := me.proof(t, nil, map[string]any{"jti": "one", "iat": theTime.Unix() - 30})
	refuses(t, c, me.request(again), ErrProofRepeated)
	spelled := me.proof(t, nil, map[string]any{"jti": "one", "htu": "https://GW.example.com:443/%61/b"})
	refuses(t, c, me.request(spelled), ErrProofRepeated)
	refuses(t, c, other.request(other.proof(t, nil, map[string]any{"jti": "one"})), nil)
	elsewhere := me.request(me.proof(t, nil, map[string]any{"jti": "one", "htu": "https://gw.example.com/x"}))
	elsewhere.Target = "/x"
	refuses(t, c, elsewhere, nil)
	refuses(t, c, me.request(me.proof(t, nil, map[string]any{"jti": "two"})), nil)
}

// Of a thousand requests with one proof at once, exactly one gets in.
func TestOneOfAThousand(t *testing.T) {
	me := newClient(t, "ES256", "me")
	c := newChecker(t)
	proof := me.proof(t, nil, nil)
	var in, repeated atomic.Int64
	var group sync.WaitGroup
	begin := make(chan struct{})
	for range 1000 {
		group.Go(func() {
			<-begin
			switch refusal, _ := c.Check(me.request(proof)); refusal {
			case nil:
				in.Add(1)
			case ErrProofRepeated:
				repeated.Add(1)
			}
		})
	}
	close(begin)
	group.Wait()
	if in.Load() != 1 || repeated.Load() != 999 {
		t.Errorf("%d got in, %d were refused as repeated", in.Load(), repeated.Load())
	}
}

// A full memory refuses new proofs, and forgets none of those that it holds.
func TestFullMemory(t *testing.T) {
	me := newClient(t, "ES256", "me")
	now := theTime
	memory := NewReplays(20, 2*time.Minute)
	c := newChecker(t, func(c *Config) { c.Replays, c.Now = memory, func() time.Time { return now } })
	var taken []string
	for range 20 {
		proof := me.proof(t, nil, nil)
		refuses(t, c, me.request(proof), nil)
		taken = append(taken, proof)
	}
	fresh := me.proof(t, nil, nil)
	if refusal, _ := c.Check(me.request(fresh)); refusal != ErrReplaysFull || refusal.Status != 503 || refusal.Code != "" {
		t.Errorf("got %v", refusal)
	}
	for _, proof := range taken {
		refuses(t, c, me.request(proof), ErrProofRepeated)
	}
	if memory.Len() != 20 || int(memory.Limit.Load()) != 20 {
		t.Errorf("%d proofs are remembered, of at most %d", memory.Len(), int(memory.Limit.Load()))
	}
	now = now.Add(2 * time.Minute) // those are too old now
	for range 20 {                 // as much room as at first
		refuses(t, c, me.request(me.proof(t, nil, map[string]any{"iat": now.Unix()})), nil)
	}
}

// A proof is remembered for as long as it would be good.
func TestRememberedLongEnough(t *testing.T) {
	me := newClient(t, "ES256", "me")
	for _, age := range []int64{-30, -1, 0, 30, 60} {
		now := theTime
		c := newChecker(t, func(c *Config) { c.Now = func() time.Time { return now } })
		proof := me.proof(t, nil, map[string]any{"iat": now.Unix() - age})
		refuses(t, c, me.request(proof), nil)
		for ; ; now = now.Add(time.Second) {
			refusal, _ := c.Check(me.request(proof))
			if refusal == ErrProofOld {
				break
			}
			if refusal != ErrProofRepeated {
				t.Fatalf("%d s old at first, at %s: %v", age, now.Sub(theTime), reasonOf(refusal))
			}
		}
		if after := now.Sub(theTime); after != time.Duration(61-age)*time.Second {
			t.Errorf("%d s old at first: too old after %s", age, after)
		}
	}
}

// What has expired goes, whatever comes later, and its memory with it.
func TestMemoryShrinks(t *testing.T) {
	r := NewReplays(100_000, 2*time.Minute)
	for second := range int64(600) {
		for i := range 200 {
			sum := r.sum(nil, &[32]byte{}, nil, fmt.Appendf(nil, "%d %d", second, i))
			if refusal := r.take(sum, second+60, second); refusal != nil {
				t.Fatal(refusal)
			}
		}
	}
	if n := r.Len(); n < 60*200 || n > 80*200 {
		t.Errorf("%d proofs are remembered, expected those of about 60 s", n)
	}
}

func TestMemoryOfAProof(t *testing.T) {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r := NewReplays(n, 2*time.Minute)
	for i := range n {
		if refusal := r.take(r.sum(nil, &[32]byte{}, nil, fmt.Appendf(nil, "%d", i)), int64(60+i%60), 0); refusal != nil {
			t.Fatal(refusal)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if bytes := (after.HeapAlloc - before.HeapAlloc) / n; bytes > 100 {
		t.Errorf("%d bytes a proof", bytes)
	}
	if refusal := r.take([16]byte{}, 60, 0); refusal != ErrReplaysFull {
		t.Errorf("one more: %v", refusal)
	}
	runtime.KeepAlive(r)
}

// Many requests at once never remember more than the bound, and lose nothing.
func TestBoundHoldsUnderLoad(t *testing.T) {
	r := NewReplays(500, 2*time.Minute)
	var taken, full atomic.Int64
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 200 {
				switch r.take(r.sum(nil, &[32]byte{}, nil, fmt.Appendf(nil, "%d %d", worker, i)), 60, 0) {
				case nil:
					taken.Add(1)
				case ErrReplaysFull:
					full.Add(1)
				}
			}
		})
	}
	group.Wait()
	if taken.Load()+full.Load() != 1600 || taken.Load() > 500 || int64(r.Len()) != taken.Load() {
		t.Errorf("%d taken, %d refused, %d remembered", taken.Load(), full.Load(), r.Len())
	}
}

func TestNonces(t *testing.T) {
	n, twin, other := nonces(t, "a"), nonces(t, "a"), nonces(t, "b")
	now := theTime
	nonce := n.Make(now)
	if ok, next := n.Check(nonce, now); !ok || next != "" {
		t.Errorf("a new nonce: %v, %q", ok, next)
	}
	if ok, _ := twin.Check(nonce, now); !ok {
		t.Error("the same node with the same key does not know it")
	}
	if ok, _ := other.Check(nonce, now); ok {
		t.Error("another node takes it")
	}
	for _, bad := range []string{"", "x", nonce + "x", nonce[1:], other.Make(now)} {
		if ok, _ := n.Check(bad, now); ok {
			t.Errorf("%q is taken", bad)
		}
	}
	later := now.Add(2 * time.Minute)
	ok, next := n.Check(nonce, later)
	if !ok || next == "" || next == nonce {
		t.Errorf("in the next slot: %v, %q", ok, next)
	}
	if ok, again := n.Check(next, later); !ok || again != "" {
		t.Errorf("the next one: %v, %q", ok, again)
	}
	if ok, _ := n.Check(nonce, now.Add(4*time.Minute)); ok {
		t.Error("it is taken for more than four minutes")
	}
	if ok, _ := n.Check(next, now); ok {
		t.Error("a nonce of the future is taken")
	}
}

// A client that asks at least every two minutes always has a good nonce.
func TestNonceFollows(t *testing.T) {
	n := nonces(t, "a")
	nonce := n.Make(theTime)
	for now := theTime; now.Before(theTime.Add(time.Hour)); now = now.Add(119 * time.Second) {
		ok, next := n.Check(nonce, now)
		if !ok {
			t.Fatalf("refused after %s", now.Sub(theTime))
		}
		if next != "" {
			nonce = next
		}
	}
}

func TestNonceKeyIsLong(t *testing.T) {
	for _, key := range [][]byte{nil, make([]byte, 15)} {
		if _, err := NewNonces(key); err == nil {
			t.Errorf("%q makes nonces", key)
		}
	}
}

func TestProofsWithNonces(t *testing.T) {
	me := newClient(t, "ES256", "me")
	now := theTime
	clock := func(c *Config) { c.Now = func() time.Time { return now } }
	a, b := newChecker(t, withNonces(t, "a"), clock), newChecker(t, withNonces(t, "b"), clock)
	with := func(nonce any) *Request {
		return me.request(me.proof(t, nil, map[string]any{"nonce": nonce, "iat": now.Unix()}))
	}
	refuses(t, a, with(absent), ErrNoNonce)
	refuses(t, a, with(1), ErrProofMember)
	refuses(t, a, with(""), ErrNonce)
	refuses(t, a, with("made up"), ErrNonce)
	refusal, nonce := a.Check(with(absent))
	if refusal.Code != "use_dpop_nonce" || refusal.Status != 401 || nonce != a.Nonce() || nonce == "" {
		t.Errorf("got %+v, %q", refusal, nonce)
	}
	proof := with(nonce)
	if refusal, next := a.Check(proof); refusal != nil || next != "" {
		t.Errorf("with it: %v, %q", reasonOf(refusal), next)
	}
	refuses(t, a, proof, ErrProofRepeated)
	refuses(t, b, proof, ErrNonce) // the replay at another node
	now = now.Add(2 * time.Minute)
	if refusal, next := a.Check(with(nonce)); refusal != nil || next != a.Nonce() || next == nonce {
		t.Errorf("when it is about to change: %v, %q", reasonOf(refusal), next)
	}
	now = now.Add(2 * time.Minute)
	refuses(t, a, with(nonce), ErrNonce)
	if plain := newChecker(t, clock); plain.Nonce() != "" {
		t.Error("a nonce where none is asked for")
	}
}

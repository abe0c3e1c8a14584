package bound

import (
	"testing"
	"time"
)

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

func TestNonceKeys(t *testing.T) {
	first, second := []byte("the first key of the nonces"), []byte("the second key of the nonces")
	n, err := NewNonces("a", first)
	if err != nil {
		t.Fatal(err)
	}
	old := n.Make(theTime)
	if err := n.Rotate(second, first); err != nil {
		t.Fatal(err)
	}
	ok, next := n.Check(old, theTime)
	if !ok || next != n.Make(theTime) || next == old {
		t.Errorf("by the key before: %v, %q", ok, next)
	}
	if err := n.Rotate(second); err != nil {
		t.Fatal(err)
	}
	if ok, _ := n.Check(old, theTime); ok {
		t.Error("by a key that is gone: taken")
	}
	for _, keys := range [][][]byte{nil, {nil}, {make([]byte, 15)}, {first, []byte("short")}} {
		if _, err := NewNonces("a", keys...); err == nil {
			t.Errorf("%q makes nonces", keys)
		}
	}
	if n.Rotate() == nil || n.Make(theTime) != next {
		t.Error("a bad rotation changes the keys")
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

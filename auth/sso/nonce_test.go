package sso

import (
	"strings"
	"testing"
	"time"
)

func testNonces() nonces { return nonces{key: []byte(strings.Repeat("k", minNonceKey))} }

// A nonce is known for the product and the account that it was made for, with the
// client's own in front of it.
func TestNonces(t *testing.T) {
	n, at := testNonces(), time.Unix(1_800_000_000, 0)
	for _, own := range []string{"", "own", "a.b", "."} {
		nonce := n.make("app", "acme", own, randomText(), at)
		if begun, ok := n.begun("app", "acme", nonce); !ok || !begun.Equal(at) || own != "" && !strings.HasPrefix(nonce, own+".") {
			t.Errorf("%q: got %s, %t", nonce, begun, ok)
		}
		for name, known := range map[string]func() (time.Time, bool){
			"another product": func() (time.Time, bool) { return n.begun("other", "acme", nonce) },
			"another account": func() (time.Time, bool) { return n.begun("app", "other", nonce) },
			"swapped":         func() (time.Time, bool) { return n.begun("acme", "app", nonce) },
			"another key":     func() (time.Time, bool) { return nonces{[]byte(strings.Repeat("x", 32))}.begun("app", "acme", nonce) },
			"no key":          func() (time.Time, bool) { return nonces{}.begun("app", "acme", nonce) },
			"more in front":   func() (time.Time, bool) { return n.begun("app", "acme", "x."+nonce) },
			"cut":             func() (time.Time, bool) { return n.begun("app", "acme", nonce[:len(nonce)-1]) },
		} {
			if _, ok := known(); ok {
				t.Errorf("%q is taken with %s", nonce, name)
			}
		}
	}
}

// FuzzNonce: nothing is taken but what was made.
func FuzzNonce(f *testing.F) {
	n, at := testNonces(), time.Unix(1_800_000_000, 0)
	good := n.make("app", "acme", "own", strings.Repeat("r", nonceRandom), at)
	for _, seed := range []string{good, good[4:], "own." + good, "", ".", strings.Repeat("A", 54), good + "=", strings.ToLower(good)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, nonce string) {
		begun, ok := n.begun("app", "acme", nonce)
		if ok && (nonce != good || !begun.Equal(at)) {
			t.Errorf("%q is taken", nonce)
		}
	})
}

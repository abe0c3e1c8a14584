package license

import (
	"fmt"
	"testing"
	"time"
)

// validityOf has n host patterns, of which the first is *.johnwick.org.
func validityOf(b *testing.B, n int) *Validity {
	b.Helper()
	r := request()
	r.AllowedHosts = []string{"*.johnwick.org"}
	for i := 1; i < n; i++ {
		r.AllowedHosts = append(r.AllowedHosts, fmt.Sprintf("*.tenant-%d.example.org", i))
	}
	s, err := NewSigner(SignerConfig{Key: testKey(b, "ed25519")})
	if err != nil {
		b.Fatal(err)
	}
	keys := newKeySet(b, TrustedKey{Key: s.Public()})
	v, err := NewVerifier(Config{Keys: keys, Warn: time.Hour, Grace: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	return v.Verify(mustSign(b, s, r))
}

// What a request costs: state by the real clock, host and feature, beside the
// floor of a bare look-up in a map and of reading the clock.
func BenchmarkRequest(b *testing.B) {
	host, features := "api.johnwick.org:8443", []string{"runbooks"}
	for _, n := range []int{1, 256} {
		s := validityOf(b, n)
		floor := make(map[string]struct{}, n)
		for i := range n {
			floor[fmt.Sprintf("tenant-%d.example.org", i)] = struct{}{}
		}
		for _, c := range []struct {
			name string
			f    func()
		}{
			{"floor/map", func() { _ = floor[host] }},
			{"floor/clock", func() { _ = time.Now() }},
			{"state", func() { s.State() }},
			{"host", func() { _ = s.Check(host) }},
			{"feature", func() { _ = s.Check(host, features...) }},
			{"refused", func() { _ = s.Check("evil.example") }},
		} {
			b.Run(fmt.Sprintf("patterns=%d/%s", n, c.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					c.f()
				}
			})
		}
	}
}

// What opening a license costs: once at each change, never for a request.
func BenchmarkOpen(b *testing.B) {
	for _, name := range []string{"v1-salt-32", "v2-rsa", "v2-ed25519", "v2-ecdsa"} {
		data := readFile(b, name+".json")
		v := newVerifier(b, at(issued), Config{})
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				v.Open(data)
			}
		})
	}
}

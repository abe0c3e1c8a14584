package active

import (
	"os"
	"testing"
	"time"
)

// What a request costs with the keeper, which finds what is in force and notices
// a change of state, beside the bare library and the clock that both read.
func BenchmarkRequest(b *testing.B) {
	k := newKeeper(b, Inline(string(signed(b, "Acme"))))
	reported := make(chan struct{}, 1)
	b.Cleanup(k.Attach(Host{Observe: func(Event) { reported <- struct{}{} }}))
	<-reported
	bare, host := k.Validity(), "api.johnwick.org:8443"
	for _, c := range []struct {
		name string
		f    func() error
	}{
		{"clock", func() error { _ = time.Now().Unix(); return nil }},
		{"library/check", func() error { return bare.Check(host) }},
		{"library/state+check", func() error { bare.State(); return bare.Check(host) }},
		{"keeper/validity", func() error { k.Validity(); return nil }},
		{"keeper/validity+check", func() error { return k.Validity().Check(host) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c.f() != nil {
					b.Fatal("refused")
				}
			}
		})
		b.Run(c.name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					_ = c.f()
				}
			})
		})
	}
}

// What a look at a file that did not change costs, every two seconds.
func BenchmarkLook(b *testing.B) {
	path := b.TempDir() + "/license.json"
	if err := os.WriteFile(path, signed(b, "Acme"), 0o600); err != nil {
		b.Fatal(err)
	}
	k := newKeeper(b, File(path))
	b.ReportAllocs()
	for b.Loop() {
		k.watchFile()
	}
}

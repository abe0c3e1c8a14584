package revocation_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

const million = 1_000_000

func sessionOf(i int) string { return fmt.Sprintf("0f6c2c1e-9a51-4a8b-8d0e-%012d", i) }

// fill revokes a million sessions in a folder.
func fill(b *testing.B) *certmagic.FileStorage {
	s := &certmagic.FileStorage{Path: b.TempDir()}
	r := revocation.New(registry.Options{WriteLimit: time.Minute})
	defer r.Close()
	r.Attach(registry.Host[revocation.Revocation]{Storage: s})
	const step = 250_000
	for from := 0; from < million; from += step {
		drafts := make([]revocation.Draft, step)
		for i := range drafts {
			drafts[i] = revocation.Draft{Issuer: issuer, Target: revocation.Session, Name: sessionOf(from + i), By: "issuer acme", Reason: "session-revoked"}
		}
		if _, err := r.Revoke(context.Background(), drafts); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// BenchmarkMillion loads a million revocations from a folder, and looks them up.
func BenchmarkMillion(b *testing.B) {
	s := fill(b)
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			before := memory()
			b.StartTimer()
			r := start(b, s, registry.Options{})
			b.StopTimer()
			b.ReportMetric(float64(memory().HeapAlloc-before.HeapAlloc)/million, "live-B/revocation")
			if r.Count() != million {
				b.Fatal(r.Count())
			}
			_ = r.Close()
			b.StartTimer()
		}
	})
	r := start(b, s, registry.Options{})
	asked := make([]revocation.Key, 1<<16)
	for i := range asked {
		asked[i] = revocation.Key{Issuer: issuer, Target: revocation.Session, Name: sessionOf(i * 7919 % (2 * million))}
	}
	b.Run("look up", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			key := asked[i&(len(asked)-1)]
			i++
			_ = r.Find(key)
		}
	})
	b.Run("revoke", func(b *testing.B) {
		i := 0
		for b.Loop() {
			if _, err := r.Revoke(b.Context(), []revocation.Draft{{Issuer: issuer, Target: revocation.Subject, Name: fmt.Sprint("s", i)}}); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

func memory() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}

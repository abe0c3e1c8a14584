package account_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

const million = 1_000_000

func subjectOf(i int) string { return fmt.Sprintf("service-account-%07d@project.example", i) }

func nameOf(i int) string { return fmt.Sprint("Service account ", i) }

// millionFolder is a folder that holds a million accounts, made once.
var millionFolder = sync.OnceValues(func() (string, error) {
	folder, err := benchFolder()
	if err != nil {
		return "", err
	}
	return folder, fill(folder, million)
})

// BenchmarkLoad loads a million accounts from a folder. It tells how many bytes
// live afterwards for each, and how many were allocated on the way.
func BenchmarkLoad(b *testing.B) {
	s := millionStorage(b)
	for b.Loop() {
		var n *node
		count(b, func() any {
			n = start(b, s, registry.Options{}).loaded(b)
			return n.Registry
		})
		b.StopTimer()
		if n.Counts().Active != million {
			b.Fatalf("loaded %+v", n.Counts())
		}
		_ = n.Close()
		b.StartTimer()
	}
}

// BenchmarkPlain has the same accounts in memory as one would without a thought:
// a struct in a map, and not even the order by subject. It is what the bytes of
// BenchmarkLoad are to be seen beside.
func BenchmarkPlain(b *testing.B) {
	type plain struct {
		name, issuer              string
		groups                    []string
		inactive                  bool
		expires, created, updated time.Time
	}
	groups, now := []string{"deployers"}, time.Now()
	for b.Loop() {
		count(b, func() any {
			all := map[string]plain{}
			for i := range million {
				all[subjectOf(i)] = plain{nameOf(i), "acme", groups, false, time.Time{}, now, now}
			}
			return all
		})
	}
}

// count reports what the accounts that are made take of memory.
func count(b *testing.B, made func() any) {
	b.StopTimer()
	before := memory()
	b.StartTimer()
	all := made()
	b.StopTimer()
	after := memory()
	runtime.KeepAlive(all)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/million, "live-B/account")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/million, "allocated-B/account")
	b.StartTimer()
}

// BenchmarkChange writes one change among a million accounts.
func BenchmarkChange(b *testing.B) {
	n := start(b, millionStorage(b), registry.Options{}).loaded(b)
	i := 0
	for b.Loop() {
		d := draft(subjectOf(i % 1000))
		if i/1000%2 == 0 {
			d.Status = account.StatusInactive
		}
		if _, err := n.Replace(b.Context(), d.Subject, d); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.StopTimer()
	for i := range 1000 {
		if _, err := n.Apply(b.Context(), []account.Change{{Op: account.Upsert, Draft: draft(subjectOf(i))}}, nil); err != nil {
			b.Fatal(err)
		}
		if n.Counts().Inactive == 0 {
			break
		}
	}
}

// BenchmarkImport creates ten thousand accounts at once, in an empty folder.
func BenchmarkImport(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		n := start(b, &certmagic.FileStorage{Path: b.TempDir()}, registry.Options{}).loaded(b)
		changes := upserts(0, 10_000)
		b.StartTimer()
		if _, err := n.Apply(b.Context(), changes, nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = n.Close()
		b.StartTimer()
	}
}

// BenchmarkLookup finds accounts in registries of several sizes, beside a map:
// a thousand that are asked for again and again, as by clients at work, and then
// any of all, which is mostly the cost of memory that is not in a cache.
func BenchmarkLookup(b *testing.B) {
	for _, size := range []int{1000, 10_000, million} {
		n := start(b, sizedStorage(b, size), registry.Options{}).loaded(b)
		bare := map[string]*account.Account{}
		for _, a := range n.List("", 0) {
			bare[a.Subject()] = a
		}
		for name, clients := range map[string]int{"thousand": 1 << 10, "any": 1 << 20} {
			asked := make([]string, clients)
			for i := range asked {
				asked[i] = subjectOf(i * 7919 % size)
			}
			b.Run(fmt.Sprintf("of=%d/asked=%s/in=registry", size, name), func(b *testing.B) {
				lookups(b, asked, func(s string) bool { _, ok := n.Lookup("acme", s); return ok })
			})
			b.Run(fmt.Sprintf("of=%d/asked=%s/in=map", size, name), func(b *testing.B) {
				lookups(b, asked, func(s string) bool { a := bare[s]; return a != nil && a.Traits().Issuer == "acme" })
			})
		}
		_ = n.Close()
	}
}

func lookups(b *testing.B, asked []string, found func(string) bool) {
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if !found(asked[i&(len(asked)-1)]) {
			b.Fatal("not found")
		}
		i++
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	n := start(t, &certmagic.FileStorage{Path: t.TempDir()}, registry.Options{}).loaded(t)
	create(t, n, numbered("sa", 100)...)
	v := declare(t, n.Registry, draft("declared"))
	if allocs := testing.AllocsPerRun(1000, func() {
		for _, s := range []string{"sa-0042", "declared", "nobody"} {
			a, ok := v.Lookup("acme", s)
			if ok && a.Traits().Inactive {
				t.Error("not active")
			}
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

// memory is what is left of it after the collector ran.
func memory() (m runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}

func upserts(from, to int) []account.Change {
	changes := make([]account.Change, 0, to-from)
	for i := from; i < to; i++ {
		d := draft(subjectOf(i))
		d.Name = nameOf(i)
		changes = append(changes, account.Change{Op: account.Upsert, Draft: d})
	}
	return changes
}

func millionStorage(b *testing.B) storage.Storage {
	b.Helper()
	folder, err := millionFolder()
	if err != nil {
		b.Fatal(err)
	}
	return &certmagic.FileStorage{Path: folder}
}

func sizedStorage(b *testing.B, size int) storage.Storage {
	b.Helper()
	if size == million {
		return millionStorage(b)
	}
	folder := b.TempDir()
	if err := fill(folder, size); err != nil {
		b.Fatal(err)
	}
	return &certmagic.FileStorage{Path: folder}
}

// fill writes the accounts up to a number into a folder.
func fill(folder string, size int) error {
	r := account.New(registry.Options{WriteLimit: time.Minute, Linger: time.Minute})
	defer r.Close()
	r.Attach(registry.Host[account.Account]{Storage: &certmagic.FileStorage{Path: folder}})
	const step = 250_000
	for from := 0; from < size; from += step {
		if _, err := r.Apply(context.Background(), upserts(from, min(from+step, size)), nil); err != nil {
			return err
		}
	}
	return nil
}

// benchFolder outlives a single benchmark; TestMain removes it.
func benchFolder() (string, error) {
	folder, err := os.MkdirTemp("", "gatehouse-accounts-")
	cleanups = append(cleanups, func() { _ = os.RemoveAll(folder) })
	return folder, err
}

package active

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
)

// await waits for what other goroutines do in real time, with real files.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20s", what)
		}
	}
}

func node(t *testing.T, folder string, observe func(Event)) *Keeper {
	t.Helper()
	k := newKeeper(t, Installed())
	t.Cleanup(k.Attach(Host{Storage: &certmagic.FileStorage{Path: folder}, Refresh: MinRefresh, Observe: observe}))
	if err := k.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

// TestTwoNodesOneFolder: two nodes share Caddy's usual storage.
func TestTwoNodesOneFolder(t *testing.T) {
	shared := filepath.Join(t.TempDir(), "shared")
	var vanished atomic.Int32
	observe := func(ev Event) {
		if ev.Kind == Vanished {
			vanished.Add(1)
		}
	}
	a, b := node(t, shared, observe), node(t, shared, observe)
	for i, k := range []*Keeper{a, b, a} {
		name := fmt.Sprintf("Acme %d", i)
		if err := k.Install(t.Context(), signed(t, name)); err != nil {
			t.Fatal(err)
		}
		if got := customer(k); got != name {
			t.Errorf("right after it was installed: %s, want %s", got, name)
		}
		await(t, name, func() bool { return customer(a) == name && customer(b) == name })
	}
	if c := node(t, shared, nil); customer(c) != "Acme 2" {
		t.Errorf("a third node has the license of %s", customer(c))
	}
	must(t, os.Rename(shared, shared+"-away"))
	await(t, "the loss reported by both", func() bool { return vanished.Load() == 2 })
	if customer(a) != "Acme 2" || customer(b) != "Acme 2" {
		t.Error("a license was lost with the folder")
	}
}

// TestTwoNodesInstallAtOnce: both are answered, and both end with the same one.
func TestTwoNodesInstallAtOnce(t *testing.T) {
	shared := t.TempDir()
	nodes := []*Keeper{node(t, shared, nil), node(t, shared, nil)}
	var all sync.WaitGroup
	for i := range 6 {
		data := signed(t, fmt.Sprintf("Acme %d", i))
		all.Go(func() {
			if err := nodes[i%2].Install(context.Background(), data); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	storage := &certmagic.FileStorage{Path: shared}
	await(t, "the same license on both", func() bool {
		kept, err := storage.Load(context.Background(), installedKey)
		return err == nil && string(kept) == string(nodes[0].Known()) && string(kept) == string(nodes[1].Known())
	})
}

// TestRecordOnAFolder: two nodes record into Caddy's usual storage.
func TestRecordOnAFolder(t *testing.T) {
	storage := &certmagic.FileStorage{Path: t.TempDir()}
	a, b := NewRecord(storage, Options{}), NewRecord(storage, Options{})
	if got, err := a.List(t.Context(), "", 0); err != nil || len(got) != 0 {
		t.Fatalf("%v, %v of an empty storage", got, err)
	}
	l := sign(t, "Acme")
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if _, err := []*Record{a, b}[i%2].Add(t.Context(), Entry{Actor: "ops", License: l}); err != nil {
				t.Error(err)
			}
			if _, err := a.List(t.Context(), "", 5); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := b.List(t.Context(), "", 0); err != nil || len(got) != 40 {
		t.Errorf("%d entries, %v; want 40", len(got), err)
	}
}

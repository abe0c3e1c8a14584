package account_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Every storage of Caddy will do.
var _ storage.Storage = certmagic.Storage(nil)

// TestTwoNodesOnOneFolder creates 60 accounts at once from both of two nodes.
func TestTwoNodesOnOneFolder(t *testing.T) {
	folder := t.TempDir()
	nodes := []*node{
		start(t, &certmagic.FileStorage{Path: folder}, registry.Options{}).loaded(t),
		start(t, &certmagic.FileStorage{Path: folder}, registry.Options{}).loaded(t),
	}
	want := append(numbered("a", 30), numbered("b", 30)...)
	var all sync.WaitGroup
	for i, s := range want {
		all.Go(func() { create(t, nodes[i/30], s) })
	}
	all.Wait()
	for _, n := range nodes {
		eventually(t, "all there on both", func() bool { return n.Counts().Active == 60 })
		holds(t, n, want)
	}
	if _, err := nodes[0].Replace(t.Context(), "b-0007", disabled("b-0007")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "disabled on the other", func() bool { return nodes[1].Counts().Inactive == 1 })
}

// TestFolderGoesAndComes moves the folder away while the registry runs.
func TestFolderGoesAndComes(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	folder, away := filepath.Join(parent, "storage"), filepath.Join(parent, "away")
	n := start(t, &certmagic.FileStorage{Path: folder}, registry.Options{WriteLimit: 2 * time.Second}).loaded(t)
	create(t, n, "known")
	// The storage touches its lock file a moment after it was given back.
	eventually(t, "the lock is given back", func() bool { return empty(filepath.Join(folder, "locks")) })
	if err := os.Rename(folder, away); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is said", func() bool { return len(n.kinds(registry.Unavailable)) == 1 })
	_, err := n.Create(t.Context(), draft("other"))
	wantError(t, err, registry.ErrBusy)
	wantError(t, err, fs.ErrNotExist)
	if _, err := os.Stat(folder); err == nil {
		t.Error("the folder was made anew, so the old one cannot be moved back")
	}
	holds(t, n, []string{"known"})
	if err := os.Rename(away, folder); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it recovers", func() bool { return len(n.kinds(registry.Recovered)) == 1 })
	create(t, n, "other")
	holds(t, start(t, &certmagic.FileStorage{Path: folder}, registry.Options{}).loaded(t), []string{"known", "other"})
}

func empty(folder string) bool {
	entries, err := os.ReadDir(folder)
	return err == nil && len(entries) == 0
}

// TestFolderIsAFile is a storage that can never be written.
func TestFolderIsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, &certmagic.FileStorage{Path: file}, registry.Options{WriteLimit: 100 * time.Millisecond})
	_, err := n.Create(t.Context(), draft("sa"))
	wantError(t, err, registry.ErrBusy)
	if n.Loaded() {
		t.Error("loaded from a storage that cannot be read")
	}
}

func TestStorageThatHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := &hanging{release}
	n := start(t, h, registry.Options{WriteLimit: 50 * time.Millisecond, CallLimit: 100 * time.Millisecond})
	begun := time.Now()
	_, err := n.Create(t.Context(), draft("sa"))
	wantError(t, err, registry.ErrBusy)
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("gave up after %s", took)
	}
	if _, ok := n.Lookup("acme", "sa"); ok || n.Loaded() {
		t.Error("found what nobody stored")
	}
	_ = n.Close() // waits for no storage
	close(release)
}

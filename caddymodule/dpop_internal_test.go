package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// A record that somebody else keeps changing is another node's; one that stays as it
// is was left behind, and is removed after a day.
func TestNeighbours(t *testing.T) {
	dir := t.TempDir()
	var warned []int
	n := &neighbours{client: storage.NewClient(&certmagic.FileStorage{Path: dir}, 0), found: func(others int) { warned = append(warned, others) }}
	write := func(name string, at time.Time) {
		t.Helper()
		text, err := json.Marshal(nodeRecord{at})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(nodesFolder), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	look := func(when string, others, warnings int) {
		t.Helper()
		n.look(t.Context())
		if int(n.others.Load()) != others || len(warned) != warnings {
			t.Errorf("%s: %d others, want %d; warned %v", when, n.others.Load(), others, warned)
		}
	}
	look("alone", 0, 0)
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(thisNode()))); err != nil {
		t.Errorf("this node's own record: %v", err)
	}
	write("left.json", time.Now())
	write("old.json", time.Now().Add(-2*nodesForget))
	write("broken.json", time.Time{})
	look("seen for the first time", 0, 0)
	write("other.json", time.Now())
	look("unchanged", 0, 0)
	write("other.json", time.Now().Add(-time.Hour)) // its clock is another
	look("changed", 1, 1)
	look("the same", 0, 1)
	for _, gone := range []string{"old.json", "broken.json"} {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(nodesFolder), gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(nodesFolder), "left.json")); err != nil {
		t.Errorf("a record of today was removed: %v", err)
	}
	write("other.json", time.Now())
	look("changed again", 1, 2)

	away := &neighbours{client: storage.NewClient(nil, 0), every: time.Hour, found: func(int) { t.Error("found without a storage") }}
	end := away.begin()
	end()
	if away.others.Load() != 0 {
		t.Error("others without a storage")
	}
}

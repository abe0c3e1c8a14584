package account_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// emptiedAndBegunAnew is a running node that knows 137 accounts, one of them
// switched off, and a storage that was emptied and begun anew by a node that
// restarted.
func emptiedAndBegunAnew(t *testing.T, f faultstorage.Faults, revisions int) (e *faultstorage.Engine, running, restarted *node, known []string) {
	t.Helper()
	e = engine(t, f)
	running = start(t, e.Node(), registry.Options{WriteLimit: 20 * time.Second}).loaded(t)
	known = numbered("sa", 137)
	create(t, running, known...)
	if _, err := running.Replace(t.Context(), "sa-0007", disabled("sa-0007")); err != nil {
		t.Fatal(err)
	}
	e.Wipe()
	restarted = start(t, e.Node(), registry.Options{WriteLimit: 20 * time.Second}).loaded(t)
	for _, s := range numbered("new", revisions) {
		create(t, restarted, s)
	}
	return e, running, restarted, known
}

// TestEmptiedAndBegunAnew: whatever its number, a registry that was begun anew is
// not adopted by a node that knows another one, and an operator decides.
func TestEmptiedAndBegunAnew(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]faultstorage.Faults{
		"good": {}, "like Redis": {MissingWhileDown: true, ListMissing: faultstorage.ListEmpty},
		"raw errors": {RawMissing: true, ListMissing: faultstorage.ListEmpty, ListFolders: true, ListSiblings: true},
	} {
		for _, keep := range []registry.Keep{registry.KeepNode, registry.KeepStorage} {
			for _, revisions := range []int{1, 3, 70} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					e, running, restarted, known := emptiedAndBegunAnew(t, f, revisions)
					eventually(t, "it says so", func() bool { return running.StorageState() == registry.Diverged })
					_, err := running.Create(t.Context(), draft("other"))
					wantError(t, err, registry.ErrBusy)
					wantError(t, err, account.ErrDiverged)
					holds(t, running, known)
					if a, _ := running.Get("sa-0007"); a.Status(time.Now()) != account.StatusInactive {
						t.Error("switched on again")
					}
					reported := running.kinds(registry.Unavailable)
					if last := reported[len(reported)-1]; last.StorageState != registry.Diverged || !errors.Is(last.Err, account.ErrDiverged) {
						t.Errorf("reported %+v", last)
					}

					want := known
					if keep == registry.KeepStorage {
						want = numbered("new", revisions)
					}
					if _, err := running.Repair(t.Context(), keep); err != nil {
						t.Fatal(err)
					}
					holds(t, running, want)
					eventually(t, "the other node follows", func() bool { return restarted.Counts() == running.Counts() })
					create(t, restarted, "one")
					create(t, running, "two")
					want = append(want, "one", "two")
					for _, n := range []*node{running, restarted, start(t, e.Clone().Node(), registry.Options{}).loaded(t)} {
						eventually(t, "both are known", func() bool { return n.Counts().Total() == len(want) })
						holds(t, n, want)
						if n.StorageState() != registry.Ready {
							t.Errorf("it stands %s", n.StorageState())
						}
					}
				})
			}
		}
	}
}

// TestEmptiedHasItsWords: what a storage that answers with nothing is called.
func TestEmptiedHasItsWords(t *testing.T) {
	t.Parallel()
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{WriteLimit: time.Second}).loaded(t)
	create(t, n, "known")
	e.SetDown(true)
	eventually(t, "down is away", func() bool { return n.StorageState() == registry.Away })
	e.SetDown(false)
	eventually(t, "up is well", func() bool { return n.StorageState() == registry.Ready })
	e.Wipe()
	eventually(t, "emptied is emptied", func() bool { return n.StorageState() == registry.Emptied })
	_, err := n.Create(t.Context(), draft("other"))
	wantError(t, err, account.ErrEmptied)
	if _, err := n.Repair(t.Context(), registry.KeepStorage); err != nil {
		t.Fatal(err)
	}
	holds(t, n, nil)
	if unread := account.New(registry.Options{}); unread.StorageState() != registry.Unread {
		t.Errorf("of a registry that read nothing: %s", unread.StorageState())
	}
}

// TestBackInTime: a storage that returns with an older state brings nothing back,
// to the nodes that run as to those that start later.
func TestBackInTime(t *testing.T) {
	t.Parallel()
	for _, only := range [][]string{nil, {revisionRecord}, {copyRecord}, {revisionRecord, copyRecord}} {
		e := engine(t, faultstorage.Faults{})
		writer := start(t, e.Node(), registry.Options{}).loaded(t)
		create(t, writer, numbered("sa", 30)...)
		reader := start(t, e.Node(), registry.Options{}).loaded(t)
		old := e.Clone()
		for _, s := range []string{"sa-0007", "sa-0008"} {
			if _, err := writer.Replace(t.Context(), s, disabled(s)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := writer.Delete(t.Context(), "sa-0009"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the reader knows", func() bool { return reader.Counts() == writer.Counts() })
		want := reader.Counts()
		_ = writer.Close() // who wrote it is gone
		e.Restore(old, only...)
		eventually(t, "storage holds what is known", func() bool {
			fresh := start(t, e.Clone().Node(), registry.Options{}).loaded(t)
			return fresh.Counts() == want && bytes.Equal(e.Value(revisionRecord), e.Value(copyRecord))
		})
		for _, ev := range reader.kinds(registry.Updated) {
			for _, c := range ev.Changes {
				if c.Before != nil && !(c.Before.Status(time.Now()) == account.StatusActive) {
					t.Errorf("%s was switched on again for a moment", c.Record().Subject())
				}
			}
		}
		if only == nil { // the observer hears of it a moment after it is written
			eventually(t, "it is reported", func() bool { return len(reader.kinds(registry.Older)) > 0 })
		}
	}
}

// TestBackInTimeAndOn: a node that knew nothing went on from the older state.
func TestBackInTimeAndOn(t *testing.T) {
	t.Parallel()
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	create(t, n, "off", "gone", "on")
	old := e.Clone()
	create(t, n, "late")
	if _, err := n.Replace(t.Context(), "off", disabled("off")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	other := start(t, old.Node(), registry.Options{}).loaded(t)
	for _, s := range numbered("theirs", 4) {
		create(t, other, s)
	}
	_ = other.Close()
	e.Restore(old)
	want := append(numbered("theirs", 4), "off", "on", "late")
	eventually(t, "both are joined", func() bool { return n.Counts() == account.Counts{Active: 6, Inactive: 1} })
	holds(t, n, want)
	holds(t, start(t, e.Node(), registry.Options{}).loaded(t), want)
	born := map[string]int{}
	for _, ev := range n.kinds(registry.Updated) {
		for _, c := range ev.Changes {
			if c.After != nil && c.After.Status(time.Now()) == account.StatusActive {
				born[c.Record().Subject()]++
			}
		}
	}
	if born["gone"] != 1 || born["off"] != 1 {
		t.Errorf("let in again for a moment: %v", born)
	}
}

// TestOlderStoreGoesOn: two nodes that know what the version before wrote, whose
// revisions have no root, see each other's changes.
func TestOlderStoreGoesOn(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "store"))); err != nil {
		t.Fatal(err)
	}
	nodes := []*node{
		start(t, &certmagic.FileStorage{Path: folder}, registry.Options{}).loaded(t),
		start(t, &certmagic.FileStorage{Path: folder}, registry.Options{}).loaded(t),
	}
	create(t, nodes[0], "more")
	create(t, nodes[1], "most")
	for _, n := range nodes {
		eventually(t, "both are known", func() bool { return n.Counts().Total() == 5 })
		if n.StorageState() != registry.Ready {
			t.Errorf("it stands %s", n.StorageState())
		}
	}
}

// TestLostRecordsAreHealed: what was lost, or evicted, of a registry is written
// again by a node that knows it.
func TestLostRecordsAreHealed(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]faultstorage.Faults{
		"good": {}, "like Redis": {MissingWhileDown: true, ListMissing: faultstorage.ListEmpty},
		"raw errors": {RawMissing: true, ListFolders: true, ListSiblings: true}, "all listed": {ListAll: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := engine(t, f)
			n := start(t, e.Node(), registry.Options{}).loaded(t)
			create(t, n, numbered("sa", 137)...)
			whole := e.Clone()
			for i, key := range whole.Keys() {
				if i%3 == 0 && key != revisionRecord || key == copyRecord {
					e.Set(key, nil)
				}
			}
			eventually(t, "all records are back", func() bool {
				return slices.Equal(e.Keys(), whole.Keys()) && bytes.Equal(e.Value(copyRecord), whole.Value(copyRecord))
			})
			for _, key := range whole.Keys() {
				if !bytes.Equal(e.Value(key), whole.Value(key)) {
					t.Errorf("%s is another", key)
				}
			}
			eventually(t, "it is reported", func() bool { healed := n.kinds(registry.Healed); return len(healed) == 1 && healed[0].Records > 20 })
			holds(t, start(t, e.Node(), registry.Options{}).loaded(t), numbered("sa", 137))
			e.Wipe()
			eventually(t, "an emptied storage is no such thing", func() bool { return n.StorageState() == registry.Emptied })
			if keys := e.Keys(); len(keys) > 0 {
				t.Errorf("%d records were written to it", len(keys))
			}
		})
	}
}

package account_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

const (
	revisionRecord = "gatehouse/accounts/revision.json"
	copyRecord     = "gatehouse/accounts/revision.copy.json"
)

// damages are what can become of a record.
var damages = map[string]func([]byte) []byte{
	"gone":          func([]byte) []byte { return nil },
	"cut short":     func(v []byte) []byte { return v[:len(v)/2] },
	"overwritten":   func([]byte) []byte { return []byte("not a record") },
	"one bit":       func(v []byte) []byte { v[len(v)-5] ^= 1; return v },
	"something on":  func(v []byte) []byte { return append(v, "\n{}"...) },
	"another's":     func(v []byte) []byte { return bytes.Replace(v, []byte(" shard "), []byte(" revision "), 1) },
	"a later form":  func(v []byte) []byte { return bytes.Replace(v, []byte(" 1 "), []byte(" 2 "), 1) },
	"one null byte": func([]byte) []byte { return []byte{0} },
}

func TestDamagedShard(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			e := engine(t, faultstorage.Faults{})
			old := start(t, e.Node(), registry.Options{}).loaded(t)
			many := numbered("sa", 40)
			create(t, old, many...)
			key := record(t, e, `"sa-0007"`)
			good := e.Value(key)
			if name == "gone" {
				_ = old.Close() // it would write the record again
			}
			e.Set(key, damage(e.Value(key)))

			n := start(t, e.Node(), registry.Options{}).loaded(t)
			eventually(t, "the damage is reported", func() bool { return len(n.kinds(registry.Damaged)) > 0 })
			damaged := n.kinds(registry.Damaged)
			if len(damaged) != 1 || damaged[0].Record != key || !strings.Contains(damaged[0].Err.Error(), key) {
				t.Fatalf("reported %+v; want %s", damaged, key)
			}
			if _, ok := n.Get("sa-0007"); ok || n.Counts().Total() < 30 {
				t.Errorf("%d accounts are there", n.Counts().Total())
			}
			_, err := n.Create(t.Context(), draft("sa-0007"))
			wantError(t, err, registry.ErrDamaged)
			if !strings.Contains(err.Error(), key) {
				t.Errorf("the error does not name the record: %v", err)
			}
			if !bytes.Equal(e.Value(key), damage(bytes.Clone(good))) {
				t.Error("the damaged record was touched")
			}
			if _, err := n.Replace(t.Context(), inOther(t, n), disabled("")); err != nil {
				t.Errorf("another shard: %v", err)
			}
			holds(t, old, many) // which has the last good content

			e.Set(key, good)
			eventually(t, "the record is well again", func() bool { return len(n.kinds(registry.Mended)) == 1 })
			holds(t, n, many)
		})
	}
}

// inOther is the subject of some account that is there.
func inOther(t *testing.T, n *node) string {
	t.Helper()
	return n.List("", 1)[0].Subject()
}

func TestRepairByNodeThatKnows(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	many := numbered("sa", 40)
	create(t, n, many...)
	if mended, err := n.Repair(t.Context(), registry.KeepNode); err != nil || len(mended) != 0 {
		t.Fatalf("repaired %q of a good registry, %v", mended, err)
	}
	key := record(t, e, `"sa-0007"`)
	good := e.Value(key)
	e.Set(key, []byte("damaged"))
	mended, err := n.Repair(t.Context(), registry.KeepNode)
	if err != nil || len(mended) != 1 || mended[0] != key || !bytes.Equal(e.Value(key), good) {
		t.Fatalf("repaired %q, %v", mended, err)
	}
	holds(t, start(t, e.Node(), registry.Options{}).loaded(t), many)
}

func TestRepairByNodeThatDoesNot(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	first := start(t, e.Node(), registry.Options{}).loaded(t)
	create(t, first, numbered("sa", 40)...)
	_ = first.Close()
	key := record(t, e, `"sa-0007"`)
	e.Set(key, []byte("damaged"))
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	left := n.Counts().Total()
	if mended, err := n.Repair(t.Context(), registry.KeepNode); err != nil || len(mended) != 1 || mended[0] != key {
		t.Fatalf("repaired %q, %v", mended, err)
	}
	aside := strings.Replace(key, "/shard-", "/damaged-", 1)
	if string(e.Value(aside)) != "damaged" {
		t.Errorf("the damaged record was not kept aside: %q", e.Value(aside))
	}
	create(t, n, "sa-0007")
	fresh := start(t, e.Node(), registry.Options{}).loaded(t)
	if fresh.Counts().Total() != left+1 || len(fresh.kinds(registry.Damaged)) != 0 {
		t.Errorf("%d accounts are there, %v", fresh.Counts().Total(), fresh.kinds(registry.Damaged))
	}
}

func TestDamagedRevision(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		if name == "another's" {
			continue // of shards
		}
		for _, key := range []string{revisionRecord, copyRecord} {
			t.Run(name+" "+key, func(t *testing.T) {
				e := engine(t, faultstorage.Faults{})
				running := start(t, e.Node(), registry.Options{}).loaded(t)
				many := numbered("sa", 40)
				create(t, running, many...)
				e.Set(key, damage(e.Value(key)))
				n := start(t, e.Node(), registry.Options{}).loaded(t)
				holds(t, n, many)
				create(t, running, "later")
				create(t, n, "latest")
				eventually(t, "both records are alike and good", func() bool {
					return bytes.Equal(e.Value(revisionRecord), e.Value(copyRecord)) && len(e.Value(copyRecord)) > 100
				})
				holds(t, start(t, e.Node(), registry.Options{}).loaded(t), append(many, "later", "latest"))
			})
		}
	}
}

func TestBothRevisionsDamaged(t *testing.T) {
	t.Parallel()
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{WriteLimit: 2 * time.Second}).loaded(t)
	create(t, n, "known")
	e.Set(revisionRecord, []byte("x"))
	e.Set(copyRecord, []byte("y"))
	fresh := start(t, e.Node(), registry.Options{WriteLimit: 100 * time.Millisecond})
	for _, of := range []*node{n, fresh} {
		eventually(t, "it says so", func() bool { return len(of.kinds(registry.Unavailable)) == 1 })
		_, err := of.Create(t.Context(), draft("other"))
		wantError(t, err, registry.ErrBusy)
	}
	holds(t, n, []string{"known"})
	if fresh.Loaded() {
		t.Error("loaded without a revision")
	}
	if _, err := n.Repair(t.Context(), registry.KeepNode); err != nil {
		t.Fatal(err)
	}
	holds(t, fresh.loaded(t), []string{"known"})
}

// TestEmptied: nothing is written to a storage that was emptied until an operator
// says that it really was.
func TestEmptied(t *testing.T) {
	t.Parallel()
	for _, f := range []faultstorage.Faults{{}, {RawMissing: true, ListMissing: faultstorage.ListEmpty, ListFolders: true}} {
		e := engine(t, f)
		n := start(t, e.Node(), registry.Options{WriteLimit: 2 * time.Second}).loaded(t)
		many := numbered("sa", 300)
		create(t, n, many...)
		e.Wipe()
		_, err := n.Create(t.Context(), draft("other"))
		wantError(t, err, registry.ErrBusy)
		holds(t, n, many)
		if keys := e.Keys(); len(keys) != 0 {
			t.Fatalf("wrote %q to a storage that was emptied", keys)
		}
		mended, err := n.Repair(t.Context(), registry.KeepNode)
		if err != nil || len(mended) < 100 {
			t.Fatalf("repaired %q, %v", mended, err)
		}
		holds(t, start(t, e.Node(), registry.Options{}).loaded(t), many)
		create(t, n, "other")
	}
}

// TestDamagedRevisionIsMended: while nobody changes anything, either, a damaged
// record is written anew from what is known, and never copied over its good copy.
func TestDamagedRevisionIsMended(t *testing.T) {
	t.Parallel()
	for name, damage := range damages {
		if name == "another's" {
			continue // of shards
		}
		for _, known := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " known=", known), func(t *testing.T) {
				t.Parallel()
				e := engine(t, faultstorage.Faults{})
				n := start(t, e.Node(), registry.Options{}).loaded(t)
				create(t, n, numbered("sa", 40)...)
				if !known {
					_ = n.Close()
				}
				e.Set(revisionRecord, damage(e.Value(revisionRecord)))
				if !known {
					n = start(t, e.Node(), registry.Options{}).loaded(t)
				}
				eventually(t, "it is reported", func() bool { return len(n.kinds(registry.Damaged)) == 1 })
				time.Sleep(80 * refresh) // more than twice what passes between two looks for lost records
				if !bytes.Equal(e.Value(revisionRecord), e.Value(copyRecord)) {
					t.Error("record and copy differ")
				}
				holds(t, start(t, e.Node(), registry.Options{}).loaded(t), numbered("sa", 40))
				if len(n.kinds(registry.Mended)) != 1 {
					t.Error("it was not reported that it is well again")
				}
			})
		}
	}
}

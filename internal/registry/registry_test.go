package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const refresh = 20 * time.Millisecond

// start attaches a registry to the storage and closes it with the test.
func start(t testing.TB, kind Kind[itemKey, item], s storage.Storage, opts Options, observe func(Event[item])) *Registry[itemKey, item] {
	t.Helper()
	r := New(kind, opts)
	r.Attach(Host[item]{Storage: s, Refresh: refresh, Observe: observe})
	t.Cleanup(func() { _ = r.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := r.Await(ctx); err != nil {
		t.Fatal(err)
	}
	return r
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if holds() {
			return
		}
	}
	t.Fatalf("it never came to this: %s", what)
}

func put(t testing.TB, r *Registry[itemKey, item], all ...*item) {
	t.Helper()
	err, busy := Change(t.Context(), r, len(all), func(w *Work[itemKey, item]) error {
		for _, i := range all {
			if err := w.Put(i); err != nil {
				return err
			}
		}
		return nil
	}, nil)
	if err != nil || busy != nil {
		t.Fatal(err, busy)
	}
}

func named(group string, numbers ...int) (all []*item) {
	for _, n := range numbers {
		all = append(all, &item{itemKey{group, fmt.Sprint(n)}, n})
	}
	return all
}

// addIfRoom adds an item unless its group has as many as it may; one that is there
// takes no further room.
func addIfRoom(ctx context.Context, r *Registry[itemKey, item], i *item, room int) (bool, error) {
	return Change(ctx, r, 1, func(w *Work[itemKey, item]) bool {
		if w.Get(i.key) != nil {
			return true
		}
		same := w.Like(items.Hash(i.key), func(other *item) bool { return other.key.group == i.key.group })
		return len(same) < room && w.Put(i) == nil
	}, nil)
}

// TestLastPlaceIsGivenOnce: a change is judged by what all nodes have written,
// whatever they ask for at once.
func TestLastPlaceIsGivenOnce(t *testing.T) {
	t.Parallel()
	e := faultstorage.New(faultstorage.Faults{})
	nodes := []*Registry[itemKey, item]{
		start(t, items, e.Node(), Options{}, nil), start(t, items, e.Node(), Options{}, nil), start(t, items, e.Node(), Options{}, nil),
	}
	const asked, room = 40, 7
	var work sync.WaitGroup
	var given atomic.Int32
	for n := range asked {
		for i, r := range nodes {
			work.Go(func() {
				took, err := addIfRoom(t.Context(), r, &item{itemKey{"g", fmt.Sprint(n, "-", i%2)}, 1}, room)
				if err != nil {
					t.Error(err)
				}
				if took {
					given.Add(1)
				}
			})
		}
	}
	work.Wait()
	fresh := start(t, items, e.Node(), Options{}, nil).Snapshot()
	if fresh.Len() != room {
		t.Errorf("%d of %d places are taken", fresh.Len(), room)
	}
	again, err := addIfRoom(t.Context(), nodes[2], fresh.List(nil, nil, 1)[0], room)
	if err != nil || !again || nodes[2].Snapshot().Len() != room {
		t.Errorf("asked for again: %v, %v", again, err)
	}
	if given := int(given.Load()); given < room {
		t.Errorf("%d have a place, as they were answered", given)
	}
}

// TestLookUpAllocatesNothing: nor does asking for the snapshot.
func TestLookUpAllocatesNothing(t *testing.T) {
	r := start(t, items, faultstorage.New(faultstorage.Faults{}).Node(), Options{}, nil)
	put(t, r, named("g", 1, 2, 3)...)
	key, nobody := itemKey{"g", "2"}, itemKey{"nobody", ""}
	if n := testing.AllocsPerRun(1000, func() {
		if s := r.Snapshot(); s.Find(key) == nil || s.Find(nobody) != nil {
			t.Error("found wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestEndedLeave: records that are over are reported by each node, and removed by one.
func TestEndedLeave(t *testing.T) {
	t.Parallel()
	leaving := items
	leaving.Leaves = true
	e := faultstorage.New(faultstorage.Faults{})
	var now atomic.Int64
	now.Store(1_800_000_000)
	opts := Options{Now: func() time.Time { return time.Unix(now.Load(), 0) }, Retire: time.Millisecond}
	var reported atomic.Int32
	observe := func(ev Event[item]) {
		if ev.Kind == Ended {
			reported.Add(int32(len(ev.Changes)))
		}
	}
	nodes := []*Registry[itemKey, item]{start(t, leaving, e.Node(), opts, observe), start(t, leaving, e.Node(), opts, observe)}
	put(t, nodes[0], named("g", 3, 6, 7, 9)...)
	eventually(t, "both know", func() bool { return nodes[1].Snapshot().Len() == 4 })
	now.Store(1_800_000_008)
	for _, r := range nodes {
		eventually(t, "those that ended are gone", func() bool { return r.Snapshot().Len() == 2 })
		if left := r.Snapshot().List(nil, nil, 0); left[0].number != 7 || left[1].number != 9 {
			t.Errorf("left are %v", left)
		}
	}
	eventually(t, "both nodes reported of both", func() bool { return reported.Load() == 4 })
	staying := start(t, items, faultstorage.New(faultstorage.Faults{}).Node(), opts, nil)
	put(t, staying, named("stay", 3)...)
	for range 20 {
		put(t, staying, named("other", 1)...)
	}
	if staying.Snapshot().Find(itemKey{"stay", "3"}) == nil {
		t.Error("a record of a kind that does not leave left")
	}
}

// TestUnites: records that only restrict come together again, from a storage that was
// emptied and from one that was begun anew, and no operator is asked.
func TestUnites(t *testing.T) {
	t.Parallel()
	uniting := items
	uniting.Unites = true
	for _, f := range []faultstorage.Faults{{}, {RawMissing: true, ListMissing: faultstorage.ListEmpty, ListFolders: true}, {MissingWhileDown: true, ListMissing: faultstorage.ListEmpty}} {
		e := faultstorage.New(f)
		running := start(t, uniting, e.Node(), Options{}, nil)
		put(t, running, named("ours", 1, 2, 4)...)
		e.Wipe()
		eventually(t, "it is written again", func() bool { return len(e.Keys()) > 2 })
		if n := start(t, uniting, e.Clone().Node(), Options{}, nil).Snapshot().Len(); n != 3 {
			t.Errorf("%+v: %d are there again", f, n)
		}
		put(t, running, named("ours", 5)...)

		e.SetDown(true)
		other := faultstorage.New(f)
		put(t, start(t, uniting, other.Node(), Options{}, nil), named("theirs", 1, 2)...)
		e.Restore(other)
		e.SetDown(false)
		eventually(t, "both are known", func() bool { return running.Snapshot().Len() == 6 })
		fresh := start(t, uniting, e.Node(), Options{}, nil)
		eventually(t, "both are stored", func() bool { return fresh.Snapshot().Len() == 6 })
		if running.StorageState() != Ready {
			t.Errorf("%+v: it stands %s", f, running.StorageState())
		}
	}
}

// TestDownIsNotEmptied: a storage that answers "not found" while it is down is not
// written anew.
func TestDownIsNotEmptied(t *testing.T) {
	t.Parallel()
	uniting := items
	uniting.Unites = true
	e := faultstorage.New(faultstorage.Faults{MissingWhileDown: true, ListMissing: faultstorage.ListEmpty})
	r := start(t, uniting, e.Node(), Options{WriteLimit: 200 * time.Millisecond}, nil)
	put(t, r, named("ours", 1)...)
	before := e.Keys()
	e.SetDown(true)
	if _, err := Change(t.Context(), r, 1, func(w *Work[itemKey, item]) error { return w.Put(named("ours", 2)[0]) }, nil); err == nil {
		t.Error("changed while storage is down")
	}
	e.SetDown(false)
	eventually(t, "it is back", func() bool { return r.StorageState() == Ready })
	if r.Snapshot().Len() != 1 || !slices.Equal(e.Keys(), before) && len(e.Keys()) < len(before) {
		t.Errorf("it holds %q", e.Keys())
	}
}

// TestDamagedThatNobodyKnows: where the content of a damaged record is known to nobody,
// an operator who deletes the folder gets back all that is known, and can write again.
func TestDamagedThatNobodyKnows(t *testing.T) {
	t.Parallel()
	uniting := items
	uniting.Unites = true
	e := faultstorage.New(faultstorage.Faults{})
	first := start(t, uniting, e.Node(), Options{}, nil)
	put(t, first, named("one", 1)...)
	put(t, first, named("two", 2)...)
	_ = first.Close()
	for _, key := range e.Keys() {
		if strings.Contains(string(e.Value(key)), `["two"`) {
			e.Set(key, []byte("damaged"))
		}
	}
	r := start(t, uniting, e.Node(), Options{}, nil)
	again := func(w *Work[itemKey, item]) error { return w.Put(named("two", 3)[0]) }
	if err, busy := Change(t.Context(), r, 1, again, nil); !errors.Is(err, ErrDamaged) || busy != nil {
		t.Fatal(err, busy)
	}
	e.Wipe()
	eventually(t, "it can be written", func() bool {
		err, busy := Change(t.Context(), r, 1, again, nil)
		return err == nil && busy == nil
	})
	if n := start(t, uniting, e.Node(), Options{}, nil).Snapshot().Len(); n != 2 {
		t.Errorf("%d are there", n)
	}
}

package account_test

import (
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// fork has a storage go back in time and a node that knows nothing else write on, while
// the record of a machine that was switched off cannot be read in that state.
func fork(t *testing.T) (e *faultstorage.Engine, knows, other *node, readable func()) {
	t.Helper()
	e = engine(t, faultstorage.Faults{})
	knows = start(t, e.Node(), registry.Options{WriteLimit: time.Minute}).loaded(t)
	create(t, knows, "first", "gone")
	old := e.Clone()
	key := record(t, old, `"gone"`)
	if _, err := knows.Replace(t.Context(), "gone", disabled("gone")); err != nil {
		t.Fatal(err)
	}
	e.Restore(old)
	other = start(t, e.Node(), registry.Options{}).loaded(t)
	e.Set(key, []byte("half of a rec"))
	create(t, other, "second")
	time.Sleep(10 * refresh) // the first node sees the fork
	return e, knows, other, func() { e.Set(key, old.Value(key)) }
}

// What was switched off before stays off.
func TestForkWaitsForARecord(t *testing.T) {
	t.Parallel()
	e, knows, other, readable := fork(t)
	readable()
	want := map[string]account.Status{"first": account.StatusActive, "gone": account.StatusInactive, "second": account.StatusActive}
	for _, n := range []*node{knows, other, start(t, e.Node(), registry.Options{}).loaded(t)} {
		settles(t, n, want)
	}
}

// A record that stays unreadable is for an operator to decide about.
func TestForkWithoutARecord(t *testing.T) {
	t.Parallel()
	e, knows, other, _ := fork(t)
	eventually(t, "it is said", func() bool { return knows.StorageState() == registry.Diverged })
	_, err := knows.Create(t.Context(), draft("third"))
	wantError(t, err, registry.ErrBusy)
	wantError(t, err, account.ErrDiverged)
	if _, err := knows.Repair(t.Context(), registry.KeepNode); err != nil {
		t.Fatal(err)
	}
	want := map[string]account.Status{"first": account.StatusActive, "gone": account.StatusInactive}
	for _, n := range []*node{knows, other, start(t, e.Node(), registry.Options{}).loaded(t)} {
		settles(t, n, want)
		eventually(t, "it is well", func() bool { return n.StorageState() == registry.Ready })
	}
}

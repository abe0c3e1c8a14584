package account_test

import (
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// Whoever keeps an answer by the version keeps it as long as it is right: every
// change makes another version, on all nodes, and nothing else does.
func TestVersionChangesWithTheAccounts(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	a := start(t, e.Node(), registry.Options{}).loaded(t)
	b := start(t, e.Node(), registry.Options{}).loaded(t)
	if a.Version() == b.Version() {
		t.Error("two registries have the same version")
	}
	for _, change := range []struct {
		name string
		make func() error
		seen func() bool
	}{
		{"create", func() error { create(t, a, "one"); return nil }, func() bool { _, ok := b.Lookup("acme", "one"); return ok }},
		{"switch off", func() error { _, err := a.Replace(t.Context(), "one", disabled("one")); return err }, func() bool { return b.Counts().Inactive == 1 }},
		{"delete", func() error { _, err := a.Delete(t.Context(), "one"); return err }, func() bool { return b.Counts().Total() == 0 }},
	} {
		ours, theirs := a.Version(), b.Version()
		if err := change.make(); err != nil {
			t.Fatal(err)
		}
		if a.Version() == ours {
			t.Errorf("%s: the version stayed the same", change.name)
		}
		eventually(t, "the other node sees it", change.seen)
		if b.Version() == theirs {
			t.Errorf("%s: the version stayed the same on the other node", change.name)
		}
	}
	ours := a.Version()
	synced := a.Synced()
	eventually(t, "another look at storage", func() bool { return a.Synced().After(synced) })
	if a.Version() != ours {
		t.Error("a look at storage that found nothing new made another version")
	}
}

func TestVersionOfDeclared(t *testing.T) {
	stored := account.New(registry.Options{})
	defer stored.Close()
	one, same := declare(t, stored, draft("one")), declare(t, stored, draft("one"))
	seen := map[uint64]bool{}
	for _, r := range []*account.Registry{stored, one, same} {
		if version := r.Version(); seen[version] || version == 0 || version != r.Version() {
			t.Errorf("the version %d is that of other declared accounts, of none, or does not last", version)
		}
		seen[r.Version()] = true
	}
}

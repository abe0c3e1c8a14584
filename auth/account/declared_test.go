package account_test

import (
	"slices"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

func declare(t *testing.T, r *account.Registry, drafts ...*account.Draft) *account.Registry {
	t.Helper()
	var all []account.Draft
	for _, d := range drafts {
		all = append(all, *d)
	}
	declared, err := r.WithDeclared(all)
	if err != nil {
		t.Fatal(err)
	}
	return declared
}

func TestDeclared(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	create(t, n, "a", "c", "e", "hidden")
	v := declare(t, n.Registry, draft("d"), disabled("hidden"), draft("b"))

	want := []string{"a", "b", "c", "d", "e", "hidden"}
	if got := subjects(v.Page(account.Query{})); !slices.Equal(got, want) {
		t.Errorf("lists %q", got)
	}
	for after := range len(want) {
		for limit := range 5 {
			expect := want[after+1:]
			if limit > 0 {
				expect = expect[:min(limit, len(expect))]
			}
			if got := subjects(v.Page(account.Query{After: want[after], Limit: limit})); !slices.Equal(got, expect) {
				t.Errorf("List(%q, %d) = %q; want %q", want[after], limit, got, expect)
			}
		}
	}
	hidden, ok := v.Lookup("acme", "hidden")
	if !ok || !hidden.Traits().Inactive {
		t.Error("a stored account shines through a declared one")
	}
	if _, ok := v.Lookup("other", "hidden"); ok {
		t.Error("found under another issuer")
	}
	if a, ok := v.Lookup("acme", "c"); !ok || a.Subject() != "c" {
		t.Error("a stored account is not found")
	}
	if a, err := v.Find("", account.ID("d")); err != nil || a.Subject() != "d" {
		t.Error("a declared account is not found by its id")
	}
	if c := v.Counts(); c != (account.Counts{Active: 5, Inactive: 1}) {
		t.Errorf("counts are %+v", c)
	}
	if !v.Loaded() || v.Synced().IsZero() {
		t.Error("not loaded")
	}
}

func TestDeclaredIsRefused(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	create(t, n, "stored")
	v := declare(t, n.Registry, draft("d"))
	_, err := one(t.Context(), v, account.Change{Op: account.Create, Draft: draft("d")})
	wantError(t, err, account.ErrExists)
	wantError(t, err, account.ErrDeclared)
	_, err = one(t.Context(), v, account.Change{Op: account.Replace, Key: account.ID("d"), Draft: disabled("d")})
	wantError(t, err, account.ErrDeclared)
	_, err = one(t.Context(), v, account.Change{Op: account.Delete, Key: "d"})
	wantError(t, err, account.ErrDeclared)
	_, err = one(t.Context(), v, account.Change{Op: account.Create})
	if err == nil {
		t.Error("created nothing")
	}
	results, err := v.Apply(t.Context(), []account.Change{
		{Op: account.Upsert, Draft: draft("new")}, {Op: account.Upsert, Draft: draft("d")}, {Op: account.Delete, Key: "stored"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, results[1].Err, account.ErrDeclared)
	if results[0].Outcome != account.Created || results[1].Outcome != account.Refused || results[2].Outcome != account.Deleted {
		t.Errorf("results are %+v", results)
	}
	holds(t, n, []string{"new"})
	if _, err := one(t.Context(), v, account.Change{Op: account.Delete, Key: "new"}); err != nil {
		t.Fatal(err)
	}
}

func TestWithDeclaredRefuses(t *testing.T) {
	for name, drafts := range map[string][]account.Draft{
		"twice":      {*draft("a"), *draft("b"), *draft("a")},
		"no subject": {*draft("")},
		"no issuer":  {{Subject: "a", Status: account.StatusActive}},
	} {
		if _, err := account.New(registry.Options{}).WithDeclared(drafts); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	v, err := account.New(registry.Options{}).WithDeclared(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Find("", "x"); err == nil || len(v.Page(account.Query{Limit: 5})) != 0 || v.Loaded() {
		t.Error("found something in nothing")
	}
}

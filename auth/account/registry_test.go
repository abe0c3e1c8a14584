package account_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

func TestOneLife(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	if list := n.List("", 0); list == nil || len(list) != 0 {
		t.Fatalf("a new registry lists %v; want an empty list", list)
	}
	made, err := n.Create(t.Context(), draft("ci-deploy"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Create(t.Context(), draft("ci-deploy"))
	wantError(t, err, account.ErrExists)
	if err.Error() != "resource already exists" {
		t.Errorf("the message is %q", err)
	}
	for _, key := range []string{"ci-deploy", account.ID("ci-deploy")} {
		if got, ok := n.Get(key); !ok || got != made {
			t.Errorf("Get(%q) = %v, %v", key, got, ok)
		}
	}
	if a, ok := n.Lookup("acme", "ci-deploy"); !ok || a.Status(time.Now()) != account.StatusActive {
		t.Errorf("Lookup = %v, %v", a, ok)
	}
	if _, ok := n.Lookup("other", "ci-deploy"); ok {
		t.Error("found under another issuer")
	}
	changed, err := n.Replace(t.Context(), made.ID(), disabled("ci-deploy"))
	if err != nil || !changed.Traits().Inactive || changed.Created != made.Created {
		t.Fatalf("Replace = %v, %v", changed, err)
	}
	if c := n.Counts(); c != (account.Counts{Inactive: 1}) || c.Total() != 1 {
		t.Errorf("counts are %+v", c)
	}
	if _, err := n.Delete(t.Context(), "ci-deploy"); err != nil {
		t.Fatal(err)
	}
	_, err = n.Delete(t.Context(), "ci-deploy")
	wantError(t, err, account.ErrNotFound)
	_, err = n.Replace(t.Context(), "ci-deploy", draft("ci-deploy"))
	wantError(t, err, account.ErrNotFound)
	if n.Synced().IsZero() {
		t.Error("never synced")
	}
	holds(t, n, nil)
}

func TestOddSubjects(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	odd := []string{
		"repo:o/r:ref:refs/heads/main", "a@b|c", "...", "../../etc/passwd", "Müller-😀", "a b", "%2f", `"\<&>`, "a\u2028b",
		account.ID("other"), "system:serviceaccount:ns:name", string(slices.Repeat([]byte("x"), 255)),
	}
	create(t, n, odd...)
	other := start(t, e.Node(), registry.Options{}).loaded(t)
	holds(t, other, odd)
	for _, s := range odd {
		a, ok := other.Get(s)
		if !ok || a.Subject() != s {
			t.Errorf("Get(%q) = %v, %v", s, a, ok)
		}
		if b, ok := other.Get(a.ID()); !ok || b.Subject() != s && a.ID() != account.ID("other") {
			t.Errorf("Get by the id of %q = %v, %v", s, b, ok)
		}
	}
}

func TestOneByOneConcurrently(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	want := numbered("sa", 200)
	var all sync.WaitGroup
	for _, s := range want {
		all.Go(func() { create(t, n, s) })
	}
	all.Wait()
	holds(t, n, want)
	if locks := e.Calls("Lock"); locks > 100 {
		t.Errorf("the lock was taken %d times for 200 changes at once; they should share it", locks)
	}
}

func TestApply(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	create(t, n, "there", "same", "gone")
	invalid := draft("bad")
	invalid.Status = "enabled"
	renamed := draft("other")
	results, err := n.Apply(t.Context(), []account.Change{
		{Op: account.Create, Draft: draft("fresh")},
		{Op: account.Create, Draft: draft("there")},
		{Op: account.Upsert, Draft: draft("same")},
		{Op: account.Upsert, Draft: disabled("there")},
		{Op: account.Upsert, Draft: draft("upserted")},
		{Op: account.Delete, Key: "gone"},
		{Op: account.Create, Draft: draft("gone")},
		{Op: account.Create, Draft: invalid},
		{Op: account.Replace, Key: "there", Draft: renamed},
		{Op: account.Replace, Key: "nobody", Draft: draft("")},
		{Op: account.Delete},
		{},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"created", "refused: resource already exists", "unchanged", "updated", "created", "deleted", "created",
		`refused: status is "enabled"; want "active" or "inactive"`,
		`refused: subject is "other"; want "there", which never changes, or leave it out`,
		"refused: resource not found", "refused: resource not found", "refused: the change names no known operation, or has no draft",
	}
	for i, r := range results {
		got := string(r.Outcome)
		if r.Err != nil {
			got += ": " + r.Err.Error()
		}
		if got != want[i] {
			t.Errorf("result %d is %q; want %q", i, got, want[i])
		}
	}
	holds(t, n, []string{"fresh", "gone", "same", "there", "upserted"})
}

func TestBulkIsOneRevision(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	other := start(t, e.Node(), registry.Options{}).loaded(t)
	var changes []account.Change
	for _, s := range numbered("bulk", 2000) {
		changes = append(changes, account.Change{Op: account.Upsert, Draft: draft(s)})
	}
	var steps []int
	if _, err := n.Apply(t.Context(), changes, func(done int) { steps = append(steps, done) }); err != nil {
		t.Fatal(err)
	}
	if len(steps) == 0 || steps[len(steps)-1] != 2000 || !slices.IsSorted(steps) {
		t.Errorf("progress was %v", steps)
	}
	eventually(t, "the other node has them", func() bool { return other.Counts().Active == 2000 })
	eventually(t, "it tells its observer", func() bool { return len(other.kinds(registry.Updated)) > 0 })
	if seen := other.kinds(registry.Updated); len(seen) != 1 || len(seen[0].Changes) != 2000 {
		t.Errorf("the other node saw %d changes of accounts; want all in one", len(seen))
	}
}

func TestPaging(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	want := numbered("p", 57)
	create(t, n, want...)
	var got []string
	for after := ""; ; {
		page := n.List(after, 10)
		if len(page) == 0 {
			break
		}
		got = append(got, subjects(page)...)
		after = got[len(got)-1]
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages hold %q", got)
	}
	if page := n.List("p-0050x", 3); subjects(page)[0] != "p-0051" || len(page) != 3 {
		t.Errorf("after a subject that is not there: %q", subjects(page))
	}
}

func TestOtherNodeSeesChanges(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	a := start(t, e.Node(), registry.Options{}).loaded(t)
	b := start(t, e.Node(), registry.Options{}).loaded(t)
	create(t, a, "one", "two", "three")
	eventually(t, "all there on the other", func() bool { return b.Counts().Active == 3 })
	if _, err := a.Replace(t.Context(), "one", disabled("one")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Delete(t.Context(), "two"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one inactive and two gone", func() bool {
		one, ok := b.Lookup("acme", "one")
		_, two := b.Lookup("acme", "two")
		return ok && one.Traits().Inactive && !two
	})
	eventually(t, "it tells whose streams must end", func() bool {
		var ended []string
		for _, ev := range b.kinds(registry.Updated) {
			for _, c := range ev.Changes {
				if c.Before != nil && (c.After == nil || c.After.Status(time.Now()) != account.StatusActive) {
					ended = append(ended, c.Record().Subject())
				}
			}
		}
		slices.Sort(ended)
		return slices.Equal(ended, []string{"one", "two"})
	})
}

func TestUnchangedAccountsAreShared(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	a := start(t, e.Node(), registry.Options{}).loaded(t)
	create(t, a, numbered("s", 1500)...)
	b := start(t, e.Node(), registry.Options{}).loaded(t)
	before := b.List("", 0)
	if _, err := a.Replace(t.Context(), "s-0700", disabled("s-0700")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change is seen", func() bool { return b.Counts().Inactive == 1 })
	others := 0
	for i, now := range b.List("", 0) {
		if now != before[i] {
			others++
		}
	}
	if others != 1 {
		t.Errorf("%d accounts were made anew for one change", others)
	}
}

// clock can be moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestExpiry(t *testing.T) {
	c := &clock{now: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)}
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{Now: c.Now}).loaded(t)
	for i, s := range []string{"never", "soon", "later", "off"} {
		d := draft(s)
		if i > 0 {
			d.ExpiresAt = c.Now().Add(time.Duration(i) * time.Hour)
		}
		if s == "off" {
			d.Status, d.ExpiresAt = account.StatusInactive, c.Now().Add(time.Hour)
		}
		if _, err := n.Create(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if got := n.Counts(); got != (account.Counts{Active: 3, Inactive: 1}) {
		t.Errorf("counts are %+v", got)
	}
	c.add(time.Hour)
	soon, _ := n.Get("soon")
	if soon.Status(c.Now()) != account.StatusExpired || soon.Status(c.Now().Add(-time.Second)) != account.StatusActive {
		t.Error("expiry is not at the second")
	}
	eventually(t, "its end is reported", func() bool { return len(n.kinds(registry.Ended)) == 1 })
	if lapsed := n.kinds(registry.Ended)[0].Changes; len(lapsed) != 1 || lapsed[0].Record().Subject() != "soon" || lapsed[0].After.Status(c.Now()) != account.StatusExpired {
		t.Errorf("lapsed are %+v", lapsed)
	}
	if got := n.Counts(); got != (account.Counts{Active: 2, Inactive: 1, Expired: 1}) {
		t.Errorf("counts are %+v", got)
	}
	c.add(100 * time.Hour)
	eventually(t, "the next end is reported", func() bool { return len(n.kinds(registry.Ended)) == 2 })
}

func TestExportImportRoundTrip(t *testing.T) {
	a := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}).loaded(t)
	b := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	d := disabled("with/expiry")
	d.ExpiresAt = time.Unix(1_900_000_000, 0)
	if _, err := a.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	create(t, a, "ü", `q"uote`)
	export := lines(t, a)
	for _, want := range []account.Outcome{account.Created, account.Unchanged} {
		var changes []account.Change
		for _, line := range export {
			d, err := account.Decode([]byte(line))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			changes = append(changes, account.Change{Op: account.Upsert, Draft: d})
		}
		results, err := b.Apply(t.Context(), changes, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Outcome != want {
				t.Errorf("%v, %v; want %v", r.Outcome, r.Err, want)
			}
		}
		// The clock of a is ahead: times in the future become now.
		if got := lines(t, b); len(got) != len(export) {
			t.Errorf("imported %q", got)
		}
	}
}

func lines(t *testing.T, n *node) (list []string) {
	t.Helper()
	for _, a := range n.List("", 0) {
		line, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(line))
	}
	return list
}

func TestReloadKeepsTheRegistry(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	n := &node{Registry: account.New(registry.Options{}), heard: make(chan struct{}, 1)}
	t.Cleanup(func() { _ = n.Close() })
	detach := n.attach(e.Node())
	n.loaded(t)
	stop := make(chan struct{})
	var made []string
	var all sync.WaitGroup
	all.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			s := fmt.Sprintf("during-%04d", i)
			if _, err := n.Create(t.Context(), draft(s)); err != nil {
				t.Errorf("creating during reloads: %v", err)
				return
			}
			made = append(made, s)
		}
	})
	for range 15 {
		next := n.attach(e.Node())
		detach()
		detach()
		detach = next
	}
	close(stop)
	all.Wait()
	holds(t, n, made)
	if len(n.kinds(registry.Loaded)) != 1 {
		t.Error("loaded more than once")
	}
	detach()
	_, err := n.Create(t.Context(), draft("nowhere"))
	wantError(t, err, registry.ErrBusy)
}

func TestClose(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	holder := e.Node()
	if err := holder.Lock(t.Context(), "gatehouse-accounts"); err != nil {
		t.Fatal(err)
	}
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	failed := make(chan error, 1)
	go func() {
		_, err := n.Create(context.Background(), draft("late"))
		failed <- err
	}()
	eventually(t, "it waits for the lock", func() bool { return e.Calls("Lock") == 2 })
	if err := errors.Join(n.Close(), n.Close()); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-failed, registry.ErrClosed)
	_, err := n.Create(t.Context(), draft("later"))
	wantError(t, err, registry.ErrClosed)
	n.attach(e.Node())()
	if err := account.New(registry.Options{}).Close(); err != nil {
		t.Errorf("closing one that never ran: %v", err)
	}
}

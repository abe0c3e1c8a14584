package account_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

var configured = account.Issuers{{Name: "acme", Identifier: "https://acme.example"}, {Name: "other", Identifier: "https://other.example"}}

// at is a draft of an account at one of the two issuers.
func at(issuer, subject string) *account.Draft {
	d := draft(subject)
	d.Issuer, d.Issuers = issuer, configured
	return d
}

// do does one change.
func do(t testing.TB, n *node, c account.Change) (*account.Account, error) {
	t.Helper()
	results, err := n.Apply(t.Context(), []account.Change{c}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return results[0].Account, results[0].Err
}

func must(t testing.TB, n *node, c account.Change) *account.Account {
	t.Helper()
	a, err := do(t, n, c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestSubjectOfTwoIssuers: both have an account of it, and each change is one of
// the account that is meant.
func TestSubjectOfTwoIssuers(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	first := must(t, n, account.Change{Op: account.Create, Draft: at("acme", "ci")})
	second := must(t, n, account.Change{Op: account.Create, Draft: at("other", "ci")})
	_, err := do(t, n, account.Change{Op: account.Create, Draft: at("other", "ci")})
	wantError(t, err, account.ErrExists)
	if first.ID() != account.ID("ci") || second.ID() == first.ID() {
		t.Errorf("the ids are %s and %s", first.ID(), second.ID())
	}

	_, err = n.Find("", "ci")
	wantError(t, err, account.ErrAmbiguous)
	if !strings.Contains(err.Error(), "acme, other") {
		t.Errorf("the error does not list the issuers: %v", err)
	}
	for _, c := range []account.Change{{Op: account.Delete}, {Op: account.Replace, Draft: disabled("ci")}, {Op: account.Confirm, Draft: &account.Draft{Issuers: configured}}} {
		c.Key = "ci"
		if c.Draft != nil {
			c.Draft.Issuer = ""
		}
		_, err := do(t, n, c)
		wantError(t, err, account.ErrAmbiguous)
	}
	_, err = n.Find("third", "ci")
	wantError(t, err, account.ErrNotFound)

	off := at("other", "ci")
	off.Status = account.StatusInactive
	must(t, n, account.Change{Op: account.Replace, Key: "ci", Draft: off}) // the body says which
	other := start(t, e.Node(), registry.Options{}).loaded(t)
	for issuer, want := range map[string]account.Status{"acme": account.StatusActive, "other": account.StatusInactive} {
		a, ok := other.Lookup(issuer, "ci")
		if !ok || a.Status(time.Now()) != want || a.Traits().Issuer != issuer || a.Traits().Identifier != configured.Identifier(issuer) {
			t.Errorf("of %s found %+v", issuer, a)
		}
		byID, err := other.Find("", a.ID())
		if err != nil || byID != a {
			t.Errorf("by its id found %+v, %v", byID, err)
		}
	}
	must(t, n, account.Change{Op: account.Delete, Key: "ci", Issuer: "acme"})
	if a, err := n.Find("", "ci"); err != nil || a.Traits().Issuer != "other" || a.ID() != second.ID() {
		t.Errorf("left is %+v, %v", a, err)
	}
	if again := must(t, n, account.Change{Op: account.Create, Draft: at("acme", "ci")}); again.ID() != first.ID() {
		t.Errorf("made anew it has the id %s, and had %s", again.ID(), first.ID())
	}
}

// TestIDsOfSeveralIssuers: the plain id is never two accounts'.
func TestIDsOfSeveralIssuers(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	later := must(t, n, account.Change{Op: account.Create, Draft: at("other", "ci")})
	if later.ID() == account.ID("ci") {
		t.Error("another issuer's account took the id of the first one's")
	}
	reversed := at("other", "first-now")
	reversed.Issuers = account.Issuers{configured[1], configured[0]}
	if a := must(t, n, account.Change{Op: account.Create, Draft: reversed}); a.ID() != account.ID("first-now") {
		t.Errorf("the first issuer's account has the id %s", a.ID())
	}
	if a := must(t, n, account.Change{Op: account.Create, Draft: at("acme", "first-now")}); a.ID() == account.ID("first-now") {
		t.Error("an id was given twice, because the order of the issuers changed")
	}
	// What is exported comes back with its id, or not at all.
	for id, want := range map[string]string{
		later.ID(): "", account.ID("ci"): "", account.ID("x"): "id is", "5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11": "id is",
	} {
		_, _ = do(t, n, account.Change{Op: account.Delete, Key: "ci"})
		d, err := account.Decode([]byte(`{"subject":"ci","status":"active","issuer":"other","id":"` + id + `"}`))
		var a *account.Account
		if err == nil {
			err = d.SetIssuer(configured)
		}
		if err == nil {
			a, err = do(t, n, account.Change{Op: account.Create, Draft: d})
		}
		if want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) || want == "" && (err != nil || a.ID() != id) {
			t.Errorf("%s: %+v, %v", id, a, err)
		}
	}
	plain, _ := account.Decode([]byte(`{"subject":"first-now","status":"active","issuer":"third","id":"` + account.ID("first-now") + `"}`))
	if _, err := do(t, n, account.Change{Op: account.Create, Draft: plain}); err == nil || !strings.Contains(err.Error(), "at another issuer") {
		t.Errorf("with the id of another: %v", err)
	}
}

// TestIssuerNameReused: an account stays what it was registered for until
// somebody says otherwise.
func TestIssuerNameReused(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	was := must(t, n, account.Change{Op: account.Create, Draft: at("acme", "ci")})
	moved := account.Issuers{{Name: "acme", Identifier: "https://evil.example"}}
	sentBack := func(identifier string) account.Change {
		d := disabled("ci")
		d.Issuers, d.Identifier = moved, identifier
		return account.Change{Op: account.Replace, Key: "ci", Draft: d}
	}
	if a := must(t, n, sentBack(was.Traits().Identifier)); a.Traits().Identifier != was.Traits().Identifier || !a.Traits().Inactive {
		t.Errorf("sent back as it was shown it became %+v", a)
	}
	if _, err := do(t, n, sentBack("https://third.example")); err == nil || !strings.HasPrefix(err.Error(), "issuer_identifier is") {
		t.Errorf("for a third issuer: %v", err)
	}
	restored := draft("restored")
	restored.Issuers, restored.Identifier = moved, was.Traits().Identifier
	if _, err := do(t, n, account.Change{Op: account.Create, Draft: restored}); err == nil || !strings.Contains(err.Error(), "leave it out") {
		t.Errorf("restored for another issuer: %v", err)
	}
	confirmed := must(t, n, account.Change{Op: account.Confirm, Key: "ci", Draft: &account.Draft{Issuers: moved}})
	if confirmed.Traits().Identifier != "https://evil.example" || !confirmed.Traits().Inactive || confirmed.ID() != was.ID() {
		t.Errorf("confirmed it became %+v", confirmed)
	}
	if _, err := do(t, n, account.Change{Op: account.Confirm, Key: "ci", Draft: &account.Draft{Issuers: configured[1:]}}); err == nil {
		t.Error("confirmed for an issuer that is not configured")
	}
	if a := must(t, n, account.Change{Op: account.Replace, Key: "ci", Draft: at("acme", "ci")}); a.Traits().Identifier != "https://acme.example" {
		t.Errorf("replaced it is for %s", a.Traits().Identifier)
	}
}

// TestByIsKept: who does not know of it does not change it.
func TestByIsKept(t *testing.T) {
	e := engine(t, faultstorage.Faults{})
	n := start(t, e.Node(), registry.Options{}).loaded(t)
	d := draft("ci")
	d.By = account.ByClient
	must(t, n, account.Change{Op: account.Create, Draft: d})
	must(t, n, account.Change{Op: account.Replace, Key: "ci", Draft: disabled("ci")})
	if a, _ := start(t, e.Node(), registry.Options{}).loaded(t).Get("ci"); a.Traits().By != account.ByClient {
		t.Errorf("it is found by %q", a.Traits().By)
	}
	d.By = account.ByEither
	if a := must(t, n, account.Change{Op: account.Replace, Key: "ci", Draft: d}); a.Traits().By != account.ByEither {
		t.Errorf("it is found by %q", a.Traits().By)
	}
	d.By = "name"
	if _, err := do(t, n, account.Change{Op: account.Replace, Key: "ci", Draft: d}); err == nil || !strings.HasPrefix(err.Error(), `by is "name"`) {
		t.Errorf("by something else: %v", err)
	}
}

// TestTag: a change that was made for what an account was is not made to what it
// became.
func TestTag(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	old := must(t, n, account.Change{Op: account.Create, Draft: draft("ci")})
	now := must(t, n, account.Change{Op: account.Replace, Key: "ci", Tags: []string{old.Tag()}, Draft: disabled("ci")})
	for _, op := range []account.Op{account.Replace, account.Delete, account.Confirm} {
		_, err := do(t, n, account.Change{Op: op, Key: "ci", Tags: []string{old.Tag()}, Draft: draft("ci")})
		wantError(t, err, account.ErrChanged)
	}
	must(t, n, account.Change{Op: account.Delete, Key: now.ID(), Tags: []string{old.Tag(), now.Tag()}})
}

// TestPagesOfTwoIssuers: with the last account's issuer no page leaves one out.
func TestPagesOfTwoIssuers(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	var want []account.Key
	var drafts []*account.Draft
	for i, subject := range numbered("p", 20) {
		for _, issuer := range []string{"acme", "other"} {
			if want = append(want, account.Key{Issuer: issuer, Subject: subject}); i%3 == 0 && issuer == "other" {
				drafts = append(drafts, at(issuer, subject))
				continue
			}
			must(t, n, account.Change{Op: account.Create, Draft: at(issuer, subject)})
		}
	}
	v := declare(t, n.Registry, drafts...)
	page := func(q account.Query) (keys []account.Key) {
		for _, a := range v.Page(q) {
			keys = append(keys, a.Key())
		}
		return keys
	}
	var got, ofOne []account.Key
	for q := (account.Query{Limit: 3}); ; q.After, q.AfterIssuer = got[len(got)-1].Subject, got[len(got)-1].Issuer {
		next := page(q)
		if got = append(got, next...); len(next) < q.Limit {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages hold %v", got)
	}
	for q := (account.Query{Limit: 7, Issuer: "other"}); ; q.After = ofOne[len(ofOne)-1].Subject {
		next := page(q)
		if ofOne = append(ofOne, next...); len(next) < q.Limit {
			break
		}
	}
	if want := slices.DeleteFunc(want, func(k account.Key) bool { return k.Issuer != "other" }); !slices.Equal(ofOne, want) {
		t.Errorf("the pages of one issuer hold %v", ofOne)
	}
}

// TestDeclaredOfTwoIssuers: one that is declared hides the one of its issuer only.
func TestDeclaredOfTwoIssuers(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	must(t, n, account.Change{Op: account.Create, Draft: at("acme", "ci")})
	v := declare(t, n.Registry, at("other", "ci"), at("acme", "both"), at("other", "both"))
	_, err := v.Find("", "ci")
	wantError(t, err, account.ErrAmbiguous)
	for _, c := range []struct {
		issuer string
		want   error
	}{{"", account.ErrAmbiguous}, {"other", account.ErrDeclared}, {"acme", nil}} {
		results, err := v.Apply(t.Context(), []account.Change{{Op: account.Delete, Key: "ci", Issuer: c.issuer}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantError(t, results[0].Err, c.want)
	}
	first, _ := v.Find("acme", "both")
	second, _ := v.Find("other", "both")
	if first.ID() != account.ID("both") || second.ID() == first.ID() {
		t.Errorf("the ids are %s and %s", first.ID(), second.ID())
	}
}

// TestBlankEnds: what a header cannot carry is not registered, and what was can
// still be switched off.
func TestBlankEnds(t *testing.T) {
	n := start(t, engine(t, faultstorage.Faults{}).Node(), registry.Options{}).loaded(t)
	for _, c := range []struct{ subject, group, member string }{{" ", "g", "subject"}, {"a ", "g", "subject"}, {"a", " g", "groups"}} {
		d := draft(c.subject)
		d.Groups = []string{c.group}
		if _, err := do(t, n, account.Change{Op: account.Create, Draft: d}); err == nil || !strings.HasPrefix(err.Error(), c.member+" is") {
			t.Errorf("%q in %q: %v", c.subject, c.group, err)
		}
		if _, err := account.New(registry.Options{}).WithDeclared([]account.Draft{*d}); err == nil {
			t.Errorf("%q in %q is declared", c.subject, c.group)
		}
	}
	create(t, n, "a")
	d := draft("a")
	d.Groups = []string{"g "}
	if _, err := do(t, n, account.Change{Op: account.Replace, Key: "a", Draft: d}); err == nil {
		t.Error("a group with a blank at its end was given")
	}
}

// TestOlderStore reads what was written before accounts had identifiers, a name
// to be found by and ids of two kinds, and changes it.
func TestOlderStore(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "store"))); err != nil {
		t.Fatal(err)
	}
	s := &certmagic.FileStorage{Path: folder}
	n := start(t, s, registry.Options{}).loaded(t)
	holds(t, n, []string{"ci-deploy", "off", "repo:acme/shop:ref:refs/heads/main"})
	if damaged := n.kinds(registry.Damaged); len(damaged) > 0 {
		t.Fatalf("damaged are %+v", damaged)
	}
	for _, a := range n.List("", 0) {
		if a.ID() != account.ID(a.Subject()) || a.Traits().By != account.ByEither || a.Traits().Identifier != "" {
			t.Errorf("%s is %+v", a.Subject(), a)
		}
	}
	if a, ok := n.Lookup("acme", "off"); !ok || !a.Traits().Inactive {
		t.Errorf("what was switched off is %+v", a)
	}
	must(t, n, account.Change{Op: account.Create, Draft: at("other", "ci-deploy")})
	must(t, n, account.Change{Op: account.Confirm, Key: "ci-deploy", Issuer: "acme", Draft: &account.Draft{Issuers: configured}})
	again := start(t, s, registry.Options{}).loaded(t)
	a, err := again.Find("acme", "ci-deploy")
	if err != nil || a.Name() != "CI deploys" || a.Traits().Identifier != "https://acme.example" || a.ID() != account.ID("ci-deploy") || again.Counts().Total() != 4 {
		t.Errorf("found %+v, %v", a, err)
	}
}

// TestFullStore reads a store that holds each member there is, with revisions
// before it that reach beyond its history. What it shows is as it was then, and a
// record or a revision that is lost is written as it was.
func TestFullStore(t *testing.T) {
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "store-full"))); err != nil {
		t.Fatal(err)
	}
	n := start(t, &certmagic.FileStorage{Path: folder}, registry.Options{}).loaded(t)
	var shown []byte
	for _, a := range n.Page(account.Query{}) {
		text, err := a.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		shown = append(append(shown, text...), '\n')
	}
	want, err := os.ReadFile(filepath.Join(folder, "accounts.jsonl"))
	if err != nil || !bytes.Equal(shown, want) {
		t.Errorf("the accounts are %v\n%s\nwant\n%s", err, shown, want)
	}
	records, err := filepath.Glob(filepath.Join(folder, "gatehouse", "accounts", "*.json"))
	if err != nil || len(records) != 6 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, lost := range records {
		if filepath.Base(lost) == "revision.json" {
			continue // another one is made
		}
		was, err := os.ReadFile(lost)
		if err == nil {
			err = os.Remove(lost)
		}
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the record is back", func() bool {
			now, err := os.ReadFile(lost)
			return err == nil && len(now) > 0 && bytes.Equal(was, now)
		})
	}
	create(t, n, "more")
	if again := start(t, &certmagic.FileStorage{Path: folder}, registry.Options{}).loaded(t); again.Counts().Total() != 5 {
		t.Errorf("after a change there are %+v", again.Counts())
	}
	if damaged := n.kinds(registry.Damaged); len(damaged) > 0 {
		t.Errorf("damaged are %+v", damaged)
	}
}

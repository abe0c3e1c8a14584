package command

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// meddling accounts are changed by somebody else right after they were read.
type meddling struct {
	*account.Registry
	between func()
}

func (m *meddling) Find(issuer, key string) (*account.Account, error) {
	a, err := m.Registry.Find(issuer, key)
	if m.between != nil {
		m.between()
	}
	return a, err
}

// atTwo serves the API with two issuers.
func atTwo(t *testing.T) (*account.Registry, *shell, *meddling) {
	t.Helper()
	var accounts *meddling
	registry, s := newAPI(t, func(services *api.Services) {
		accounts = &meddling{Registry: services.Accounts.(*account.Registry)} //nolint:forcetypeassert // Set there.
		services.Accounts = accounts
		services.Issuers = account.Issuers{{Name: "acme", Identifier: "https://acme.example"}, {Name: "other", Identifier: "https://other.example"}}
		for _, i := range services.Issuers {
			services.Operation.Issuers = append(services.Operation.Issuers, api.IssuerKeys{Name: i.Name, Keys: keySet{issuer.Status{Issuer: i.Identifier}}})
		}
	})
	return registry, s, accounts
}

func (s *shell) account(args ...string) result {
	s.t.Helper()
	return s.must(append([]string{"service-account"}, args...)...)
}

// TestAccountSet changes one thing at a time and keeps the others.
func TestAccountSet(t *testing.T) {
	registry, s, _ := atTwo(t)
	s.account("create", "ci", "--issuer", "acme", "--name", "CI", "--groups", "a,b", "--expires-at", "2199-01-31", "--by", "client")
	for _, c := range []struct {
		args                      []string
		name, groups, expires, by string
	}{
		{[]string{"--name", "Other"}, "Other", "a b", "2199-01-31", "client"},
		{[]string{"--add-group", "c,d", "--add-group", "a", "--remove-group", "b"}, "Other", "a c,d", "2199-01-31", "client"},
		{[]string{"--expires-at", "2198-01-01"}, "Other", "a c,d", "2198-01-01", "client"},
		{[]string{"--expire-at", "2197-01-01"}, "Other", "a c,d", "2197-01-01", "client"},
		{[]string{"--expires-at", "never", "--name", ""}, "", "a c,d", "0001-01-01", "client"},
		{[]string{"--groups", "x, y", "--by", "subject", "--issuer", "acme"}, "", "x y", "0001-01-01", "subject"},
		{[]string{"--groups", "", "--by", "either", "--json"}, "", "", "0001-01-01", "either"},
	} {
		s.account(append([]string{"set", "ci"}, c.args...)...)
		a, _ := registry.Find("", "ci")
		expires := "0001-01-01" // never
		if a.Expires != 0 {
			expires = time.Unix(a.Expires, 0).UTC().Format("2006-01-02")
		}
		if a.Name() != c.name || strings.Join(a.Groups(), " ") != c.groups || expires != c.expires || string(a.Traits().By) != c.by {
			t.Errorf("%v: it became %q, %q, %s, by %s", c.args, a.Name(), a.Groups(), expires, a.Traits().By)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "at least one of the flags"},
		{[]string{"--groups", "a", "--add-group", "b"}, "none of the others can be"},
		{[]string{"--remove-group", "nobody"}, `"nobody" is none of its groups`},
		{[]string{"--expires-at", "soon"}, "expires_at: found"},
		{[]string{"--by", "name"}, `by is "name"`},
		{[]string{"--name", "x", "--issuer", "third"}, "HTTP 404"},
	} {
		s.fails([]string{c.want}, append([]string{"service-account", "set", "ci"}, c.args...)...)
	}
}

// TestAccountsOfTwoIssuers: a flag says which is meant, or the command asks.
func TestAccountsOfTwoIssuers(t *testing.T) {
	registry, s, _ := atTwo(t)
	for _, name := range []string{"acme", "other"} {
		s.account("create", "ci", "--issuer", name)
	}
	for _, args := range [][]string{{"show"}, {"set", "--name", "x"}, {"enable"}, {"disable"}, {"delete"}} {
		s.fails([]string{"HTTP 409 Conflict", "acme, other", "--issuer"}, append(append([]string{"service-account"}, args...), "ci")...)
	}
	s.account("disable", "ci", "--issuer", "other")
	s.account("set", "ci", "--issuer", "acme", "--name", "of acme")
	if r := s.account("show", "ci", "--issuer", "acme"); !strings.Contains(r.stdout, "acme, https://acme.example") || !strings.Contains(r.stdout, "of acme") || r.stderr != "" {
		t.Errorf("shown is %s%s", r.stdout, r.stderr)
	}
	if r := s.account("list", "--issuer", "other", "--json"); strings.Count(r.stdout, `"subject"`) != 1 || !strings.Contains(r.stdout, `"inactive"`) {
		t.Errorf("listed are %s", r.stdout)
	}
	exported := s.account("export").stdout
	for _, name := range []string{"acme", "other"} {
		s.account("delete", "ci", "--issuer", name)
	}
	if r := s.typed(exported).account("import", "-"); !strings.Contains(r.stderr, "created 2") || registry.Counts() != (account.Counts{Active: 1, Inactive: 1}) {
		t.Errorf("imported are %s, %+v", r.stderr, registry.Counts())
	}
	if again := s.account("export").stdout; again != exported {
		t.Errorf("exported, imported and exported it is\n%s\nwant\n%s", again, exported)
	}
}

// TestChangedInBetween: what somebody else changes between reading and writing is
// not lost, whatever the command.
func TestChangedInBetween(t *testing.T) {
	for name, args := range map[string][]string{"set": {"set", "ci", "--add-group", "mine"}, "disable": {"disable", "ci"}} {
		t.Run(name, func(t *testing.T) {
			registry, s, accounts := atTwo(t)
			s.account("create", "ci", "--issuer", "acme")
			var times atomic.Int32
			accounts.between = func() {
				if times.Add(1) > 2 {
					return
				}
				d := account.Draft{Name: "theirs", Status: account.StatusActive, Groups: []string{"theirs", strings.Repeat("x", int(times.Load()))}}
				if _, err := registry.Apply(t.Context(), []account.Change{{Op: account.Replace, Key: "ci", Draft: &d}}, nil); err != nil {
					t.Error(err)
				}
			}
			s.account(args...)
			a, _ := registry.Find("", "ci")
			if times.Load() != 3 || a.Name() != "theirs" || !slices.Contains(a.Groups(), "theirs") || !a.Traits().Inactive && !slices.Contains(a.Groups(), "mine") {
				t.Errorf("read %d times it became %q, %q, %s", times.Load(), a.Name(), a.Groups(), a.Status(time.Now()))
			}
		})
	}
}

// TestChangedAllTheTime gives up, and says why.
func TestChangedAllTheTime(t *testing.T) {
	registry, s, accounts := atTwo(t)
	s.account("create", "ci", "--issuer", "acme")
	var times atomic.Int32
	accounts.between = func() {
		d := account.Draft{Name: strings.Repeat("x", int(times.Add(1))), Status: account.StatusActive}
		if _, err := registry.Apply(t.Context(), []account.Change{{Op: account.Replace, Key: "ci", Draft: &d}}, nil); err != nil {
			t.Error(err)
		}
	}
	s.fails([]string{"changed by somebody else each of 5 times", "HTTP 412"}, "service-account", "set", "ci", "--add-group", "mine")
}

// TestAccountConfirm goes from what show tells to what it does not.
func TestAccountConfirm(t *testing.T) {
	registry, s, _ := atTwo(t)
	was := account.Issuers{{Name: "acme", Identifier: "https://was.example"}}
	for _, subject := range []string{"a", "b", "c"} {
		if _, err := registry.Apply(t.Context(), []account.Change{{Op: account.Create, Draft: &account.Draft{Subject: subject, Status: account.StatusActive, Issuer: "acme", Issuers: was}}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	s.account("disable", "a") // which confirms nothing
	if r := s.account("show", "a"); !strings.Contains(r.stdout, "acme, https://was.example") || !strings.Contains(r.stderr, "acme is https://acme.example now") {
		t.Errorf("shown is %s%s", r.stdout, r.stderr)
	}
	if r := s.run("status"); !strings.Contains(r.stdout, "Unconfirmed  3, for another issuer of that name") {
		t.Errorf("the status is %s", r.stdout)
	}
	if r := s.account("confirm", "--issuer", "acme", "b"); r.stdout != "Confirmed  1 account\n" {
		t.Errorf("got %s", r.stdout)
	}
	if r := s.account("confirm", "--issuer", "acme", "--json"); !strings.Contains(r.stdout, `"confirmed": 2`) {
		t.Errorf("got %s", r.stdout)
	}
	if r := s.run("status"); strings.Contains(r.stdout, "Unconfirmed") {
		t.Errorf("the status is %s", r.stdout)
	}
	if r := s.account("show", "a"); !strings.Contains(r.stdout, "acme, https://acme.example") || r.stderr != "" {
		t.Errorf("shown is %s%s", r.stdout, r.stderr)
	}
	s.fails([]string{"HTTP 422", "configured"}, "service-account", "confirm", "--issuer", "third")
	s.fails([]string{"issuer"}, "service-account", "confirm")
	s.fails([]string{"want one SUBJECT"}, "service-account", "confirm", "--issuer", "acme", "a", "b")
}

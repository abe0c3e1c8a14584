package auth

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// roll is a small list of accounts.
type roll struct {
	unread  bool
	known   []*account.Account
	version account.Version
	lookups int
}

var rollVersions account.Version // none of two lists is the same

func (r *roll) Version() account.Version {
	if r.version == 0 {
		rollVersions++
		r.version = rollVersions
	}
	return r.version
}

func (r *roll) Loaded() bool { return !r.unread }

func (r *roll) Lookup(issuer, subject string) (*account.Account, bool) {
	r.lookups++
	for _, a := range r.known {
		if a.Issuer() == issuer && a.Subject() == subject {
			return a, true
		}
	}
	return nil, false
}

func (r *roll) register(t *testing.T, d account.Draft) {
	t.Helper()
	if d.Status == "" {
		d.Status = account.StatusActive
	}
	if d.Issuer == "" {
		d.Issuer = "acme"
	}
	if err := d.Validate(); err != nil {
		t.Fatal(err)
	}
	r.known = slices.DeleteFunc(r.known, func(a *account.Account) bool { return a.Subject() == d.Subject })
	r.known = append(r.known, declare(t, d))
	r.version = 0
}

func declare(t *testing.T, d account.Draft) *account.Account {
	t.Helper()
	list, err := account.NewDeclared([]account.Draft{d})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := account.View{Declared: list}.Lookup(d.Issuer, d.Subject)
	return a
}

func TestRegistration(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	machine := verified(t, v, g.idp.Mint(map[string]any{"sub": "ci", "azp": "ci", "groups": []string{"token"}}))
	pod := verified(t, v, g.idp.Mint(map[string]any{"sub": "uuid-7", "azp": "ci", "gty": "client-credentials"}))
	person := verified(t, v, g.idp.Mint(map[string]any{"sub": "ann", "azp": "ci"}))
	unclear := verified(t, v, g.idp.Mint(map[string]any{"sub": "ci", "azp": "spa"}))
	unclear.profile = &profile{profileKey: unclear.profile.profileKey, authority: unclear.profile.authority}
	unclear.profile.kind = KindUnclear
	namesake := verified(t, v, g.idp.Mint(map[string]any{"sub": "ci", "azp": "spa"}))
	at := func(d account.Draft, by account.By) account.Draft { d.By = by; return d }
	moved := func(d account.Draft) account.Draft { d.Identifier = "https://was.example"; return d }
	in := account.Draft{Subject: "ci", Name: "CI deploys", Groups: []string{"deployers"}}
	off := account.Draft{Subject: "ci", Status: account.StatusInactive}
	ended := account.Draft{Subject: "ci", ExpiresAt: epoch}
	tests := []struct {
		name     string
		optional bool
		unread   bool
		accounts []account.Draft
		token    *Token
		want     *Refusal
		kind     Kind
		groups   []string // of the account
	}{
		{name: "registered", accounts: []account.Draft{in}, token: machine, kind: KindServiceAccount, groups: in.Groups},
		{name: "found by client id", accounts: []account.Draft{in}, token: pod, kind: KindServiceAccount, groups: in.Groups},
		{name: "unknown", token: machine, want: ErrAccountUnknown},
		{name: "unknown, optional", optional: true, token: machine, kind: KindServiceAccount},
		{name: "switched off", accounts: []account.Draft{off}, token: machine, want: ErrAccountInactive},
		{name: "switched off, optional", optional: true, accounts: []account.Draft{off}, token: machine, want: ErrAccountInactive},
		{name: "switched off by client id", accounts: []account.Draft{off}, token: pod, want: ErrAccountInactive},
		{name: "expired", accounts: []account.Draft{ended}, token: machine, want: ErrAccountExpired},
		{name: "of another issuer", accounts: []account.Draft{{Subject: "ci", Issuer: "other"}}, token: machine, want: ErrAccountUnknown},
		{name: "not read yet", unread: true, token: machine, want: ErrAccountsUnavailable},
		{name: "not read yet, optional", unread: true, optional: true, token: machine, kind: KindServiceAccount},
		{name: "not read yet, but known", unread: true, accounts: []account.Draft{in}, token: machine, kind: KindServiceAccount, groups: in.Groups},
		{name: "a person", token: person, kind: KindUser},
		{name: "a person of a registered application", accounts: []account.Draft{off}, token: person, kind: KindUser},
		{name: "a person of a registered subject", accounts: []account.Draft{at(account.Draft{Subject: "ann", Groups: []string{"g"}}, account.BySubject)}, token: person, kind: KindServiceAccount, groups: []string{"g"}},

		// A person may have chosen the name of a machine, and so may who cannot be told.
		{name: "a person of a machine's name", accounts: []account.Draft{in}, token: namesake, kind: KindUser},
		{name: "a person of a machine's name, by client", accounts: []account.Draft{at(in, account.ByClient)}, token: namesake, kind: KindUser},
		{name: "a person of a machine's name that is off", accounts: []account.Draft{off}, token: namesake, want: ErrAccountInactive},
		{name: "a person of a client's name that is off", accounts: []account.Draft{at(off, account.ByClient)}, token: namesake, kind: KindUser},
		{name: "a person of a machine's name that has expired", accounts: []account.Draft{ended}, token: namesake, want: ErrAccountExpired},
		{name: "unclear, by the subject", accounts: []account.Draft{at(in, account.BySubject)}, token: unclear, kind: KindServiceAccount, groups: in.Groups},
		{name: "unclear, by either", accounts: []account.Draft{in}, token: unclear, kind: "unclear"},
		{name: "unclear, by either that is off", accounts: []account.Draft{off}, token: unclear, want: ErrAccountInactive},
		{name: "unclear, by its client", accounts: []account.Draft{{Subject: "spa", Groups: []string{"g"}}}, token: unclear, kind: "unclear"},
		{name: "unclear, by its client that is off", accounts: []account.Draft{at(account.Draft{Subject: "spa", Status: account.StatusInactive}, account.ByClient)}, token: unclear, want: ErrAccountInactive},
		{name: "a machine by its client", accounts: []account.Draft{at(in, account.ByClient)}, token: pod, kind: KindServiceAccount, groups: in.Groups},
		{name: "a machine by its client, as a subject", accounts: []account.Draft{at(in, account.BySubject)}, token: pod, want: ErrAccountUnknown},
		{name: "a machine by its subject, as a client", accounts: []account.Draft{at(account.Draft{Subject: "uuid-7"}, account.ByClient)}, token: pod, want: ErrAccountUnknown},
		{name: "a machine of one name, by subject", accounts: []account.Draft{at(in, account.BySubject)}, token: machine, kind: KindServiceAccount, groups: in.Groups},
		{name: "registered twice, one off", accounts: []account.Draft{off, {Subject: "uuid-7"}}, token: pod, want: ErrAccountInactive},
		{name: "registered twice, the other off", accounts: []account.Draft{in, {Subject: "uuid-7", Status: account.StatusInactive}}, token: pod, want: ErrAccountInactive},
		{name: "registered twice", accounts: []account.Draft{in, {Subject: "uuid-7", Groups: []string{"by subject"}}}, token: pod, kind: KindServiceAccount, groups: []string{"by subject"}},

		// The issuer's name stood for another one.
		{name: "moved", accounts: []account.Draft{moved(in)}, token: machine, want: ErrAccountUnknown},
		{name: "moved, optional", optional: true, accounts: []account.Draft{moved(in)}, token: machine, kind: KindServiceAccount},
		{name: "moved, off, optional", optional: true, accounts: []account.Draft{moved(off)}, token: machine, want: ErrAccountInactive},
		{name: "moved, by the subject", accounts: []account.Draft{moved(at(in, account.BySubject))}, token: namesake, kind: KindUser},
		{name: "moved, unclear", optional: true, accounts: []account.Draft{moved(at(in, account.BySubject))}, token: unclear, kind: "unclear"},
		{name: "a registered subject, switched off", accounts: []account.Draft{{Subject: "ann", Status: account.StatusInactive}}, token: person, want: ErrAccountInactive},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			accounts := &roll{unread: test.unread}
			for _, d := range test.accounts {
				accounts.register(t, d)
			}
			registration := &Registration{Accounts: accounts, Required: !test.optional}
			admitted, refusal := registration.Admit(test.token, g.clock.now())
			if refusal != test.want {
				t.Fatalf("refused with %v, expected %v", refusal, test.want)
			}
			if refusal == nil && admitted.Kind() != test.kind {
				t.Errorf("found the kind %s, expected %s", admitted.Kind(), test.kind)
			}
			if refusal == nil {
				if given := without(admitted.Groups(), test.token.profile.groups.list); !slices.Equal(given, test.groups) {
					t.Errorf("was given the groups %q, expected %q", given, test.groups)
				}
			}
		})
	}
}

func without(list, left []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(left, s) })
}

func TestRegistrationJoinsTokenAndAccount(t *testing.T) {
	g := newGate(t)
	accounts := &roll{}
	registration := &Registration{Accounts: accounts, Required: true}
	token := verified(t, g.verifier(), g.idp.Mint(map[string]any{
		"sub": "ci", "azp": "ci", "groups": []string{"token", "both"}, "name": "as the token says",
	}))
	accounts.register(t, account.Draft{Subject: "ci", Name: "CI deploys", Groups: []string{"both", "deployers"}})
	first, _ := registration.Admit(token, g.clock.now())
	if want := []string{"token", "both", "deployers"}; !slices.Equal(first.Groups(), want) {
		t.Errorf("found the groups %v, expected %v", first.Groups(), want)
	}
	if name, _ := first.Text("name"); name.Value != "CI deploys" {
		t.Errorf("found the name %q, expected the account's", name.Value)
	}
	if first.ID() != account.ID("ci") || first.Subject() != "ci" || first.Token() != token {
		t.Errorf("found the id %q of %s, expected the account's", first.ID(), first)
	}
	if again, _ := registration.Admit(token, g.clock.now()); again != first {
		t.Error("the same account made the principal anew")
	}
	accounts.register(t, account.Draft{Subject: "ci"})
	changed, _ := registration.Admit(token, g.clock.now())
	if want := []string{"token", "both"}; !slices.Equal(changed.Groups(), want) {
		t.Errorf("found the groups %v after a change, expected %v", changed.Groups(), want)
	}
	if name, _ := changed.Text("name"); name.Value != "as the token says" {
		t.Errorf("found the name %q, expected the token's", name.Value)
	}
	if changed.Deadline() != first.Deadline() || first.Deadline().Before(epoch.Add(time.Second)) {
		t.Error("the account changed how long the token counts")
	}
	if !changed.Same(first) {
		t.Error("with its account changed the caller counts as somebody else")
	}
}

// A cached token's account is looked up again only when the accounts change,
// and whether it is good with every request.
func TestLookedUpOnce(t *testing.T) {
	g := newGate(t)
	accounts := &roll{}
	accounts.register(t, account.Draft{Subject: "ci", ExpiresAt: epoch.Add(time.Minute)})
	registration := &Registration{Accounts: accounts, Required: true}
	token := verified(t, g.verifier(), g.idp.Mint(map[string]any{"sub": "ci", "azp": "ci"}))
	admit := func(now time.Time) *Refusal {
		_, refusal := registration.Admit(token, now)
		return refusal
	}
	for range 3 {
		if refusal := admit(epoch); refusal != nil {
			t.Fatal(refusal)
		}
	}
	if refusal := admit(epoch.Add(time.Minute)); refusal != ErrAccountExpired {
		t.Errorf("refused with %v, expected %v", refusal, ErrAccountExpired)
	}
	if accounts.lookups != 1 {
		t.Errorf("looked up %d times, expected once", accounts.lookups)
	}
	accounts.register(t, account.Draft{Subject: "ci", Status: account.StatusInactive})
	if refusal := admit(epoch); refusal != ErrAccountInactive || accounts.lookups != 2 {
		t.Errorf("after a change refused with %v, after %d look-ups", refusal, accounts.lookups)
	}
	accounts.known, accounts.version = nil, 0
	if refusal := admit(epoch); refusal != ErrAccountUnknown {
		t.Errorf("after its removal refused with %v, expected %v", refusal, ErrAccountUnknown)
	}
	registration.Required = false
	if refusal := admit(epoch); refusal != nil {
		t.Errorf("where registration is optional refused with %v", refusal)
	}
	registration.Required = true // as another configuration with the same accounts may
	if refusal := admit(epoch); refusal != ErrAccountUnknown {
		t.Errorf("where it is required again refused with %v, expected %v", refusal, ErrAccountUnknown)
	}
}

// Whatever happens at once, a change counts for every request that comes after
// it.
func TestAdmitWhileAccountsChange(t *testing.T) {
	g := newGate(t)
	verifier := g.verifier()
	registry := account.New(account.Options{})
	defer registry.Close()
	views := make([]account.View, 2)
	for i, status := range []account.Status{account.StatusActive, account.StatusInactive} {
		list, err := account.NewDeclared([]account.Draft{{Subject: "ci", Issuer: "acme", Status: status}})
		if err != nil {
			t.Fatal(err)
		}
		views[i] = account.View{Declared: list, Registry: registry}
	}
	for range 200 { // tokens, each admitted for the first time by many at once
		token := verified(t, verifier, g.idp.Mint(map[string]any{"sub": "ci", "azp": "ci"}))
		var group sync.WaitGroup
		for i := range 8 {
			on := i%2 == 0
			registration := &Registration{Accounts: views[i%2], Required: true}
			group.Go(func() {
				for range 100 {
					caller, refusal := registration.Admit(token, epoch)
					if (refusal == nil) != on || on && caller.Token() != token {
						t.Errorf("refused with %v, where the account is on: %t", refusal, on)
						return
					}
				}
			})
		}
		group.Wait()
	}
}

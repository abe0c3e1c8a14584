package auth

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// roll is a small list of accounts.
type roll struct {
	unread  bool
	known   []*account.Account
	version uint64
	lookups int
}

var rollVersions uint64 // none of two lists is the same

func (r *roll) Version() uint64 {
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
		if a.Traits().Issuer == issuer && a.Subject() == subject {
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
	r.known = slices.DeleteFunc(r.known, func(a *account.Account) bool { return a.Subject() == d.Subject })
	r.known = append(r.known, declare(t, d))
	r.version = 0
}

func declare(t *testing.T, d account.Draft) *account.Account {
	t.Helper()
	list, err := account.New(registry.Options{}).WithDeclared([]account.Draft{d})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := list.Lookup(d.Issuer, d.Subject)
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

		// A person may have chosen the name of a machine, and so may whose kind is unclear.
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
	if first.ID() != account.ID("ci") || first.Subject() != "ci" || first.Token != token {
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
	for issuer, want := range map[string]*Refusal{token.Issuer(): nil, "another": ErrAccountUnknown} {
		registration.RequiredOf = map[string]bool{issuer: false}
		if refusal := admit(epoch); refusal != want {
			t.Errorf("where it is optional for %s refused with %v, expected %v", issuer, refusal, want)
		}
	}
}

// Whatever happens at once, a change counts for every request that comes after
// it.
func TestAdmitWhileAccountsChange(t *testing.T) {
	g := newGate(t)
	verifier := g.verifier()
	stored := account.New(registry.Options{})
	defer stored.Close()
	views := make([]*account.Registry, 2)
	for i, status := range []account.Status{account.StatusActive, account.StatusInactive} {
		var err error
		if views[i], err = stored.WithDeclared([]account.Draft{{Subject: "ci", Issuer: "acme", Status: status}}); err != nil {
			t.Fatal(err)
		}
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
					if (refusal == nil) != on || on && caller.Token != token {
						t.Errorf("refused with %v, where the account is on: %t", refusal, on)
						return
					}
				}
			})
		}
		group.Wait()
	}
}

// revocations are those of a storage of its own, which is read already.
func (g *gate) revocations() *revocation.Registry {
	g.tb.Helper()
	r := revocation.New(registry.Options{Now: g.clock.now})
	g.tb.Cleanup(func() { _ = r.Close() })
	r.Attach(registry.Host[revocation.Revocation]{Storage: faultstorage.New(faultstorage.Faults{}).Node(), Refresh: registry.MinRefresh})
	ctx, cancel := context.WithTimeout(g.tb.Context(), 30*time.Second)
	defer cancel()
	if err := r.Await(ctx); err != nil {
		g.tb.Fatal(err)
	}
	return r
}

func (g *gate) revoke(r *revocation.Registry, drafts ...revocation.Draft) {
	g.tb.Helper()
	for i := range drafts {
		if drafts[i].Issuer == "" {
			drafts[i].Issuer = g.idp.URL
		}
	}
	if _, err := r.Revoke(g.tb.Context(), drafts); err != nil {
		g.tb.Fatal(err)
	}
}

// TestRevoked: what is revoked is refused by each of its names, as far as it was issued
// by then, and nothing else is.
func TestRevoked(t *testing.T) {
	g := newGate(t)
	now := epoch.Unix()
	token := map[string]any{"sub": "alice", "sid": "s1", "azp": "web", "jti": "t1", "iat": now - 10}
	at := func(seconds int64) time.Time { return time.Unix(now+seconds, 0) }
	for _, tt := range []struct {
		name    string
		revoked revocation.Draft
		claims  map[string]any // in the place of the token's
		want    bool
	}{
		{"subject", revocation.Draft{Target: revocation.Subject, Name: "alice"}, nil, true},
		{"session", revocation.Draft{Target: revocation.Session, Name: "s1"}, nil, true},
		{"client", revocation.Draft{Target: revocation.Client, Name: "web"}, nil, true},
		{"token", revocation.Draft{Target: revocation.TokenID, Name: "t1"}, nil, true},
		{"another subject", revocation.Draft{Target: revocation.Subject, Name: "bob"}, nil, false},
		{"of another issuer", revocation.Draft{Issuer: "https://other.example", Target: revocation.Subject, Name: "alice"}, nil, false},
		{"a subject's name as a session", revocation.Draft{Target: revocation.Session, Name: "alice"}, nil, false},
		{"a session's name as a subject", revocation.Draft{Target: revocation.Subject, Name: "s1"}, nil, false},
		{"at the second", revocation.Draft{Target: revocation.Subject, Name: "alice", IssuedBefore: at(-10)}, nil, true},
		{"a second before", revocation.Draft{Target: revocation.Subject, Name: "alice", IssuedBefore: at(-11)}, nil, false},
		{"issued in a part of the second", revocation.Draft{Target: revocation.Subject, Name: "alice", IssuedBefore: at(-10)}, map[string]any{"iat": float64(now) - 9.5}, true},
		{"issued later", revocation.Draft{Target: revocation.Subject, Name: "alice", IssuedBefore: at(-10)}, map[string]any{"iat": float64(now) - 8.5}, false},
		{"not known when issued", revocation.Draft{Target: revocation.Subject, Name: "alice", IssuedBefore: at(-3600)}, map[string]any{"iat": idp.Absent}, true},
		{"no session", revocation.Draft{Target: revocation.Session, Name: "s1"}, map[string]any{"sid": idp.Absent}, false},
		{"session of another type", revocation.Draft{Target: revocation.Session, Name: "1"}, map[string]any{"sid": 1}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			claims := maps.Clone(token)
			maps.Copy(claims, tt.claims)
			list := g.revocations()
			registration := &Registration{Accounts: nobody{}, Revocations: list}
			v := g.verifier()
			known := verified(t, v, g.idp.Mint(claims))
			if _, refusal := registration.Admit(known, epoch); refusal != nil {
				t.Fatalf("refused before with %v", refusal)
			}
			g.revoke(list, tt.revoked)
			caller, refusal := registration.Admit(known, epoch)
			if (refusal != nil && refusal.Reason == ErrRevoked.Reason) != tt.want || (caller != nil) == tt.want {
				t.Errorf("refused with %v; want %v", refusal, tt.want)
			}
			undated := claims["iat"] == any(idp.Absent)
			if refusal != nil && (refusal.Cause != nil) != undated {
				t.Errorf("the cause is %v", refusal.Cause)
			}
			explained := v.Explain(t.Context(), g.idp.Mint(claims), registration, nil, nil)
			if explained.Refusal != refusal {
				t.Errorf("explained as refused with %v", explained.Refusal)
			}
			if undated && !strings.Contains(shownBy(explained, "revocation"), "does not say when it was issued") {
				t.Errorf("explained by %s", shownBy(explained, "revocation"))
			}
		})
	}
}

// TestRevokedSubjectIsAlsoSub: what the issuer calls a caller is revoked, whichever
// claim is the subject here.
func TestRevokedSubjectIsAlsoSub(t *testing.T) {
	g := newGate(t)
	list := g.revocations()
	registration := &Registration{Accounts: nobody{}, Revocations: list}
	known := verified(t, g.verifier(with(func(p *Policy) { p.SubjectClaim = "email" })), g.idp.Mint(map[string]any{"sub": "00u1", "email": "alice@example.com"}))
	g.revoke(list, revocation.Draft{Target: revocation.Subject, Name: "00u1"})
	if _, refusal := registration.Admit(known, epoch); refusal != ErrRevoked {
		t.Errorf("refused with %v", refusal)
	}
}

// TestRevocationGoes: a revocation that is over, or was deleted, refuses nobody.
func TestRevocationGoes(t *testing.T) {
	g := newGate(t)
	list := g.revocations()
	registration := &Registration{Accounts: nobody{}, Revocations: list}
	known := verified(t, g.verifier(), g.idp.Mint(map[string]any{"sub": "alice"}))
	g.revoke(list, revocation.Draft{Target: revocation.Subject, Name: "alice", Lifetime: time.Minute}, revocation.Draft{Target: revocation.Client, Name: "gone"})
	if _, refusal := registration.Admit(known, epoch); refusal != ErrRevoked {
		t.Fatalf("refused with %v", refusal)
	}
	g.clock.advance(time.Minute)
	if _, refusal := registration.Admit(known, g.clock.now()); refusal != nil {
		t.Errorf("refused with %v when it is over", refusal)
	}
	if list.Count() != 1 {
		t.Errorf("%d are counted", list.Count())
	}
	if _, err := list.Delete(t.Context(), list.Page(revocation.Query{})[0].ID()); err != nil || list.Count() != 0 {
		t.Errorf("deleted: %v, %d are left", err, list.Count())
	}
}

// TestRevocationsUnread: before they are read nobody can say that a token is not
// revoked.
func TestRevocationsUnread(t *testing.T) {
	g := newGate(t)
	unread := revocation.New(registry.Options{})
	defer unread.Close()
	known := verified(t, g.verifier(), g.idp.Mint(map[string]any{"sub": "alice"}))
	if _, refusal := (&Registration{Accounts: nobody{}, Revocations: unread}).Admit(known, epoch); refusal != ErrRevocationsUnavailable {
		t.Errorf("refused with %v", refusal)
	}
}

// TestRevocationsCostNothing: a remembered token is looked for once, until something
// changes.
func TestRevocationsCostNothing(t *testing.T) {
	g := newGate(t)
	list := &countingRevocations{Registry: g.revocations()}
	registration := &Registration{Accounts: nobody{}, Revocations: list}
	g.revoke(list.Registry, revocation.Draft{Target: revocation.Subject, Name: "bob"})
	known := verified(t, g.verifier(), g.idp.Mint(map[string]any{"sub": "alice"}))
	admit := func() {
		if _, refusal := registration.Admit(known, epoch); refusal != nil {
			t.Fatal(refusal)
		}
	}
	admit()
	first := list.asked
	if n := testing.AllocsPerRun(100, admit); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if list.asked != first || first == 0 {
		t.Errorf("looked for %d times, and %d at first", list.asked, first)
	}
	g.revoke(list.Registry, revocation.Draft{Target: revocation.Subject, Name: "carol"})
	if admit(); list.asked == first {
		t.Error("not looked for after a change")
	}
}

type countingRevocations struct {
	*revocation.Registry
	asked int
}

func (c *countingRevocations) Find(key revocation.Key) *revocation.Revocation {
	c.asked++
	return c.Registry.Find(key)
}

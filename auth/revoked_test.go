package auth

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// revocations are those of a storage of its own, which is read already.
func (g *gate) revocations() *revocation.Registry {
	g.tb.Helper()
	r := revocation.New(registry.Options{Now: g.clock.now})
	g.tb.Cleanup(func() { _ = r.Close() })
	r.Attach(revocation.Host{Storage: faultstorage.New(faultstorage.Faults{}).Node(), Refresh: registry.MinRefresh})
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
		{"not told when issued", revocation.Draft{Target: revocation.Subject, Name: "alice", IssuedBefore: at(-3600)}, map[string]any{"iat": idp.Absent}, true},
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
			if (refusal == ErrRevoked) != tt.want || (caller != nil) == tt.want {
				t.Errorf("refused with %v; want %v", refusal, tt.want)
			}
			explained := v.Explain(t.Context(), g.idp.Mint(claims), registration, nil, nil)
			if (explained.Refusal == ErrRevoked) != tt.want {
				t.Errorf("explained as refused with %v", explained.Refusal)
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

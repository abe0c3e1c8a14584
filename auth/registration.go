package auth

import (
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// Accounts are the known service accounts. Looking one up takes no lock and
// waits for nothing.
type Accounts interface {
	// Lookup finds the account of a subject, or of a client id, at an issuer.
	Lookup(issuer, subject string) (*account.Account, bool)

	// Version changes whenever an answer of Lookup does, before it does: what is
	// looked up after asking for the version is never older than it. It is neither
	// 0 nor the largest number.
	Version() account.Version

	// Loaded tells whether the accounts were ever read: before that, nobody can
	// say that one is not known.
	Loaded() bool
}

// Registration decides about service accounts: whether a machine is known, and
// whether an operator has switched it off.
type Registration struct {
	// Accounts are asked for their version with every request, and for a token's
	// account when that has changed.
	Accounts Accounts

	// Required refuses machines that are not registered.
	Required bool
}

// The refusals of service accounts.
var (
	ErrAccountUnknown      = badToken("account_unknown", "the service account is not registered")
	ErrAccountInactive     = badToken("account_inactive", "the service account is switched off")
	ErrAccountExpired      = badToken("account_expired", "the service account has expired")
	ErrAccountsUnavailable = retrySoon(define("accounts_unavailable", http.StatusServiceUnavailable, "", "the service accounts cannot be read at the moment"))
)

func retrySoon(r *Refusal) *Refusal {
	r.RetryAfter = time.Second
	return r
}

// Admit gives the principal that a token's caller is with what is registered
// about it now, or the refusal. A caller whose subject is registered is a service
// account whatever its token looks like.
//
// What the accounts say of a caller is kept with the remembered token until they
// change: among a million, looking it up anew touches half a dozen places that
// are in no processor's cache.
func (g *Registration) Admit(token *Token, now time.Time) (*Principal, *Refusal) {
	version := g.Accounts.Version() // before looking up: what changes meanwhile is seen next time
	last := token.admitted()
	if last.version.Load() != uint64(version) {
		last = g.principal(token, last)
		last.version.Store(uint64(version))
	}
	p := &last.principal
	if now.Unix() >= p.standing.good {
		if refusal := g.refuse(p, now); refusal != nil {
			return nil, refusal
		}
	}
	return p, nil
}

// refuse gives the refusal of a principal whose account is not good now, or who
// lacks one.
func (g *Registration) refuse(p *Principal, now time.Time) *Refusal {
	known := p.standing.account
	if known == nil {
		return g.refuseUnknown(p)
	}
	switch known.State(now) {
	case account.Active:
		return nil
	case account.Expired:
		return ErrAccountExpired
	}
	return ErrAccountInactive
}

func (g *Registration) refuseUnknown(p *Principal) *Refusal {
	if !g.Required || p.Kind() != KindServiceAccount {
		return nil
	}
	if !g.Accounts.Loaded() {
		return ErrAccountsUnavailable
	}
	return ErrAccountUnknown
}

// admitted is a principal by what the accounts said when they had the version.
type admitted struct {
	version   atomic.Uint64 // an [account.Version], or one of those below
	principal Principal     // there once it has a version
}

// No versions of accounts.
const (
	unused = 0
	inUse  = math.MaxUint64
)

// admitted gives what the token last was admitted as, which may have no version
// yet.
func (t *Token) admitted() *admitted {
	if later := t.later.Load(); later != nil {
		return later
	}
	return &t.first
}

func (a *admitted) isMade() bool {
	version := a.version.Load()
	return version != unused && version != inUse
}

// room is where to put the next principal: within the token for the first one,
// next to what a request needs anyway. It stays there, with its account, for as
// long as the token is remembered.
func (t *Token) room() *admitted {
	if t.first.version.CompareAndSwap(unused, inUse) {
		return &t.first
	}
	return new(admitted)
}

// principal joins what the token says with what is registered: the last one, if
// its account is still the same.
func (g *Registration) principal(token *Token, last *admitted) *admitted {
	known := g.account(token)
	if last.isMade() && last.principal.standing.account == known {
		return last
	}
	made := token.room()
	made.principal = Principal{token: token, standing: token.standing.registered(known)}
	if made != &token.first {
		token.later.Store(made)
	}
	return made
}

// account gives the account of a token's caller, nil if there is none. It is found
// by the client id only if the token itself says that it is a machine's: people
// carry the client id of the application they logged in with.
func (g *Registration) account(token *Token) *account.Account {
	if known, ok := g.Accounts.Lookup(token.Issuer(), token.Subject()); ok {
		return known
	}
	client := token.ClientID()
	if client == "" || client == token.Subject() || token.standing.kind != KindServiceAccount {
		return nil
	}
	known, _ := g.Accounts.Lookup(token.Issuer(), client)
	return known
}

// shown says what is registered about a token's caller.
func (g *Registration) shown(token *Token, now time.Time) string {
	known := g.account(token)
	switch {
	case known != nil:
		return known.State(now).String() + " as " + known.Subject()
	case !g.Accounts.Loaded():
		return "the accounts have not been read yet"
	case token.standing.kind == KindServiceAccount:
		return "a machine that is not registered: subject " + quoted(token.Subject()) + ", client " + quoted(token.ClientID())
	}
	return "a person"
}

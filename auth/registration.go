package auth

import (
	"net/http"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// Accounts are the known service accounts. Looking one up takes no lock and
// waits for nothing.
type Accounts interface {
	// Lookup finds the account of a subject, or of a client id, at an issuer.
	Lookup(issuer, subject string) (*account.Account, bool)

	// Loaded tells whether the accounts were ever read: before that, nobody can
	// say that one is not known.
	Loaded() bool
}

// Registration decides about service accounts: whether a machine is known, and
// whether an operator has switched it off.
type Registration struct {
	// Accounts are asked with every request.
	Accounts Accounts

	// Required refuses machines that are not registered.
	Required bool

	// Attach, if set, is called once for each principal that is admitted, and
	// what it gives can be had from [Principal.Attached] with every request of
	// that token. It must be the same for all that share a [Verifier].
	Attach func(*Principal) any
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

// Admit gives the principal that the caller is with what is registered about
// it now, or the refusal. A caller whose subject is registered is a service
// account whatever its token looks like.
func (g *Registration) Admit(caller *Principal, now time.Time) (*Principal, *Refusal) {
	known := g.find(caller)
	if known == nil {
		return g.admitUnknown(caller)
	}
	switch known.State(now) {
	case account.Active:
		return g.admit(caller, known), nil
	case account.Expired:
		return nil, ErrAccountExpired
	}
	return nil, ErrAccountInactive
}

// find gives the account of a caller, nil if there is none. It is found by the
// client id only if the token itself says that it is a machine's: people carry
// the client id of the application they logged in with.
func (g *Registration) find(caller *Principal) *account.Account {
	if known, ok := g.Accounts.Lookup(caller.Issuer(), caller.Subject()); ok {
		return known
	}
	client := caller.ClientID()
	if client == "" || client == caller.Subject() || caller.said().kind != KindServiceAccount {
		return nil
	}
	known, _ := g.Accounts.Lookup(caller.Issuer(), client)
	return known
}

func (g *Registration) admitUnknown(caller *Principal) (*Principal, *Refusal) {
	if caller.said().kind != KindServiceAccount || !g.Required {
		return g.admit(caller, nil), nil
	}
	if !g.Accounts.Loaded() {
		return nil, ErrAccountsUnavailable
	}
	return nil, ErrAccountUnknown
}

// admit joins what the token says with what is registered. The result is kept
// with the remembered token until the account changes, so that it costs a
// request nothing.
func (g *Registration) admit(caller *Principal, known *account.Account) *Principal {
	token := caller.token
	if last := token.admitted.Load(); last != nil && last.standing.account == known {
		return last
	}
	made := &Principal{token: token, standing: caller.said().registered(known)}
	if g.Attach != nil {
		made.attached = g.Attach(made)
	}
	token.admitted.Store(made)
	return made
}

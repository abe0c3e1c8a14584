package auth

import (
	"net/http"
	"slices"
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

	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// Attach, if set, is called once for each principal that an account makes,
	// as [VerifierConfig.Attach] is for those that a token makes.
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
// it, or the refusal. A caller whose subject is registered is a service account
// whatever its token looks like.
func (g *Registration) Admit(caller *Principal) (*Principal, *Refusal) {
	if known, ok := g.find(caller); ok {
		return g.admitKnown(caller, known)
	}
	if caller.Kind() != KindServiceAccount || !g.Required {
		return caller, nil
	}
	if !g.Accounts.Loaded() {
		return nil, ErrAccountsUnavailable
	}
	return nil, ErrAccountUnknown
}

// find gives the account of a caller. It is found by the client id only if the
// token itself says that it is a machine's: people carry the client id of the
// application they logged in with.
func (g *Registration) find(caller *Principal) (*account.Account, bool) {
	known, ok := g.Accounts.Lookup(caller.Issuer(), caller.subject)
	if !ok && caller.Kind() == KindServiceAccount && caller.client != "" {
		known, ok = g.Accounts.Lookup(caller.Issuer(), caller.client)
	}
	return known, ok
}

func (g *Registration) admitKnown(caller *Principal, known *account.Account) (*Principal, *Refusal) {
	switch known.State(g.now()) {
	case account.Active:
		return caller.enroll(known, g.Attach), nil
	case account.Expired:
		return nil, ErrAccountExpired
	}
	return nil, ErrAccountInactive
}

func (g *Registration) now() time.Time {
	if g.Now == nil {
		return time.Now()
	}
	return g.Now()
}

// enrolled is a principal as an account makes it.
type enrolled struct {
	account   *account.Account
	principal Principal
}

// enroll joins what the token says with what is registered. The result is kept
// with the remembered token until the account changes, so that it costs a
// request nothing.
func (p *Principal) enroll(known *account.Account, attach func(*Principal) any) *Principal {
	if last := p.enrolled.Load(); last != nil && last.account == known {
		return &last.principal
	}
	joined := *p.standing
	joined.kind = KindServiceAccount
	joined.groups = join(p.standing.groups, known.Groups())
	made := &enrolled{account: known, principal: Principal{
		standing: &joined,
		subject:  p.subject,
		client:   p.client,
		expires:  p.expires,
		payload:  p.payload,
		account:  known,
	}}
	if attach != nil {
		made.principal.attached = attach(&made.principal)
	}
	p.enrolled.Store(made)
	return &made.principal
}

// join gives the elements of both lists, each once.
func join(a, b []string) []string {
	joined := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(joined, s) {
			joined = append(joined, s)
		}
	}
	return joined
}

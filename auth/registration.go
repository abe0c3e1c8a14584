package auth

import (
	"cmp"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// Accounts are the known service accounts. Looking one up takes no lock and
// waits for nothing.
type Accounts interface {
	// Lookup finds the account of a name, a subject or a client id, at an issuer.
	Lookup(issuer, subject string) (*account.Account, bool)

	// Version changes whenever an answer of Lookup does, before it does: what is
	// looked up after asking for the version is never older than it.
	Version() uint64

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

	// Revocations say which tokens were revoked; nil: none are. They are asked for their
	// version with every request, and about a token when that has changed.
	Revocations Revocations

	// Required refuses machines that are not registered, and callers whose kind is
	// unclear.
	Required bool

	// RequiredOf says by the name of an issuer what counts for its tokens instead of
	// Required. Default: nothing else for any.
	RequiredOf map[string]bool
}

// requires reports whether the machines of a token's issuer must be registered.
func (g *Registration) requires(token *Token) bool {
	if required, found := g.RequiredOf[token.Issuer()]; found {
		return required
	}
	return g.Required
}

// Admit gives the principal that a token's caller is with what is registered
// about it now, or the refusal.
//
// What the accounts say of a caller is kept with the cached token until they change: among a million, looking it up anew touches half a dozen places that
// are in no processor's cache.
func (g *Registration) Admit(token *Token, now time.Time) (*Principal, *Refusal) {
	if g.Revocations != nil && token.unrevoked.Load() != g.Revocations.Version() {
		if refusal := g.lookRevoked(token); refusal != nil {
			return nil, refusal
		}
	}
	version := g.Accounts.Version() // before looking up: what changes meanwhile is seen next time
	p := token.admitted.Load()
	if p == nil || p.version.Load() != version {
		known := g.find(token)
		if same := p != nil && p.profile.registered == known; same {
			p.version.Store(version)
		} else {
			p = token.principal(token.profile.with(known))
			p.version.Store(version)
			token.admitted.Store(p)
		}
	}
	if now.Unix() >= p.profile.activeTill {
		if refusal := g.refuse(p, now); refusal != nil {
			return nil, refusal
		}
	}
	return p, nil
}

// refuse gives the refusal of a principal whose account is not good now, or who
// lacks one.
func (g *Registration) refuse(p *Principal, now time.Time) *Refusal {
	registered := &p.profile.registered
	for _, known := range []*account.Account{registered.account, registered.other} {
		if known == nil {
			continue
		}
		switch known.Status(now) {
		case account.StatusInactive:
			return ErrAccountInactive
		case account.StatusExpired:
			return ErrAccountExpired
		}
	}
	switch {
	case registered.bond >= registers, p.Kind() == KindUser, !g.requires(p.Token):
		return nil
	case !g.Accounts.Loaded():
		return ErrAccountsUnavailable
	case p.Kind() == KindUnclear:
		return p.profile.authority.unclear
	}
	return ErrAccountUnknown
}

// bond is what an account is to a caller: the more, the greater.
type bond uint8

const (
	// stranger: nothing.
	stranger bond = iota
	// restricts: it has the caller's name, but perhaps is somebody else's. Where it
	// is not good any more the caller is refused, and that is all: names that others
	// choose give no rights.
	restricts
	// registers: if the caller is a machine, the account is its own. It counts as
	// registered, and is given nothing.
	registers
	// owns: the account is the caller's own.
	owns
)

// registered is what is registered about a caller. The zero value is nothing.
type registered struct {
	account *account.Account // with the greatest bond
	other   *account.Account // another one, which can only refuse
	bond    bond             // to account
}

// find gives what is registered about a token's caller, by its subject and by
// its client id.
func (g *Registration) find(token *Token) (found registered) {
	subject, client := token.Subject(), token.ClientID()
	for i, name := range [...]string{subject, client} {
		if i > 0 && (name == "" || name == subject) {
			continue
		}
		known, ok := g.Accounts.Lookup(token.Issuer(), name)
		if !ok {
			continue
		}
		bond := bondOf(known.Traits().By, token.profile.kind, name == subject, name == client)
		if bond > restricts && !token.profile.authority.isMeant(known) {
			bond = restricts
		}
		switch {
		case bond > found.bond:
			found.account, found.other, found.bond = known, found.account, bond
		case bond > stranger:
			found.other = known
		}
	}
	return found
}

// bondOf is what an account is to a caller of a kind, who bears its name as a
// subject, as a client, or as both. Only machines are found by their client id:
// people carry that of the application they logged in with. And who is not known
// to be a machine may have chosen a subject that is the name of one.
func bondOf(by account.By, kind Kind, subject, client bool) bond {
	person, machine := kind == KindUser, kind == KindServiceAccount
	switch {
	case subject && by == account.BySubject:
		return owns
	case by == account.BySubject, by == account.ByClient && !client, person && !subject:
		return stranger
	case machine:
		return owns
	case !person:
		return registers
	case by == account.ByClient:
		return stranger
	}
	return restricts
}

// isMeant tells whether the issuer is still the one that the account was
// registered for, and not another one of that name.
func (a *authority) isMeant(known *account.Account) bool {
	identifier := known.Traits().Identifier
	return identifier == "" || identifier == a.Issuer
}

// shown says what is registered about a token's caller.
func (g *Registration) shown(token *Token, now time.Time) string {
	found := g.find(token)
	known := found.account
	switch {
	case known == nil:
	case !token.profile.authority.isMeant(known):
		return string(known.Status(now)) + " as " + cmp.Or(known.Subject(), "unknown") + ", but for the issuer " + known.Traits().Identifier +
			", which had the name " + token.Issuer() + ": confirm the account if this issuer is meant"
	case found.bond == owns:
		return string(known.Status(now)) + " as " + known.Subject()
	default:
		return string(known.Status(now)) + " as " + cmp.Or(known.Subject(), "unknown") + ", by a name that does not tell a machine from a person"
	}
	switch {
	case !g.Accounts.Loaded():
		return "the accounts have not been read yet"
	case token.profile.kind == KindUnclear:
		return "neither registered nor known to be a person: subject " + cmp.Or(token.Subject(), "unknown") + ", client " + cmp.Or(token.ClientID(), "unknown")
	case token.profile.kind == KindServiceAccount:
		return "a machine that is not registered: subject " + cmp.Or(token.Subject(), "unknown") + ", client " + cmp.Or(token.ClientID(), "unknown")
	}
	return "a person"
}

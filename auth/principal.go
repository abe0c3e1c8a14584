package auth

import (
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// Principal is a caller whose token was verified, with what is registered about
// it. It is shared by requests with that token and never changes but for its mark.
type Principal struct {
	// Token is what the caller brought. It has the caller's issuer and names.
	*Token

	profile *profile
	version atomic.Uint64 // of the accounts, by which this is so

	// Mark is room for a word of whoever lets the principal's requests in, such as that
	// this caller was counted; 0 at first.
	Mark atomic.Uint64
}

// IsPerson tells whether the caller counts as a person: it is one, or could be one and
// is not registered as a service account.
func (p *Principal) IsPerson() bool {
	return p.Kind() == KindUser || p.Kind() == KindUnclear && p.profile.registered.bond < registers
}

// Kind tells a person from a machine, as far as the token and the accounts do.
func (p *Principal) Kind() Kind { return p.profile.kind }

// HasIDTokenMarks tells whether the token looks like an ID token, which is let in
// only where [Policy.AcceptIDTokens] says so.
func (p *Principal) HasIDTokenMarks() bool { return p.profile.idToken }

// Account is the caller's own account; nil: it has none.
func (p *Principal) Account() *account.Account {
	if p.profile.registered.bond < owns {
		return nil
	}
	return p.profile.registered.account
}

// ID names the caller for the API: the id of the account it is registered as,
// else its subject.
func (p *Principal) ID() string {
	if own := p.Account(); own != nil {
		return own.ID()
	}
	return p.Subject()
}

// Groups lists the caller's groups. The slice must not be changed.
func (p *Principal) Groups() []string { return p.profile.groups.list }

// Scopes lists the token's scopes. The slice must not be changed.
func (p *Principal) Scopes() []string { return p.profile.scopes.list }

// ExpiresAt is the token's exp, in UTC.
func (p *Principal) ExpiresAt() time.Time {
	return time.Unix(p.until-int64(p.profile.authority.leeway), 0).UTC()
}

// Deadline is when the token stops to count: its expiry plus the issuer's
// leeway.
func (p *Principal) Deadline() time.Time { return time.Unix(p.until, 0).UTC() }

// Same tells whether two principals were made from the same claims.
func (p *Principal) Same(other *Principal) bool {
	return p == other || other != nil && p.Issuer() == other.Issuer() && p.Subject() == other.Subject() &&
		p.claims() == other.claims() && p.profile.claims == other.profile.claims
}

// String names the caller without giving away what else the token says; "" for
// nobody.
func (p *Principal) String() string {
	if p == nil {
		return ""
	}
	return p.Subject()
}

package auth

import (
	"strings"
	"time"
)

// Kind is what a caller is.
type Kind string

// The kinds of callers.
const (
	KindUser           Kind = "user"
	KindServiceAccount Kind = "service_account"
)

// Principal is a caller whose token was verified. It is shared by all requests
// with that token and never changes.
type Principal struct {
	token    *remembered
	standing *standing
	attached any
}

// Issuer is the configured name of the token's issuer.
func (p *Principal) Issuer() string { return p.standing.authority.Name }

// Kind tells a person from a machine.
func (p *Principal) Kind() Kind { return p.standing.kind }

// ID names the caller for the API: the id of the account it is registered as,
// else its subject.
func (p *Principal) ID() string {
	if p.standing.account == nil {
		return p.Subject()
	}
	return p.standing.account.ID()
}

// said is the standing by the token alone.
func (p *Principal) said() *standing { return p.token.principal.standing }

// Subject is the caller's name at its issuer; never empty.
func (p *Principal) Subject() string { return p.token.subject.of(p.token.text) }

// ClientID is the OAuth 2.0 client the token was issued to; empty if the token
// does not say.
func (p *Principal) ClientID() string { return p.token.client.of(p.token.text) }

// TokenID is the token's jti; empty if it has none.
func (p *Principal) TokenID() string { return p.claim(claimsKey + "jti").text }

// Groups lists the caller's groups. The slice must not be changed.
func (p *Principal) Groups() []string { return p.standing.groups.list }

// Scopes lists the token's scopes. The slice must not be changed.
func (p *Principal) Scopes() []string { return p.standing.scopes.list }

// ExpiresAt is the token's exp, in UTC.
func (p *Principal) ExpiresAt() time.Time {
	return time.Unix(p.token.until-p.standing.authority.leewaySeconds, 0).UTC()
}

// Deadline is when the token stops to count: its expiry plus the issuer's
// leeway.
func (p *Principal) Deadline() time.Time { return time.Unix(p.token.until, 0).UTC() }

// Attached is what [Registration.Attach] made of this principal; nil if it was
// not admitted.
func (p *Principal) Attached() any { return p.attached }

// claimsKey begins the keys of [Principal.Text] that name a claim by its path.
const claimsKey = "claims."

// PrincipalKeys lists the keys of [Principal.Text] other than claims.<path>.
var PrincipalKeys = []string{
	"id", "kind", "issuer", "client_id", "name", "email", "groups", "scopes", "token_id", "expires_at",
}

// Text gives a property of the principal as one text, for a header or a
// placeholder. Keys are [PrincipalKeys] and claims.<path>; ok tells whether the
// key is one. What the token does not hold is empty. Lists are joined by
// commas; an element that itself holds a comma would fake two, so it is left
// out, and partial says so.
func (p *Principal) Text(key string) (text string, partial, ok bool) {
	switch key {
	case "id":
		return p.Subject(), false, true
	case "kind":
		return string(p.standing.kind), false, true
	case "issuer":
		return p.Issuer(), false, true
	case "client_id":
		return p.ClientID(), false, true
	case "token_id":
		return p.TokenID(), false, true
	case "expires_at":
		return p.ExpiresAt().Format(time.RFC3339), false, true
	case "name":
		if known := p.standing.account; known != nil && known.Name() != "" {
			return known.Name(), false, true
		}
		text, partial = p.claim(claimsKey + "name").joined()
		return text, partial, true
	case "email":
		text, partial = p.claim(claimsKey + "email").joined()
		return text, partial, true
	case "groups":
		text, partial = p.standing.groups.joined()
		return text, partial, true
	case "scopes":
		text, partial = p.standing.scopes.joined()
		return text, partial, true
	}
	if len(key) <= len(claimsKey) || !strings.HasPrefix(key, claimsKey) {
		return "", false, false
	}
	text, partial = p.claim(key).joined()
	return text, partial, true
}

// Claim gives the texts of the claim at a path: one for a string, a number or a
// boolean, one for each such element of an array; none if it is absent. The
// slice must not be changed.
func (p *Principal) Claim(path string) []string { return p.claim(claimsKey + path).list }

// Same tells whether two principals were made from the same claims.
func (p *Principal) Same(other *Principal) bool {
	return p == other || other != nil && p.Issuer() == other.Issuer() &&
		p.token.text == other.token.text && p.standing.claims == other.standing.claims
}

// String names the caller without giving away what else the token says; "" for
// nobody.
func (p *Principal) String() string {
	if p == nil {
		return ""
	}
	return p.Subject()
}

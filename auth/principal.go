package auth

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
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
	standing *standing
	subject  string
	client   string
	expires  int64            // exp, Unix seconds
	payload  string           // the JSON of the claims
	account  *account.Account // that it is registered as; nil: none
	recalled atomic.Pointer[recalled]
	enrolled atomic.Pointer[enrolled]
	attached any
}

// standing is what a token says that many tokens say alike. It never changes,
// so that one copy serves them all.
type standing struct {
	issuer string
	kind   Kind
	leeway int64 // seconds
	groups []string
	scopes []string
}

// Issuer is the configured name of the token's issuer.
func (p *Principal) Issuer() string { return p.standing.issuer }

// Kind tells a person from a machine.
func (p *Principal) Kind() Kind { return p.standing.kind }

// ID names the caller for the API: the id of the account it is registered as,
// else its subject.
func (p *Principal) ID() string {
	if p.account == nil {
		return p.subject
	}
	return p.account.ID()
}

// Subject is the caller's name at its issuer; never empty.
func (p *Principal) Subject() string { return p.subject }

// ClientID is the OAuth 2.0 client the token was issued to; empty if the token
// does not say.
func (p *Principal) ClientID() string { return p.client }

// TokenID is the token's jti; empty if it has none.
func (p *Principal) TokenID() string { return p.claim(claimsKey + "jti").text }

// Groups lists the caller's groups. The slice must not be changed.
func (p *Principal) Groups() []string { return p.standing.groups }

// Scopes lists the token's scopes. The slice must not be changed.
func (p *Principal) Scopes() []string { return p.standing.scopes }

// ExpiresAt is the token's exp, in UTC.
func (p *Principal) ExpiresAt() time.Time { return time.Unix(p.expires, 0).UTC() }

// Deadline is when the token stops to count: its expiry plus the issuer's
// leeway.
func (p *Principal) Deadline() time.Time { return time.Unix(p.lastMoment(), 0).UTC() }

// lastMoment is the [Principal.Deadline] in Unix seconds.
func (p *Principal) lastMoment() int64 { return p.expires + p.standing.leeway }

// Attached is what [VerifierConfig.Attach] made of this principal.
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
		return p.subject, false, true
	case "kind":
		return string(p.standing.kind), false, true
	case "issuer":
		return p.standing.issuer, false, true
	case "client_id":
		return p.client, false, true
	case "token_id":
		return p.TokenID(), false, true
	case "expires_at":
		return p.ExpiresAt().Format(time.RFC3339), false, true
	case "name":
		if p.account != nil && p.account.Name() != "" {
			return p.account.Name(), false, true
		}
		text, partial = p.claim(claimsKey + "name").joined()
		return text, partial, true
	case "email":
		text, partial = p.claim(claimsKey + "email").joined()
		return text, partial, true
	case "groups":
		text, partial = p.recall(key, func() values { return newValues(p.standing.groups, true) }).joined()
		return text, partial, true
	case "scopes":
		text, partial = p.recall(key, func() values { return newValues(p.standing.scopes, true) }).joined()
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

// claim takes the path with claimsKey before it, so that nothing is put
// together on the path of a request.
func (p *Principal) claim(key string) values {
	return p.recall(key, func() values { return p.readClaim(key[len(claimsKey):]) })
}

func (p *Principal) readClaim(path string) values {
	claims, ok := parseClaims([]byte(p.payload))
	if !ok {
		return values{}
	}
	value, ok := claims.lookup(path)
	if !ok {
		return values{}
	}
	return newValues(scalars(value))
}

// Same tells whether two principals were made from the same claims.
func (p *Principal) Same(other *Principal) bool {
	return p == other || other != nil && p.standing.issuer == other.standing.issuer && p.payload == other.payload
}

// String names the caller without giving away what else the token says; "" for
// nobody.
func (p *Principal) String() string {
	if p == nil {
		return ""
	}
	return p.subject
}

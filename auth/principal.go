package auth

import (
	"cmp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"
)

// Kind is what a caller is.
type Kind string

// The kinds of callers.
const (
	KindUser           Kind = "user"
	KindServiceAccount Kind = "service_account"

	// KindUnclear is a caller of whom the token does not tell. It is let in only
	// where both kinds would be.
	KindUnclear Kind = "unclear"
)

// Principal is a caller whose token was verified, with what is registered about
// it. It is shared by requests with that token and never changes but for its mark.
type Principal struct {
	token   *Token
	profile *profile
	version atomic.Uint64 // an [account.Version] by which this is so

	// Mark is room for a word of whoever lets the principal's requests in, such as that
	// this caller was counted; 0 at first.
	Mark atomic.Uint64
}

// IsPerson tells whether the caller counts as a person: it is one, or could be one and
// is not registered as a service account.
func (p *Principal) IsPerson() bool {
	return p.Kind() == KindUser || p.Kind() == KindUnclear && p.profile.registered.bond < registers
}

// Issuer is the configured name of the token's issuer.
func (p *Principal) Issuer() string { return p.profile.authority.Name }

// Kind tells a person from a machine, as far as the token and the accounts do.
func (p *Principal) Kind() Kind { return p.profile.kind }

// HasIDTokenMarks tells whether the token looks like an ID token, which is let in
// only where [Policy.AcceptIDTokens] says so.
func (p *Principal) HasIDTokenMarks() bool { return p.profile.idToken }

// ID names the caller for the API: the id of the account it is registered as,
// else its subject.
func (p *Principal) ID() string {
	if own := p.profile.registered.own(); own != nil {
		return own.ID()
	}
	return p.Subject()
}

// Token is the token that the caller brought.
func (p *Principal) Token() *Token { return p.token }

// Bound is what the caller's token is bound to; the zero value for a bearer's.
func (p *Principal) Bound() bound.Confirmation {
	confirmation, _ := p.token.confirmation() // it was verified
	return confirmation
}

// Subject is the caller's name at its issuer; never empty.
func (p *Principal) Subject() string { return p.token.Subject() }

// ClientID is the OAuth 2.0 client the token was issued to; empty if the token
// does not say.
func (p *Principal) ClientID() string { return p.token.ClientID() }

// Groups lists the caller's groups. The slice must not be changed.
func (p *Principal) Groups() []string { return p.profile.groups.list }

// RegisteredGroups lists the groups of the account that the caller is registered
// as. The slice must not be changed.
func (p *Principal) RegisteredGroups() []string {
	if own := p.profile.registered.own(); own != nil {
		return own.Groups()
	}
	return nil
}

// Scopes lists the token's scopes. The slice must not be changed.
func (p *Principal) Scopes() []string { return p.profile.scopes.list }

// ExpiresAt is the token's exp, in UTC.
func (p *Principal) ExpiresAt() time.Time {
	return time.Unix(p.token.until-int64(p.profile.authority.leeway), 0).UTC()
}

// Deadline is when the token stops to count: its expiry plus the issuer's
// leeway.
func (p *Principal) Deadline() time.Time { return time.Unix(p.token.until, 0).UTC() }

// claimsKey begins the keys of [Principal.Text] that name a claim by its path.
const claimsKey = "claims."

// PrincipalKeys lists the keys of [Principal.Text] other than claims.<path>.
var PrincipalKeys = []string{
	"id", "kind", "issuer", "client_id", "name", "email", "groups", "scopes", "token_id", "expires_at", "bound", "key",
}

// Text is a property of a principal as one text.
type Text struct {
	// Value is empty if the token does not say.
	Value string

	// Partial tells that an element of a list was left out: it holds a comma
	// itself and would fake two, or has a blank at an end, which no header carries.
	Partial bool

	// Plain tells that a header carries it unchanged: no control character is in
	// it, and no blank at an end. False says nothing. It saves looking at every
	// byte with every request.
	Plain bool
}

// Text gives a property of the principal for a header or a placeholder. Keys are
// [PrincipalKeys] and claims.<path>; ok tells whether the key is one. Lists are
// joined by commas.
func (p *Principal) Text(key string) (text Text, ok bool) {
	switch key {
	case "id":
		return p.token.entry(atSubject).text, true
	case "kind":
		return Text{Value: string(p.profile.kind), Plain: true}, true
	case "issuer":
		return Text{Value: p.Issuer()}, true
	case "client_id":
		return p.token.entry(atClient).text, true
	case "token_id":
		return Text{Value: p.claim("jti").text.Value}, true
	case "expires_at":
		return Text{Value: p.ExpiresAt().Format(time.RFC3339), Plain: true}, true
	case "name":
		if known := p.profile.registered.own(); known != nil && known.Name() != "" {
			return Text{Value: known.Name()}, true
		}
		return p.claim("name").text, true
	case "email":
		return p.claim("email").text, true
	case "groups":
		return p.profile.groups.text, true
	case "scopes":
		return p.profile.scopes.text, true
	case "bound", "key": // to the key of DPoP proofs before a client certificate
		way, confirmation := BoundDPoP, p.Bound()
		switch {
		case confirmation == (bound.Confirmation{}):
			way = ""
		case confirmation.Thumbprint == "":
			way = BoundMTLS
		}
		if key == "bound" {
			return Text{Value: string(way), Plain: true}, true
		}
		return Text{Value: cmp.Or(confirmation.Thumbprint, confirmation.Certificate), Plain: true}, true
	}
	path, found := strings.CutPrefix(key, claimsKey)
	if !found || path == "" {
		return Text{}, false
	}
	return p.claim(path).text, true
}

// claim gives what the token says at a path: at hand if the plan had the path when
// the token was verified, else read anew.
func (p *Principal) claim(path string) value {
	place := p.profile.authority.plan.place(path)
	if place < 0 || place >= int(p.token.planned) {
		return p.readClaim(path)
	}
	if v := p.token.entry(atPlanned + place); v.form != formUnread {
		return v
	}
	return p.readClaim(path)
}

// claimHasAny tells whether the claim at a path fits any of the patterns.
func (p *Principal) claimHasAny(path string, wanted patterns) bool {
	v := p.claim(path)
	if v.text.Partial && v.list == nil {
		v = p.readClaim(path) // its text does not tell all
	}
	for text := range v.elements {
		if wanted.match(text) {
			return true
		}
	}
	return false
}

// readClaim reads a claim anew.
func (p *Principal) readClaim(path string) value {
	for _, part := range []string{p.token.claims(), p.profile.claims} {
		claims, _ := parseClaims([]byte(part)) // it was made of what was read
		if found, ok := claims.lookup(path); ok {
			return newValue(found)
		}
	}
	return value{}
}

// Same tells whether two principals were made from the same claims.
func (p *Principal) Same(other *Principal) bool {
	return p == other || other != nil && p.Issuer() == other.Issuer() && p.Subject() == other.Subject() &&
		p.token.claims() == other.token.claims() && p.profile.claims == other.profile.claims
}

// String names the caller without giving away what else the token says; "" for
// nobody.
func (p *Principal) String() string {
	if p == nil {
		return ""
	}
	return p.Subject()
}

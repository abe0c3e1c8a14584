package auth

import (
	"bytes"
	"strings"
	"sync/atomic"
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
	issuer     string
	kind       Kind
	subject    string
	client     string
	tokenID    string
	groups     []string
	scopes     []string
	expires    int64 // exp, Unix seconds
	lastMoment int64 // exp + leeway, Unix seconds
	payload    []byte
	recalled   recalled
	attached   any
}

// Issuer is the configured name of the token's issuer.
func (p *Principal) Issuer() string { return p.issuer }

// Kind tells a person from a machine.
func (p *Principal) Kind() Kind { return p.kind }

// Subject is the caller's name at its issuer; never empty.
func (p *Principal) Subject() string { return p.subject }

// ClientID is the OAuth 2.0 client the token was issued to; empty if the token
// does not say.
func (p *Principal) ClientID() string { return p.client }

// TokenID is the token's jti; empty if it has none.
func (p *Principal) TokenID() string { return p.tokenID }

// Groups lists the caller's groups. The slice must not be changed.
func (p *Principal) Groups() []string { return p.groups }

// Scopes lists the token's scopes. The slice must not be changed.
func (p *Principal) Scopes() []string { return p.scopes }

// ExpiresAt is the token's exp, in UTC.
func (p *Principal) ExpiresAt() time.Time { return time.Unix(p.expires, 0).UTC() }

// Deadline is when the token stops to count: its expiry plus the issuer's
// leeway.
func (p *Principal) Deadline() time.Time { return time.Unix(p.lastMoment, 0).UTC() }

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
		return string(p.kind), false, true
	case "issuer":
		return p.issuer, false, true
	case "client_id":
		return p.client, false, true
	case "token_id":
		return p.tokenID, false, true
	case "expires_at":
		return p.ExpiresAt().Format(time.RFC3339), false, true
	case "name":
		text, partial = p.claim(claimsKey + "name").joined()
		return text, partial, true
	case "email":
		text, partial = p.claim(claimsKey + "email").joined()
		return text, partial, true
	case "groups":
		text, partial = p.recall(key, func() values { return newValues(p.groups, true) }).joined()
		return text, partial, true
	case "scopes":
		text, partial = p.recall(key, func() values { return newValues(p.scopes, true) }).joined()
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
	claims, ok := parseClaims(p.payload)
	if !ok {
		return values{}
	}
	value, ok := claims.lookup(path)
	if !ok {
		return values{}
	}
	return newValues(scalars(value))
}

// values is a property's texts and how they look when joined.
type values struct {
	list    []string
	text    string
	partial bool
}

func newValues(list []string, array bool) values {
	v := values{list: list}
	if !array {
		v.text = strings.Join(list, "")
		return v
	}
	whole := make([]string, 0, len(list))
	for _, s := range list {
		if strings.Contains(s, ",") {
			v.partial = true
			continue
		}
		whole = append(whole, s)
	}
	v.text = strings.Join(whole, ",")
	return v
}

func (v values) joined() (string, bool) { return v.text, v.partial }

// recalled holds what was asked of a principal before, so that a remembered
// token's claims are read once and not with every request. What a
// configuration asks for is a handful of fixed paths.
type recalled struct {
	list atomic.Pointer[[]recalledValue]
}

type recalledValue struct {
	key    string
	values values
}

// maxRecalled bounds what one principal recalls; beyond it values are read anew
// each time.
const maxRecalled = 16

func (p *Principal) recall(key string, read func() values) values {
	list := p.recalled.list.Load()
	if list != nil {
		for i := range *list {
			if (*list)[i].key == key {
				return (*list)[i].values
			}
		}
	}
	found := recalledValue{key: key, values: read()}
	if list == nil {
		p.recalled.list.CompareAndSwap(nil, &[]recalledValue{found})
		return found.values
	}
	if len(*list) < maxRecalled {
		longer := append((*list)[:len(*list):len(*list)], found)
		p.recalled.list.CompareAndSwap(list, &longer)
	}
	return found.values
}

// Same tells whether two principals were made from the same claims.
func (p *Principal) Same(other *Principal) bool {
	return p == other || other != nil && p.issuer == other.issuer && bytes.Equal(p.payload, other.payload)
}

// String names the caller without giving away what else the token says; "" for
// nobody.
func (p *Principal) String() string {
	if p == nil {
		return ""
	}
	return p.subject
}

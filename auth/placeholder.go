package auth

import (
	"cmp"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/bound"
)

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
		return p.entry(atSubject).text, true
	case "kind":
		return Text{Value: string(p.profile.kind), Plain: true}, true
	case "issuer":
		return Text{Value: p.Issuer()}, true
	case "client_id":
		return p.entry(atClient).text, true
	case "token_id":
		return Text{Value: p.claim("jti").text.Value}, true
	case "expires_at":
		return Text{Value: p.ExpiresAt().Format(time.RFC3339), Plain: true}, true
	case "name":
		if known := p.Account(); known != nil && known.Name() != "" {
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
		way := BoundDPoP
		confirmation, _ := p.confirmation() // it was verified
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
	if place < 0 || place >= int(p.planned) {
		return p.readClaim(path)
	}
	if v := p.entry(atPlanned + place); v.form != formUnread {
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
	for _, part := range []string{p.claims(), p.profile.claims} {
		claims, _ := parseClaims([]byte(part)) // it was made of what was read
		if found, ok := claims.lookup(path); ok {
			return newValue(found)
		}
	}
	return value{}
}

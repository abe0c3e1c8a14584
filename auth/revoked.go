package auth

import (
	"cmp"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
)

// Revocations are what was revoked. Looking for one takes no lock and waits for
// nothing.
type Revocations interface {
	// Find finds the revocation of a key; nil: there is none that counts now.
	Find(key revocation.Key) *revocation.Revocation

	// IsEmpty tells that there is none at all.
	IsEmpty() bool

	// Version changes whenever an answer of Find gets stricter, before it does.
	Version() uint64

	// Loaded tells whether the revocations were ever read: before that, nobody can
	// say that a token is not revoked.
	Loaded() bool
}

// The refusals of revoked tokens.
var (
	ErrRevoked                = badToken("revoked", "the token was revoked")
	ErrRevocationsUnavailable = define("revocations_unavailable", http.StatusServiceUnavailable, "", "the revocations cannot be read at the moment")
)

// lookRevoked gives the refusal of a token that was revoked. That one was not is kept
// with it until the revocations change.
func (g *Registration) lookRevoked(token *Token) *Refusal {
	version := g.Revocations.Version() // before looking: what changes meanwhile is seen next time
	if !g.Revocations.Loaded() {
		return ErrRevocationsUnavailable
	}
	if g.revoked(token) != nil {
		return ErrRevoked
	}
	token.unrevoked.Store(version)
	return nil
}

// revoked is the revocation that a token falls under; nil: none. A token that does not
// tell when it was issued falls under any of its names.
func (g *Registration) revoked(token *Token) *revocation.Revocation {
	if g.Revocations.IsEmpty() {
		return nil
	}
	issued := int64(math.MinInt64)
	says := Principal{token: token, profile: token.profile}
	if at := says.claim("iat"); at.form == formOne {
		if seconds, err := strconv.ParseFloat(at.text.Value, 64); err == nil {
			issued = int64(math.Floor(seconds))
		}
	}
	authority := token.profile.authority
	sub := ""
	if authority.SubjectClaim != "" && authority.SubjectClaim != "sub" {
		sub = says.claim("sub").text.Value // what its issuer calls it, whatever the subject is here
	}
	names := [...]struct {
		target revocation.Target
		name   string
	}{
		{revocation.Subject, token.Subject()},
		{revocation.Subject, sub},
		{revocation.Session, says.claim("sid").text.Value},
		{revocation.Client, token.ClientID()},
		{revocation.TokenID, says.claim("jti").text.Value},
	}
	for _, n := range names {
		if n.name == "" {
			continue
		}
		found := g.Revocations.Find(revocation.Key{Issuer: authority.Issuer, Target: n.target, Name: n.name})
		if found != nil && issued <= found.IssuedBefore().Unix() {
			return found
		}
	}
	return nil
}

// showRevoked says which revocation a token falls under.
func (g *Registration) showRevoked(token *Token) string {
	found := g.revoked(token)
	switch {
	case !g.Revocations.Loaded():
		return "the revocations have not been read yet"
	case found == nil:
		return "none"
	}
	text := string(found.Key().Target) + " " + cmp.Or(found.Name(), "unknown") + ", issued at or before " + found.IssuedBefore().Format(time.RFC3339) +
		", revocation " + found.ID()
	if found.By() != "" {
		text += " by " + found.By()
	}
	if found.Reason() != "" {
		text += ": " + found.Reason()
	}
	return text
}

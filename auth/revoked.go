package auth

import (
	"cmp"
	"errors"
	"math"
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

// lookRevoked gives the refusal of a token that was revoked. That one was not is kept
// with it until the revocations change.
func (g *Registration) lookRevoked(token *Token) *Refusal {
	version := g.Revocations.Version() // before looking: what changes meanwhile is seen next time
	if !g.Revocations.Loaded() {
		return ErrRevocationsUnavailable
	}
	if g.revoked(token) != nil {
		if _, known := token.issuedAt(); !known {
			return errRevokedUndated
		}
		return ErrRevoked
	}
	token.unrevoked.Store(version)
	return nil
}

// errRevokedUndated is for a token that another login would not mend.
var errRevokedUndated = ErrRevoked.because(errors.New(
	"the token does not say when it was issued, so it counts as issued before the revocation: have the issuer put iat into its tokens, or delete the revocation"))

// issuedAt is when a token was issued, in Unix seconds, if it says so.
func (t *Token) issuedAt() (seconds int64, known bool) {
	says := Principal{Token: t, profile: t.profile}
	at := says.claim("iat")
	if at.form != formOne {
		return math.MinInt64, false
	}
	exact, err := strconv.ParseFloat(at.text.Value, 64)
	if err != nil {
		return math.MinInt64, false
	}
	return int64(math.Floor(exact)), true
}

// revoked is the revocation that a token falls under; nil: none. A token that does not
// tell when it was issued falls under any of its names.
func (g *Registration) revoked(token *Token) *revocation.Revocation {
	if g.Revocations.IsEmpty() {
		return nil
	}
	issued, _ := token.issuedAt()
	says, authority := Principal{Token: token, profile: token.profile}, token.profile.authority
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
		if found != nil && issued <= found.IssuedBefore {
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
	text := string(found.Key().Target) + " " + cmp.Or(found.Name(), "unknown") + ", if issued at or before " + time.Unix(found.IssuedBefore, 0).UTC().Format(time.RFC3339) +
		", revocation " + found.ID()
	if found.By() != "" {
		text += " by " + found.By()
	}
	if found.Reason() != "" {
		text += ": " + found.Reason()
	}
	return text
}

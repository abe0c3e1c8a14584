package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// Caller is who asks the API to do something.
type Caller struct {
	// Principal is nil for a caller of the admin endpoint without a token.
	Principal *auth.Principal

	// Admin tells whether the caller may administer.
	Admin bool
}

// adminEndpoint names callers of the admin endpoint without a token.
const adminEndpoint = "admin-endpoint"

// Name is what the audit log calls the caller: the issuer's name and the
// subject.
func (c Caller) Name() string {
	if c.Principal == nil {
		return adminEndpoint
	}
	return c.Principal.Issuer() + "/" + c.Principal.Subject()
}

// noIssuer says why no token is good here.
func (a *API) noIssuer() string {
	if len(a.services.Issuers) == 0 {
		return "no issuer is configured, so no token is good here: add `issuer https://… { audience … }`"
	}
	return "several issuers are configured: the option `api { issuer … }` must say whose tokens may administer"
}

// trusts tells whether the caller may do everything without a token. A client
// that has none may send the scheme alone, as hoop's command does.
func (p Place) trusts(r *http.Request) bool {
	if !p.Trusted {
		return false
	}
	values := r.Header["Authorization"]
	return len(values) == 0 || len(values) == 1 && strings.EqualFold(strings.TrimSpace(values[0]), "Bearer")
}

// who says which callers an endpoint lets in.
type who int

const (
	anyone   who = iota // no token is looked at
	anyToken            // a good token of the API's issuer
	admins              // … of the admin group
	signers             // … of the group that may sign licenses
)

// authenticate tells who is calling, and refuses callers that are not let in.
func (a *API) authenticate(w http.ResponseWriter, r *http.Request, place Place, who who) (Caller, error) {
	if place.trusts(r) {
		return Caller{Admin: true}, nil
	}
	if a.services.Authenticate == nil {
		return Caller{}, problem(http.StatusForbidden, a.noIssuer())
	}
	principal, refusal := a.services.Authenticate(r, a.groupsOf(who)...)
	if refusal != nil {
		return Caller{Principal: principal}, a.refused(w, refusal)
	}
	return Caller{Principal: principal, Admin: a.services.AdminGroup.check(principal) == nil}, nil
}

// groupsOf names the groups of which a caller must be in one; none: no matter.
func (a *API) groupsOf(who who) []Group {
	switch who {
	case admins:
		return []Group{a.services.AdminGroup}
	case signers:
		return []Group{a.services.SigningGroup}
	}
	return nil
}

// Group is a group whose members may do something over the API.
type Group struct {
	Name string

	// Registered: only accounts make members. The group is a default, and what
	// tokens call groups is for others than the operator to choose.
	Registered bool
}

// check refuses who is no member, and who shows what may be an ID token: whatever
// application somebody logged in to has one.
func (g Group) check(caller *auth.Principal) *auth.Refusal {
	groups := caller.Groups()
	if g.Registered {
		groups = caller.RegisteredGroups()
	}
	switch {
	case !slices.Contains(groups, g.Name):
		return auth.ErrGroup
	case caller.HasIDTokenMarks():
		return auth.ErrTokenType
	}
	return nil
}

// CheckGroups refuses callers who are in none of the groups. Without groups it
// refuses nobody.
func CheckGroups(caller *auth.Principal, groups []Group) (refusal *auth.Refusal) {
	for _, group := range groups {
		if refusal = group.check(caller); refusal == nil {
			return nil
		}
	}
	return refusal
}

// refused words a refusal, with the challenge that belongs to it.
func (a *API) refused(w http.ResponseWriter, refusal *auth.Refusal) error {
	if challenge := (auth.Challenge{Realm: realm}).Header(refusal); challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	return &Problem{Status: refusal.Status, Message: refusal.Message, RetryAfter: refusal.RetryAfter}
}

const realm = "gatehouse"

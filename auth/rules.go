package auth

import (
	"fmt"
	"slices"
	"strings"
)

// Rules is what a route asks of a caller whose token is good. The zero value
// asks nothing more.
type Rules struct {
	// Issuers are the names of the issuers let in; empty means all.
	Issuers []string

	// Audiences: the token must be meant for one of them, besides what its
	// issuer's configuration asks; empty asks nothing.
	Audiences []string

	// Scopes must all be granted.
	Scopes []string

	// Groups are lines of groups: the caller must be in any of each line's.
	Groups [][]string

	// Claims are lines of values: a claim must have any of each line's.
	Claims []ClaimRule

	// ServiceAccount is "only", "deny" or empty for both kinds of callers. Who
	// cannot be told is let in by neither.
	ServiceAccount string
}

// ClaimRule asks for a claim with one of some values. Numbers and booleans are
// compared as they are written in the token; of an array any element will do.
type ClaimRule struct {
	Path   string
	Values []string
}

// Predicate is a compiled set of rules, safe for concurrent use.
type Predicate struct {
	issuers   []string
	audiences []string
	groups    [][]string
	scopes    []string
	claims    []ClaimRule
	machines  string
	scope     *Refusal
}

// Compile checks the rules and makes them ready for the path of a request. The
// error names the rule that makes no sense.
func (r Rules) Compile() (*Predicate, error) {
	if !slices.Contains([]string{"", "only", "deny"}, r.ServiceAccount) {
		return nil, fmt.Errorf("service_account: found %q, expected only or deny", r.ServiceAccount)
	}
	for _, scope := range r.Scopes {
		if !isScopeToken(scope) {
			return nil, fmt.Errorf("scope: %q is no scope: expected printable ASCII without spaces, quotes and backslashes (RFC 6749, section 3.3)", scope)
		}
	}
	p := &Predicate{
		issuers: r.Issuers, audiences: r.Audiences, scopes: r.Scopes,
		groups: r.Groups, claims: r.Claims, machines: r.ServiceAccount,
	}
	for i, line := range r.Groups {
		if len(line) == 0 {
			return nil, fmt.Errorf("group: line %d names no group", i+1)
		}
	}
	for _, claim := range r.Claims {
		if claim.Path == "" || len(claim.Values) == 0 {
			return nil, fmt.Errorf("claim %q: expected a path and at least one value", claim.Path)
		}
	}
	scope := *ErrScope
	scope.Scope = strings.Join(r.Scopes, " ")
	p.scope = &scope
	return p, nil
}

// isScopeToken is RFC 6749, section 3.3: 1*( %x21 / %x23-5B / %x5D-7E ).
func isScopeToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// Check holds the rules against a caller and gives the first refusal, or nil.
// Scopes come last: a client is told to get more of them only where that helps.
// It allocates nothing once the claims it asks for have been read.
func (p *Predicate) Check(caller *Principal) *Refusal {
	if len(p.issuers) > 0 && !slices.Contains(p.issuers, caller.Issuer()) {
		return ErrIssuer
	}
	if len(p.audiences) > 0 && !caller.claimHasAny("aud", p.audiences) {
		return ErrAudience
	}
	if p.machines != "" && caller.profile.kind == KindUnclear {
		return caller.profile.authority.unclear
	}
	if p.machines == "only" && caller.profile.kind != KindServiceAccount {
		return ErrOnlyMachines
	}
	if p.machines == "deny" && caller.profile.kind == KindServiceAccount {
		return ErrNoMachines
	}
	for _, line := range p.groups {
		if !containsAny(caller.profile.groups.list, line) {
			return ErrGroup
		}
	}
	for i := range p.claims {
		if !caller.claimHasAny(p.claims[i].Path, p.claims[i].Values) {
			return ErrClaim
		}
	}
	for _, scope := range p.scopes {
		if !slices.Contains(caller.profile.scopes.list, scope) {
			return p.scope
		}
	}
	return nil
}

// containsAny tells whether the lists share an element. Both are short.
func containsAny(list, any []string) bool {
	for _, s := range list {
		if slices.Contains(any, s) {
			return true
		}
	}
	return false
}

package caddymodule

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// Access says who is let in where: the part that the handler bearer_auth and
// the provider bearer have in common.
type Access struct {
	// The names of the issuers let in here. Default: all configured ones.
	Issuers []string `json:"issuers,omitempty"`

	// The token must be meant for one of these audiences, in addition to what
	// its issuer's configuration asks. Default: nothing more.
	Audiences []string `json:"audiences,omitempty"`

	// Scopes that the token must all have. Default: none.
	Scopes []string `json:"scopes,omitempty"`

	// Lines of groups: the caller must be in any group of each line. Default:
	// none.
	Groups [][]string `json:"groups,omitempty"`

	// Lines of claims: each must have any of its values. Default: none.
	Claims []Claim `json:"claims,omitempty"`

	// `only` lets in service accounts only, `deny` none. Default: both kinds of
	// callers.
	ServiceAccount string `json:"service_account,omitempty"`

	// Names the protected space in challenges. Default: gatehouse.
	Realm string `json:"realm,omitempty"`

	entrance  *entrance // outlives the app for requests that end late
	predicate *auth.Predicate
}

// Claim asks for a claim with one of some values.
type Claim struct {
	// The claim: a dotted path into nested claims. Numbers and booleans are
	// compared as they are written, of an array any element will do.
	Path string `json:"path,omitempty"`

	// The values of which any will do.
	Values []string `json:"values,omitempty"`
}

const defaultRealm = "gatehouse"

func (a *Access) provision(app *App) error {
	a.entrance = app.entrance
	names := app.issuerNames()
	for _, name := range a.Issuers {
		if !slices.Contains(names, name) {
			return fmt.Errorf("issuer: found %q, expected one of the configured names: %s", name, strings.Join(names, ", "))
		}
	}
	var r resolver
	rules := auth.Rules{
		Issuers:        a.Issuers,
		Audiences:      r.list("audience", a.Audiences),
		Scopes:         a.Scopes,
		Groups:         a.Groups,
		ServiceAccount: a.ServiceAccount,
	}
	if r.err != nil {
		return r.err
	}
	for _, claim := range a.Claims {
		rules.Claims = append(rules.Claims, auth.ClaimRule{Path: claim.Path, Values: claim.Values})
	}
	predicate, err := rules.Compile()
	a.predicate = predicate
	return err
}

func (a *Access) realm() string {
	if a.Realm == "" {
		return defaultRealm
	}
	return a.Realm
}

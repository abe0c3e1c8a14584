package caddymodule

import (
	"errors"
	"fmt"
	"net/http"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// MatchPrincipal matches requests by who is calling. It must stand behind
// bearer_auth (inside `route`, or in a directive that comes later): where no
// bearer_auth has run yet it fails the request instead of saying no. An
// anonymous request never matches.
//
// In expressions: `principal({'kind': 'service_account', 'group': ['ops', 'dev']})`.
type MatchPrincipal struct {
	// `user` or `service_account`. Default: both.
	Kind string `json:"kind,omitempty"`

	// Lines of groups: the caller must be in any group of each line. A `*` stands
	// for what is left out, as in the rules of bearer_auth.
	Groups [][]string `json:"groups,omitempty"`

	// Scopes that the token must all have.
	Scopes []string `json:"scopes,omitempty"`

	// Lines of scopes: the token must have any scope of each line.
	AnyScopes [][]string `json:"any_scopes,omitempty"`

	predicate *auth.Predicate
}

// CaddyModule tells Caddy about the matcher.
func (MatchPrincipal) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.matchers.principal", New: func() caddy.Module { return new(MatchPrincipal) }}
}

// Provision compiles the rules.
func (m *MatchPrincipal) Provision(ctx caddy.Context) error {
	if err := checkPlacement(ctx); err != nil {
		return err
	}
	err := m.check()
	if err == nil {
		m.predicate, err = m.rules().Compile()
	}
	if err != nil {
		return fmt.Errorf("principal: %w", err)
	}
	return nil
}

func (m *MatchPrincipal) rules() auth.Rules {
	rules := auth.Rules{Groups: m.Groups, Scopes: m.Scopes, AnyScopes: m.AnyScopes}
	switch m.Kind {
	case string(auth.KindServiceAccount):
		rules.ServiceAccount = "only"
	case string(auth.KindUser):
		rules.ServiceAccount = "deny"
	}
	return rules
}

func (m *MatchPrincipal) check() error {
	if err := kinds.Check("kind", m.Kind); err != nil {
		return err
	}
	_, err := m.rules().Compile()
	return err
}

// errNotAsked makes a misplaced matcher fail instead of saying no, which might
// let in someone whom it was meant to keep out.
var errNotAsked = errors.New("the matcher principal was asked where no bearer_auth has run yet: put it behind bearer_auth, inside a `route` block if the directive sorts before it")

// MatchWithError tells whether the caller is meant.
func (m *MatchPrincipal) MatchWithError(r *http.Request) (bool, error) {
	caller, asked := principalOf(r)
	if !asked {
		return false, caddyhttp.Error(http.StatusInternalServerError, errNotAsked)
	}
	return caller != nil && m.predicate.Check(caller) == nil, nil
}

// CELLibrary makes the matcher a function of expressions.
func (*MatchPrincipal) CELLibrary(ctx caddy.Context) (cel.Library, error) {
	return caddyhttp.CELMatcherImpl(
		"principal", "principal_match_request_map", []*cel.Type{caddyhttp.CELTypeJSON},
		func(data ref.Val) (caddyhttp.RequestMatcherWithError, error) {
			m, err := principalFromCEL(data)
			if err != nil {
				return nil, err
			}
			return m, m.Provision(ctx)
		},
	)
}

func principalFromCEL(data ref.Val) (*MatchPrincipal, error) {
	options, err := caddyhttp.CELValueToMapStrList(data)
	if err != nil {
		return nil, fmt.Errorf("principal: expected a text or a list of texts for each of kind, group, scope and any_scope: %w", err)
	}
	m := new(MatchPrincipal)
	for key, words := range options {
		switch {
		case key == "kind" && len(words) == 1:
			m.Kind = words[0]
		case key == "group":
			m.Groups = append(m.Groups, words)
		case key == "scope":
			m.Scopes = append(m.Scopes, words...)
		case key == "any_scope":
			m.AnyScopes = append(m.AnyScopes, words)
		default:
			return nil, fmt.Errorf("principal: found %q, expected kind (one text), group, scope or any_scope", key)
		}
	}
	return m, nil
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchPrincipal)(nil)
	_ caddyfile.Unmarshaler             = (*MatchPrincipal)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchPrincipal)(nil)
	_ caddyhttp.CELLibraryProducer      = (*MatchPrincipal)(nil)
)

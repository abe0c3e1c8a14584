package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuers"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
)

// principalVar is the request variable that holds the caller: absent where no
// bearer_auth has run yet, a nil *auth.Principal for an anonymous request.
const principalVar = "gatehouse.principal"

// userPlaceholder begins the placeholders that tell who is calling; Caddy's own
// authentication uses the same.
const userPlaceholder = "http.auth.user."

// principalOf gives the caller; asked is false where no bearer_auth has run.
func principalOf(r *http.Request) (caller *auth.Principal, asked bool) {
	caller, asked = caddyhttp.GetVar(r.Context(), principalVar).(*auth.Principal)
	return caller, asked
}

// setPrincipal makes the caller known to matchers and placeholders. Where an
// outer bearer_auth has let in a caller already, this must be the same one:
// nothing could tell which of two identities is meant.
func setPrincipal(r *http.Request, caller *auth.Principal) *auth.Refusal {
	vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any) // once: a context is a chain to walk
	outer, asked := vars[principalVar].(*auth.Principal)
	if outer != nil {
		if !outer.Same(caller) {
			return auth.ErrTwoTokens
		}
		return nil
	}
	vars[principalVar] = caller
	if asked {
		return nil // the anonymous request's placeholders read the variable
	}
	repl := replacerOf(r)
	repl.DeleteByPrefix(userPlaceholder)
	repl.Map(func(key string) (any, bool) { return resolvePrincipal(caller, key) })
	return nil
}

// admitAnonymous makes the placeholders empty where no caller is known yet. They are
// filled if an inner bearer_auth lets one in.
func admitAnonymous(r *http.Request) {
	if _, asked := principalOf(r); asked {
		return
	}
	repl := replacerOf(r)
	caddyhttp.SetVar(r.Context(), principalVar, (*auth.Principal)(nil))
	repl.Map(func(key string) (any, bool) {
		if caller, _ := principalOf(r); caller != nil {
			return resolvePrincipal(caller, key)
		}
		name, found := strings.CutPrefix(key, userPlaceholder)
		return "", found && isPrincipalKey(name)
	})
}

// replacerOf gives the request's replacer, which Caddy's server puts there.
func replacerOf(r *http.Request) *caddy.Replacer {
	return r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

func resolvePrincipal(caller *auth.Principal, key string) (any, bool) {
	name, found := strings.CutPrefix(key, userPlaceholder)
	if !found {
		return nil, false
	}
	text, ok := caller.Text(name)
	if !ok {
		return nil, false
	}
	return text.Value, true
}

// isPrincipalKey tells whether a placeholder's last part names a property of a
// principal.
func isPrincipalKey(name string) bool {
	path, isClaim := strings.CutPrefix(name, "claims.")
	return isClaim && path != "" || slices.Contains(auth.PrincipalKeys, name)
}

// ourPlaceholder finds the placeholders that are Gatehouse's, or look like it.
var ourPlaceholder = regexp.MustCompile(`\{(http\.(?:auth|license)\.[^{}\s]*)\}`)

// checkHeaderValue refuses misspelt placeholders: they would be empty, and the upstream
// would take every caller for anonymous.
func checkHeaderValue(value string) error {
	for _, found := range ourPlaceholder.FindAllStringSubmatch(value, -1) {
		if right := expectedPlaceholder(found[1]); right != "" {
			return fmt.Errorf("found %s, expected %s", found[0], right)
		}
	}
	return nil
}

// expectedPlaceholder says what would be right instead of a placeholder that neither
// Gatehouse nor Caddy's own authentication fills in; empty if one of them does.
func expectedPlaceholder(name string) string {
	if key, ours := strings.CutPrefix(name, licensing.PlaceholderPrefix); ours {
		if slices.Contains(licensing.Placeholders, key) {
			return ""
		}
		return fmt.Sprintf("{%s…} with one of %s", licensing.PlaceholderPrefix, strings.Join(licensing.Placeholders, ", "))
	}
	if key, ours := strings.CutPrefix(name, userPlaceholder); ours && isPrincipalKey(key) ||
		name == reasonPlaceholder || name == rulePlaceholder || strings.HasPrefix(name, "http.auth.candidate.") {
		return ""
	}
	if provider, failed := strings.CutSuffix(strings.TrimPrefix(name, "http.auth."), ".error"); failed {
		if _, err := caddy.GetModule("http.authentication.providers." + provider); err == nil {
			return "" // the error of a provider
		}
	}
	return fmt.Sprintf("{%s…} with one of %s or claims.<path>, or {%s}, {%s}", userPlaceholder, strings.Join(auth.PrincipalKeys, ", "), reasonPlaceholder, rulePlaceholder)
}

// MatchPrincipal matches requests by who is calling. It must stand behind
// bearer_auth (inside `route`, or in a directive that comes later): where no
// bearer_auth has run yet it fails the request instead of saying no. An
// anonymous request never matches.
//
// In expressions: `principal({'kind': 'service_account', 'group': ['ops', 'dev']})`.
type MatchPrincipal struct {
	// The names of issuers: the token must be of one of them. Default: any.
	Issuers []string `json:"issuers,omitempty"`

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
	if len(m.Issuers) > 0 && err == nil {
		var a *authenticator
		if a, err = authenticatorOf(ctx); err == nil {
			err = a.checkNames(m.Issuers)
		}
	}
	if err == nil {
		m.predicate, err = m.rules().Compile()
	}
	if err != nil {
		return fmt.Errorf("principal: %w", err)
	}
	return nil
}

func (m *MatchPrincipal) rules() auth.Rules {
	rules := auth.Rules{Issuers: m.Issuers, Groups: m.Groups, Scopes: m.Scopes, AnyScopes: m.AnyScopes}
	switch m.Kind {
	case string(auth.KindServiceAccount):
		rules.ServiceAccount = "only"
	case string(auth.KindUser):
		rules.ServiceAccount = "deny"
	}
	return rules
}

func (m *MatchPrincipal) check() error {
	if err := issuers.Kinds.Check("kind", m.Kind); err != nil {
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
		return nil, fmt.Errorf("principal: expected a text or a list of texts for each of issuer, kind, group, scope and any_scope: %w", err)
	}
	m := new(MatchPrincipal)
	for key, words := range options {
		switch {
		case key == "issuer":
			m.Issuers = append(m.Issuers, words...)
		case key == "kind" && len(words) == 1:
			m.Kind = words[0]
		case key == "group":
			m.Groups = append(m.Groups, words)
		case key == "scope":
			m.Scopes = append(m.Scopes, words...)
		case key == "any_scope":
			m.AnyScopes = append(m.AnyScopes, words)
		default:
			return nil, fmt.Errorf("principal: found %q, expected issuer, kind (one text), group, scope or any_scope", key)
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

package caddymodule

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/auth"
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

package auth

import (
	"cmp"
	"net/http"
	"strings"
)

// Challenge words the WWW-Authenticate header of a protected route (RFC 6750,
// section 3; RFC 9728, section 5.1).
type Challenge struct {
	// Realm names the protected space; empty leaves the parameter out.
	Realm string

	// Scope lists the scopes that the route asks for, separated by spaces, so
	// that who has no good token yet asks for one with them (RFC 6750, section 3).
	// Empty: none.
	Scope string

	// ResourceMetadata is the address of the resource's metadata; empty leaves
	// the parameter out.
	ResourceMetadata string
}

// Header gives the header's value for a refusal, or "" where the refusal is
// answered without a challenge.
func (c Challenge) Header(r *Refusal) string {
	if r.Status >= 500 {
		return ""
	}
	var params []string
	add := func(name, value string) {
		if value != "" {
			params = append(params, name+`="`+quoteEscaper.Replace(value)+`"`)
		}
	}
	add("realm", c.Realm)
	add("error", r.Code)
	if r.Code != "" || r.Status == http.StatusForbidden {
		add("error_description", r.Message)
	}
	if r.Status == http.StatusUnauthorized || r.Code == codeInsufficientScope {
		add("scope", cmp.Or(r.Scope, c.Scope))
	}
	add("resource_metadata", c.ResourceMetadata)
	if len(params) == 0 {
		return "Bearer"
	}
	return "Bearer " + strings.Join(params, ", ")
}

// quoteEscaper writes a quoted-string's content (RFC 9110, section 5.6.4).
var quoteEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

package auth

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
)

// The schemes of challenges. Where a route takes both, both stand beside each other
// (RFC 9449, section 7.1).
const (
	Bearer = "Bearer"
	DPoP   = "DPoP"
)

// Challenge words the WWW-Authenticate header of a protected route (RFC 6750,
// section 3; RFC 9470, section 3; RFC 9728, section 5.1).
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

	// Algorithms are those that DPoP proofs may be signed by, separated by spaces;
	// only the challenge of the scheme DPoP names them.
	Algorithms string
}

// Header gives the header's value for a refusal, or "" where the refusal is
// answered without a challenge.
func (c Challenge) Header(scheme string, r *Refusal) string {
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
	add("acr_values", r.ACR)
	if r.MaxAge > 0 {
		add("max_age", strconv.Itoa(int(r.MaxAge.Seconds())))
	}
	add("resource_metadata", c.ResourceMetadata)
	if scheme == DPoP {
		add("algs", c.Algorithms)
	}
	if len(params) == 0 {
		return scheme
	}
	return scheme + " " + strings.Join(params, ", ")
}

// quoteEscaper writes a quoted-string's content (RFC 9110, section 5.6.4).
var quoteEscaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

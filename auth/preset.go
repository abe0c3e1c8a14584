package auth

import (
	"maps"
	"slices"
	"strings"
)

// preset says which claims an identity provider's tokens use and how its
// machines are told from people.
type preset struct {
	clients []string // the first that is there names the client
	groups  []string // all of these together
	scopes  []string // the first that is there lists the scopes

	// audienceRoles also takes resource_access.<audience>.roles as groups, for
	// the configured audiences only: roles at other clients say nothing here.
	audienceRoles bool

	// clientAsAudience is for providers whose access tokens carry no aud: the
	// client id stands in, and token_use must say that it is an access token.
	clientAsAudience bool

	// kind is set where every token is a machine's.
	kind Kind

	// machine tells a machine's token from a person's.
	machine func(claims claimSet, subject string) bool
}

// generic is used where no preset is named.
var generic = preset{
	clients: clientClaims,
	groups:  []string{"groups"},
	scopes:  []string{"scope", "scp"},
	machine: looksLikeMachine,
}

// clientClaims are the names under which issuers tell the client.
var clientClaims = []string{"azp", "client_id", "appid", "cid"}

var presets = map[string]preset{
	"entra": {
		clients: []string{"azp", "appid"},
		groups:  []string{"roles"},
		scopes:  []string{"scp"},
		machine: func(c claimSet, subject string) bool {
			return c.is("idtyp", "app") || c.is("oid", subject) && !c.present("scp")
		},
	},
	"auth0": {
		clients: []string{"azp", "client_id"},
		groups:  []string{"permissions"},
		scopes:  []string{"scope"},
		machine: func(c claimSet, subject string) bool {
			return c.is("gty", "client-credentials") || c.isClientsSubject(subject)
		},
	},
	"okta": {
		clients: []string{"cid"},
		groups:  []string{"groups"},
		scopes:  []string{"scp"},
		machine: func(c claimSet, subject string) bool { return c.is("cid", subject) },
	},
	"keycloak": {
		clients:       []string{"azp", "client_id"},
		groups:        []string{"realm_access.roles"},
		scopes:        []string{"scope"},
		audienceRoles: true,
		machine: func(c claimSet, _ string) bool {
			username, _ := c.text("preferred_username")
			client, found := strings.CutPrefix(username, serviceAccountPrefix)
			return found && (c.is("azp", client) || c.is("client_id", client))
		},
	},
	"cognito": {
		clients:          []string{"client_id"},
		groups:           []string{"cognito:groups"},
		scopes:           []string{"scope"},
		clientAsAudience: true,
		machine:          func(c claimSet, subject string) bool { return c.is("client_id", subject) },
	},
	"google": {
		clients: []string{"azp"},
		kind:    KindServiceAccount,
	},
	"kubernetes": {
		groups: []string{"kubernetes.io.namespace"},
		kind:   KindServiceAccount,
	},
	"github": {
		groups: []string{"repository"},
		kind:   KindServiceAccount,
	},
}

// Presets lists the names of the presets, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// PresetHasNoAudience tells whether the preset's tokens carry no audience, so
// that a configuration need not name one.
func PresetHasNoAudience(name string) bool { return presets[name].clientAsAudience }

// serviceAccountPrefix begins the user names that Keycloak gives to clients.
const serviceAccountPrefix = "service-account-"

// looksLikeMachine tells a client-credentials or workload token by any of the
// marks that the known providers leave.
func looksLikeMachine(c claimSet, subject string) bool {
	if c.is("gty", "client-credentials") || c.is("idtyp", "app") {
		return true
	}
	for _, name := range clientClaims {
		if c.is(name, subject) {
			return true
		}
	}
	if c.isClientsSubject(subject) || strings.HasPrefix(subject, "system:serviceaccount:") {
		return true
	}
	username, _ := c.text("preferred_username")
	return strings.HasPrefix(username, serviceAccountPrefix)
}

// is tells whether a top-level claim is exactly this string. An empty string is
// no claim's value.
func (c claimSet) is(name, want string) bool {
	if want == "" {
		return false
	}
	s, ok := c.text(name)
	return ok && s == want
}

// isClientsSubject tells whether the subject is "<client>@clients", as Auth0
// writes it.
func (c claimSet) isClientsSubject(subject string) bool {
	client, found := strings.CutSuffix(subject, "@clients")
	if !found {
		return false
	}
	for _, name := range clientClaims {
		if c.is(name, client) {
			return true
		}
	}
	return false
}

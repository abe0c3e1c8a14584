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

	// machine tells a machine's token from a person's, by the claim sub and not
	// by whatever claim the policy calls the subject: the client, say, would
	// make everybody a machine.
	machine func(claims claimSet, sub string) bool
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
		machine: func(c claimSet, sub string) bool {
			return c.is("idtyp", "app") || c.is("oid", sub) && !c.present("scp")
		},
	},
	"auth0": {
		clients: []string{"azp", "client_id"},
		groups:  []string{"permissions"},
		scopes:  []string{"scope"},
		machine: func(c claimSet, sub string) bool {
			return c.is("gty", "client-credentials") || c.isClientsSubject(sub)
		},
	},
	"okta": {
		clients: []string{"cid"},
		groups:  []string{"groups"},
		scopes:  []string{"scp"},
		machine: func(c claimSet, sub string) bool { return c.is("cid", sub) },
	},
	"keycloak": {
		clients:       []string{"azp", "client_id"},
		groups:        []string{"realm_access.roles"},
		scopes:        []string{"scope"},
		audienceRoles: true,
		machine: func(c claimSet, _ string) bool {
			client, found := c.serviceAccountUser()
			return found && (c.isFolded("azp", client) || c.isFolded("client_id", client))
		},
	},
	"cognito": {
		clients:          []string{"client_id"},
		groups:           []string{"cognito:groups"},
		scopes:           []string{"scope"},
		clientAsAudience: true,
		machine:          func(c claimSet, sub string) bool { return c.is("client_id", sub) },
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
func looksLikeMachine(c claimSet, sub string) bool {
	if c.is("gty", "client-credentials") || c.is("idtyp", "app") {
		return true
	}
	for _, name := range clientClaims {
		if c.is(name, sub) {
			return true
		}
	}
	if c.isClientsSubject(sub) || strings.HasPrefix(sub, "system:serviceaccount:") {
		return true
	}
	client, found := c.serviceAccountUser()
	return found && (!c.present("azp") || c.isFolded("azp", client))
}

// serviceAccountUser gives the client whose service account the token names as
// its user. A person may have chosen such a name too, so where the token tells
// the client it was issued to, that must be the same.
func (c claimSet) serviceAccountUser() (client string, found bool) {
	username, _ := c.text("preferred_username")
	return strings.CutPrefix(username, serviceAccountPrefix)
}

// isFolded is like is, but case does not matter: Keycloak lowers user names and
// leaves client ids as they are.
func (c claimSet) isFolded(name, want string) bool {
	s, ok := c.text(name)
	return ok && s != "" && strings.EqualFold(s, want)
}

// isClientsSubject tells whether the subject is "<client>@clients", as Auth0
// writes it.
func (c claimSet) isClientsSubject(sub string) bool {
	client, found := strings.CutSuffix(sub, "@clients")
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

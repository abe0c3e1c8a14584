package auth

import (
	"maps"
	"slices"
)

// preset says which claims an identity provider's tokens use, how its machines
// are told from people, and its access tokens from others.
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

	// machines and persons are the marks of each; any will do.
	machines, persons []mark

	// foreignGroups: others than the operator choose what the groups are called,
	// so that a default such as admin must not count.
	foreignGroups bool

	// nonceInBearer: access tokens may carry a nonce; the claim typ Bearer tells
	// them from ID tokens.
	nonceInBearer bool

	// accessClaims are claims of which every access token has one, and an ID
	// token none.
	accessClaims []string
}

// generic is used where no preset is named.
var generic = preset{
	clients: clientClaims,
	groups:  []string{"groups"},
	scopes:  []string{"scope", "scp"},
	machines: []mark{
		subjectIsClient, subjectAtClients, clientGrant, typeIsApp, tenantObjectAlone,
		kubernetesSubject, clientHost, serviceAccountUser,
	},
	persons: []mark{
		session, methods, personalGrant, subjectOfConnection, typeIsUser, delegatedInEntra, oktaUser, cognitoUser,
	},
}

var presets = map[string]preset{
	"entra": {
		clients:      []string{"azp", "appid"},
		groups:       []string{"roles"},
		scopes:       []string{"scp"},
		machines:     []mark{typeIsApp, objectAlone},
		persons:      []mark{delegated, typeIsUser},
		accessClaims: []string{"azp", "appid"},
	},
	"auth0": {
		clients:      []string{"azp", "client_id"},
		groups:       []string{"permissions"},
		scopes:       []string{"scope"},
		machines:     []mark{clientGrant, subjectAtClients},
		persons:      []mark{subjectOfConnection},
		accessClaims: []string{"azp", "client_id"},
	},
	"okta": {
		clients:      []string{"cid"},
		groups:       []string{"groups"},
		scopes:       []string{"scp"},
		machines:     []mark{subjectIsClient},
		persons:      []mark{oktaUser},
		accessClaims: []string{"cid"},
	},
	"keycloak": {
		clients:       []string{"azp", "client_id"},
		groups:        []string{"realm_access.roles"},
		scopes:        []string{"scope"},
		audienceRoles: true,
		machines:      []mark{clientHost, serviceAccountUser},
		persons:       []mark{session, keycloakName},
		nonceInBearer: true,
	},
	"cognito": {
		clients:          []string{"client_id"},
		groups:           []string{"cognito:groups"},
		scopes:           []string{"scope"},
		clientAsAudience: true,
		machines:         []mark{subjectIsClient},
		persons:          []mark{cognitoUser, cognitoGroups},
	},
	"google": {
		clients: []string{"azp"},
		kind:    KindServiceAccount,
	},
	"kubernetes": {
		groups:        []string{"kubernetes.io.namespace"},
		kind:          KindServiceAccount,
		foreignGroups: true,
	},
	"github": {
		// By its id: the name of a repository that was renamed or deleted can be
		// taken by somebody else.
		groups:        []string{"repository_id"},
		kind:          KindServiceAccount,
		foreignGroups: true,
	},
}

// Presets lists the names of the presets, sorted.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// PresetHasNoAudience tells whether the preset's tokens carry no audience, so
// that a configuration need not name one.
func PresetHasNoAudience(name string) bool { return presets[name].clientAsAudience }

// PresetGroupsAreForeign tells whether others than the operator choose what the
// groups of the preset's tokens are called: whoever may make a namespace named
// admin, say.
func PresetGroupsAreForeign(name string) bool { return presets[name].foreignGroups }

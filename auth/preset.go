package auth

import (
	"errors"
	"maps"
	"slices"
	"strings"
)

// preset says which claims an identity provider's tokens use, how its machines
// are known from people, and its access tokens from others.
type preset struct {
	clients []string // the first that is there names the client
	groups  []string // all of these together
	scopes  []string // the first that is there lists the scopes

	// audienceRoles also takes resource_access.<audience>.roles as groups, for
	// the configured audiences only: roles at other clients say nothing here.
	audienceRoles bool

	// projectRoles takes urn:zitadel:iam:org:project:<audience>:roles as groups, for
	// the same reason, and of an object the names of its members.
	projectRoles bool

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

	// marksOfIDTokens are marks of ID tokens that access tokens bear, too; alike
	// tells that nothing distinguishes the two in every case.
	marksOfIDTokens []string
	alike           bool

	// types are the typ headers that access tokens may have besides the usual ones.
	types []string

	// trustDomain: tokens are known by the trust domain of their subject, and iss may
	// be absent.
	trustDomain bool
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

	// The id tokens of CI jobs. People who log in with GitLab get ID tokens of the
	// same issuer, which tell of no job and are not taken:
	// https://docs.gitlab.com/ci/secrets/id_token_authentication/
	"gitlab": workload("project_id", "job_id", "pipeline_id"),

	// https://support.atlassian.com/bitbucket-cloud/docs/integrate-pipelines-with-resource-servers-using-oidc/
	"bitbucket": workload("repositoryUuid", "stepUuid", "pipelineUuid"),

	// https://circleci.com/docs/openid-connect-tokens/
	"circleci": workload("oidc.circleci.com/project-id", "oidc.circleci.com/project-id"),

	// The pipeline's id stands only in tokens for which it is asked for
	// (--claim pipeline_id): https://buildkite.com/docs/agent/v3/cli-oidc
	"buildkite": workload("pipeline_id", "job_id"),

	// https://developer.hashicorp.com/terraform/cloud-docs/workspaces/dynamic-provider-credentials/workload-identity-tokens
	"terraform": workload("terraform_workspace_id", "terraform_run_id", "terraform_run_phase"),

	// JWT-SVIDs are of workloads only:
	// https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md
	"spiffe": {
		kind:        KindServiceAccount,
		types:       []string{"jose"},
		trustDomain: true,
	},

	// An access token is made like an ID token, with the hash of something random in
	// at_hash. What tells some ID tokens is c_hash. Whether a person logged in, or a
	// machine exchanged its token, no claim says:
	// https://dexidp.io/docs/configuration/tokens/
	"dex": {
		clients:         []string{"azp"},
		groups:          []string{"groups"},
		accessClaims:    []string{"at_hash"},
		marksOfIDTokens: []string{"at_hash", "nonce"},
		alike:           true,
	},

	// An access token is the ID token with azp and uid. Client credentials have a
	// user of their own, or an existing one, but never a session:
	// https://docs.goauthentik.io/docs/add-secure-apps/providers/oauth2/
	"authentik": {
		clients:         []string{"azp"},
		groups:          []string{"groups"},
		scopes:          []string{"scope"},
		machines:        []mark{authentikClient},
		persons:         []mark{session, methods},
		accessClaims:    []string{"uid"},
		marksOfIDTokens: []string{"nonce"},
	},

	// No claim of an access token tells a person from a service user. The roles at a
	// project are given by whoever the project was granted to, too:
	// https://zitadel.com/docs/apis/openidoauth/claims
	"zitadel": {
		clients:       []string{"client_id", "azp"},
		scopes:        []string{"scope"},
		projectRoles:  true,
		foreignGroups: true,
	},
}

// workload is the preset of a service that gives tokens to its jobs only. The group
// is an id, as a name that was given up goes to whoever takes it; and the claims are
// those of which every such token has one.
func workload(group string, claims ...string) preset {
	return preset{groups: []string{group}, kind: KindServiceAccount, foreignGroups: true, accessClaims: claims}
}

// lacks is the refusal of tokens without a claim that access tokens of the preset have.
func (p *preset) lacks(name string) *Refusal {
	claims := p.accessClaims
	if p.clientAsAudience {
		claims = []string{"token_use"}
	}
	return ErrTokenType.because(errors.New("it has no claim " + strings.Join(claims, " or ") + ", as access tokens of the preset " + name + " have: send the access token, or choose the preset of your provider"))
}

// Presets lists the names of the presets, sorted.
var Presets = slices.Sorted(maps.Keys(presets))

// PresetHasTrustDomain tells whether the preset's tokens are known by a trust domain.
func PresetHasTrustDomain(name string) bool { return presets[name].trustDomain }

// GroupsAreForeign tells whether others than the operator say who is in which group
// of the policy's tokens: whoever may make a namespace named admin, say, or gives
// roles in another tenant.
func (p Policy) GroupsAreForeign() bool { return presets[p.Preset].foreignGroups || len(p.Tenants) > 0 }

// presetOf gives the preset a policy names, with what the policy says otherwise
// put in its place.
func presetOf(p Policy) preset {
	chosen, ok := presets[p.Preset]
	if !ok {
		chosen = generic
	}
	if chosen.audienceRoles {
		chosen.groups = slices.Clone(chosen.groups)
		for _, audience := range p.Audiences {
			chosen.groups = append(chosen.groups, "resource_access."+audience+".roles")
		}
	}
	if chosen.projectRoles {
		for _, audience := range p.Audiences {
			chosen.groups = append(chosen.groups, "urn:zitadel:iam:org:project:"+audience+":roles")
		}
	}
	if p.ClientClaim != "" {
		chosen.clients = []string{p.ClientClaim}
	}
	if p.GroupsClaim != "" {
		chosen.groups = []string{p.GroupsClaim}
	}
	if p.ScopesClaim != "" {
		chosen.scopes = []string{p.ScopesClaim}
	}
	if p.Kind != "" {
		chosen.kind = p.Kind
	}
	return chosen
}

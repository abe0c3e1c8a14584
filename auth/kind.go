package auth

import (
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Kind is what a caller is.
type Kind string

// The kinds of callers.
const (
	KindUser           Kind = "user"
	KindServiceAccount Kind = "service_account"

	// KindUnclear is a caller of whom the token does not tell. It is let in only
	// where both kinds would be.
	KindUnclear Kind = "unclear"
)

// KindRule says what callers are whose token has one of the values in a claim.
type KindRule struct {
	Kind Kind

	// Path and Values are those of a [ClaimRule].
	Path   string
	Values []string
}

// traits are what marks are looked for in.
type traits struct {
	claims claimSet

	// subject is the claim sub, and not whatever claim the policy calls the
	// subject: the client, say, would make everybody a machine.
	subject string

	// client is what every claim that names the client says: empty if there is
	// none, or if they disagree.
	client string

	torn bool // they disagree
}

// mark is something in a token by which a machine or a person is known.
type mark struct {
	shown string // for explanations
	holds func(t *traits) bool
}

// clientClaims are the names under which issuers tell the client.
var clientClaims = []string{"azp", "client_id", "appid", "cid"}

// serviceAccountPrefix begins the user names that Keycloak gives to clients.
const serviceAccountPrefix = "service-account-"

// Marks of machines. None holds where the claims that name the client disagree.
var (
	// RFC 9068, section 2.2, leaves it to the issuer how sub names the client.
	subjectIsClient = mark{"sub is the client", func(t *traits) bool { return t.client != "" && t.subject == t.client }}

	// Auth0: https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles
	subjectAtClients = mark{"sub is <client>@clients", func(t *traits) bool { return t.client != "" && t.subject == t.client+"@clients" }}

	// Auth0 and FusionAuth tell the grant.
	clientGrant = mark{"gty is client credentials", func(t *traits) bool { return t.granted("client-credentials", "client_credentials") }}

	// Entra: https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
	typeIsApp   = mark{"idtyp is app", func(t *traits) bool { return t.claims.is("idtyp", "app") }}
	objectAlone = mark{"sub is oid, without scp", func(t *traits) bool {
		return t.claims.is("oid", t.subject) && !t.lists("scp")
	}}
	tenantObjectAlone = mark{"sub is oid, with tid and without scp", func(t *traits) bool {
		return t.says("tid") && objectAlone.holds(t)
	}}

	kubernetesSubject = mark{"sub begins system:serviceaccount:", func(t *traits) bool {
		return strings.HasPrefix(t.subject, "system:serviceaccount:")
	}}

	// Keycloak notes where a client logged in from; nobody else has such notes:
	// https://www.keycloak.org/docs/latest/server_admin/#_service_accounts
	clientHost = mark{"clientHost or clientAddress", func(t *traits) bool { return t.says("clientHost") || t.says("clientAddress") }}

	// A person may be called so, too, but then has a session.
	serviceAccountUser = mark{"preferred_username is service-account-<client>, without sid", func(t *traits) bool {
		name, found := strings.CutPrefix(t.text("preferred_username"), serviceAccountPrefix)
		// Keycloak lowers user names and leaves client ids as they are.
		return found && (t.client == "" || strings.EqualFold(t.client, name)) && !session.holds(t)
	}}
)

// authentikClient is the user that authentik makes for client credentials. A person
// may be called so, too, but then has a session.
var authentikClient = mark{"preferred_username is ak-…-client_credentials, without sid", func(t *traits) bool {
	name := t.text("preferred_username")
	return strings.HasPrefix(name, "ak-") && strings.HasSuffix(name, "-client_credentials") && !session.holds(t)
}}

// Marks of people. What a client may ask for is none (the scope openid, acr),
// and neither is what issuers give to machines, too: auth_time (authentik,
// Cognito), acr (Keycloak), name and email (Google, Zitadel).
var (
	// How somebody authenticated (RFC 8176).
	methods = mark{"amr", func(t *traits) bool { return t.lists("amr") }}

	personalGrant = mark{"gty is the grant of a person", func(t *traits) bool {
		return t.granted("authorization_code", "implicit", "password", "device_code", "urn:ietf:params:oauth:grant-type:device_code")
	}}

	// Auth0: user ids are <connection>|<id>.
	subjectOfConnection = mark{"sub is <connection>|<id>", func(t *traits) bool {
		connection, id, found := strings.Cut(t.subject, "|")
		return found && connection != "" && id != "" && t.client != ""
	}}

	// Entra: scp stands in tokens of people only.
	typeIsUser       = mark{"idtyp is user", func(t *traits) bool { return t.claims.is("idtyp", "user") }}
	delegated        = mark{"scp", func(t *traits) bool { return t.lists("scp") }}
	delegatedInEntra = mark{"scp with tid and oid", func(t *traits) bool { return t.says("tid") && t.says("oid") && delegated.holds(t) }}

	// Okta: uid "isn't included if there is no user bound to the token":
	// https://developer.okta.com/docs/reference/api/oidc/#reserved-claims
	oktaUser = mark{"uid with cid", func(t *traits) bool { return t.says("uid") && t.says("cid") }}

	// Cognito: client credentials have neither:
	// https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html
	cognitoUser   = mark{"username with token_use", func(t *traits) bool { return t.says("username") && t.says("token_use") }}
	cognitoGroups = mark{"cognito:groups", func(t *traits) bool { return t.lists("cognito:groups") }}

	// OpenID Connect's session of somebody who logged in. Keycloak gives a client's
	// own token none, unless it may refresh it; then clientHost tells.
	session = mark{"sid or session_state, without clientHost", func(t *traits) bool {
		return (t.says("sid") || t.says("session_state")) && !clientHost.holds(t)
	}}
	// The user of a client is always called service-account-….
	keycloakName = mark{"preferred_username other than service-account-…", func(t *traits) bool {
		name := t.text("preferred_username")
		return name != "" && !strings.HasPrefix(name, serviceAccountPrefix)
	}}
)

func (t *traits) text(name string) string {
	s, _ := t.claims.text(name)
	return s
}

// says tells whether a claim is a text that is not empty.
func (t *traits) says(name string) bool { return t.text(name) != "" }

// lists tells whether a claim is a text or a list of texts that is not empty.
func (t *traits) lists(name string) bool {
	value, ok := t.claims.get(name)
	return ok && (t.says(name) || len(stringsOf(value)) > 0)
}

// isAudience tells whether the token is for one party only, and that is its name.
func (t *traits) isAudience(name string) bool {
	list, _ := jose.Object(t.claims).List("aud")
	return len(list) == 1 && list[0] == name
}

// granted tells whether gty, a text or a list, is one of the grants.
func (t *traits) granted(grants ...string) bool {
	value, ok := t.claims.get("gty")
	if !ok {
		return false
	}
	list, _ := scalars(value)
	return containsAny(list, grants)
}

// kind tells what the caller is, and by what. Where nothing is known of it, or
// marks of both kinds are there, the kind stays unclear.
func (a *authority) kind(c claimSet) (kind Kind, by string) {
	for _, rule := range a.kinds {
		if value, ok := c.lookup(rule.path); ok {
			if list, _ := scalars(value); slices.ContainsFunc(list, rule.values.match) {
				return rule.kind, "the option kind when " + rule.path
			}
		}
	}
	if a.Kind != "" {
		return a.Kind, "the option kind"
	}
	if a.preset.kind != "" {
		return a.preset.kind, "the preset"
	}
	t := traits{claims: c}
	t.subject = t.text("sub")
	for _, path := range a.clientClaims {
		value, ok := c.lookup(path)
		if !ok || value.Kind() == 'n' {
			continue
		}
		client, ok := stringOf(value)
		t.torn = t.torn || !ok || t.client != "" && t.client != client
		t.client = client
	}
	if t.torn {
		t.client = ""
	}
	machine, person := -1, slices.IndexFunc(a.preset.persons, func(m mark) bool { return m.holds(&t) })
	if !t.torn {
		machine = slices.IndexFunc(a.preset.machines, func(m mark) bool { return m.holds(&t) })
	}
	switch {
	case machine >= 0 && person >= 0:
		return KindUnclear, a.preset.machines[machine].shown + ", but also " + a.preset.persons[person].shown
	case machine >= 0:
		return KindServiceAccount, a.preset.machines[machine].shown
	case person >= 0:
		return KindUser, a.preset.persons[person].shown
	case t.torn:
		return KindUnclear, "none of these claims; the claims that name the client disagree"
	case t.client == "":
		return KindUnclear, "none of these claims; no claim names the client"
	case t.isAudience(t.client):
		return KindUnclear, "none of these claims; the client is " + t.client + ", and so is aud, as in an ID token"
	}
	return KindUnclear, "none of these claims; the client is " + t.client
}

// TellsKinds tells whether the policy says by itself, or by its preset, what the
// callers are; otherwise only the marks of common issuers tell, and a token that
// has none is one of a caller whose kind is unclear.
func (p Policy) TellsKinds() bool {
	named := presets[p.Preset]
	return p.Kind != "" || len(p.Kinds) > 0 || named.kind != "" || len(named.persons) > 0
}

// kindsLookedAt lists what tells the kind of a caller, in the order in which it counts.
func (a *authority) kindsLookedAt() (list []string) {
	for _, rule := range a.Kinds {
		list = append(list, string(rule.Kind)+" when "+rule.Path+" is "+strings.Join(rule.Values, " or "))
	}
	if machines, persons := a.preset.marksShown(); machines != "" {
		list = append(list, "a service account by: "+machines, "a user by: "+persons)
	}
	return list
}

// marksShown lists what tells a machine and a person.
func (p *preset) marksShown() (machines, persons string) {
	shown := func(marks []mark) string {
		list := make([]string, 0, len(marks))
		for _, m := range marks {
			list = append(list, m.shown)
		}
		return strings.Join(list, "; ")
	}
	return shown(p.machines), shown(p.persons)
}

// unclear is the refusal of callers whose kind is unclear, with what to do. name is the
// preset's; empty: none was chosen. What would let everybody in by one word is left to
// the documentation: the token may be an ID token.
func (p *preset) unclear(name string) *Refusal {
	machines, persons := p.marksShown()
	tells := machines != "" || persons != ""
	todo, marks := "name the preset of the provider, or ", "without a preset, "
	switch {
	case name != "" && tells:
		todo, marks = "see whether the preset "+name+" is that of the provider, or ", "by the preset "+name+", "
	case name != "":
		todo = ""
	}
	cause := unclearCause{todo: "first make sure that it is an access token: an ID token has the id of its client in aud; then " + todo +
		"write in the issuer's block `kind user when <claim> <value...>` for what people log in with, and `kind service_account when …` for machines"}
	if tells {
		cause.marks = marks + "a machine is known by: " + machines + "; a person by: " + persons
	}
	return ErrKindUnclear.because(cause)
}

// unclearCause says what to do about a kind that is unclear, and what was looked for.
type unclearCause struct{ todo, marks string }

func (c unclearCause) Error() string {
	if c.marks == "" {
		return c.todo
	}
	return c.todo + "; " + c.marks
}

package issuers

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/introspection"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/securityevents"
)

// Issuer is an issuer of tokens that are accepted, what its tokens must be like
// and where its keys come from. Strings may hold global placeholders such as
// {env.NAME}.
type Issuer struct {
	// The issuer identifier, exactly as tokens carry it in `iss`. A trailing
	// slash matters. With the preset entra it may hold `{tenantid}`, and with the
	// preset spiffe it may be a trust domain, as `spiffe://example.org`. Required.
	Issuer string `json:"issuer,omitempty"`

	// The ids of the tenants that may stand for `{tenantid}` in the identifier, or
	// `any`. Required with `{tenantid}`.
	Tenants []string `json:"tenants,omitempty"`

	// The SPIFFE trust domain that subjects must be of. Default: the identifier's.
	TrustDomain string `json:"trust_domain,omitempty"`

	// What the issuer is called in rules, logs and metrics. Default: the host
	// of the identifier.
	Name string `json:"name,omitempty"`

	// Sets the claim names below for a known provider: entra, auth0, okta,
	// keycloak, cognito, google, kubernetes, github, gitlab, bitbucket, circleci,
	// buildkite, terraform, spiffe, dex, authentik or zitadel. Default: what most
	// providers use.
	Preset string `json:"preset,omitempty"`

	// The token's `aud` must hold one of these. Required, except with the
	// preset cognito, whose tokens have none: there these are client ids.
	Audiences []string `json:"audiences,omitempty"`

	// Where the key set is. Default: found by OpenID Connect discovery, else
	// by authorization server metadata (RFC 8414).
	JWKSURI string `json:"jwks_uri,omitempty"`

	// A file to read the key set from, with no use of the network; a changed
	// file is seen within 5 seconds. Excludes `jwks_uri`.
	JWKSFile string `json:"jwks_file,omitempty"`

	// The signature algorithms that are accepted, of RS256, RS384, RS512,
	// PS256, PS384, PS512, ES256, ES384, ES512 and EdDSA. The key must be for
	// the algorithm in any case. Default: all of these.
	Algorithms []string `json:"algorithms,omitempty"`

	// How far the issuer's clock may be off. Default: 30s; 0s is honored.
	Leeway *caddy.Duration `json:"leeway,omitempty"`

	// Refuses tokens whose lifetime (exp - iat) is longer. Default: no limit.
	MaxLifetime caddy.Duration `json:"max_lifetime,omitempty"`

	// Requires this `typ` of the token's header, such as `at+jwt`. Default:
	// `at+jwt`, and `JWT` or none without any mark of another kind of token.
	TokenType string `json:"token_type,omitempty"`

	// `accept` also takes tokens with the marks of ID tokens, for issuers whose
	// access tokens look like those. Then whatever application
	// somebody logs in to can act for them here, if it is one of the audiences.
	// Such tokens never administer the API. Default: refuse.
	IDTokens string `json:"id_tokens,omitempty"`

	// Which tokens are let in that are bound to a key (RFC 7800), whose senders must
	// show that they hold it: `optional` those and others, `required` only those,
	// `dpop` or `mtls` only those that are bound by DPoP (RFC 9449) or to a client
	// certificate (RFC 8705), `off` none of them. Default: optional.
	Bound string `json:"bound,omitempty"`

	// What callers are by a claim; the first that holds goes before `kind` and
	// before what the token tells otherwise. Default: none.
	KindWhen []KindWhen `json:"kind_when,omitempty"`

	// What every other caller of this issuer is: `service_account` or `user`.
	// Default: known from the token; in the presets of CI services, kubernetes, google
	// and spiffe all are machines.
	Kind string `json:"kind,omitempty"`

	// Whether machines of this issuer must be registered as service accounts:
	// `required` or `optional`. Default: what `service_accounts` says.
	Registration string `json:"registration,omitempty"`

	// The claim that names the caller. Default: sub.
	SubjectClaim string `json:"subject_claim,omitempty"`

	// The claim that names the client. Default: azp, client_id, appid or cid.
	ClientClaim string `json:"client_claim,omitempty"`

	// The claim that lists groups: a dotted path into nested claims; a string
	// is one group, an array several. Default: groups.
	GroupsClaim string `json:"groups_claim,omitempty"`

	// The claim that lists scopes: separated by spaces, or an array. Default:
	// scope, else scp.
	ScopesClaim string `json:"scopes_claim,omitempty"`

	// Scopes by one that includes them: who has it has the others, too, and what
	// they include in turn. Default: none.
	ScopeIncludes map[string][]string `json:"scope_includes,omitempty"`

	// A PEM file of the certificate authorities trusted for fetching metadata and
	// keys, and for asking about tokens. Default: the system's.
	CA string `json:"ca,omitempty"`

	// A file with a bearer token to send with those fetches, read anew each
	// time, as Kubernetes wants it. Default: none.
	FetchTokenFile string `json:"fetch_token_file,omitempty"`

	// Hosts, without a port, that the token is sent to besides the issuer's own and
	// the one of jwks_uri. Default: none.
	FetchTokenHosts []string `json:"fetch_token_hosts,omitempty"`

	// Allows plain http to more than loopback. Default: false.
	InsecureHTTP bool `json:"insecure_http,omitempty"`

	// How often metadata and keys are fetched in the background. The answer's
	// Cache-Control may shorten it, never below 10s. Default: 15m.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// How long the last good keys serve while the issuer cannot be reached.
	// Default: 24h.
	MaxStale caddy.Duration `json:"max_stale,omitempty"`

	// How the issuer is asked about its tokens, by introspection (RFC 7662). Default:
	// it is not, and tokens that are not JWTs are refused.
	Introspection *Introspection `json:"introspection,omitempty"`

	// Which events of the issuer are taken: that somebody logged out, a session was
	// revoked, an account disabled. Default: none.
	Events *securityevents.Config `json:"events,omitempty"`

	policy auth.Policy
	source issuer.Config
	asked  *introspection.Config // nil: not asked about tokens
}

// KindWhen says what the callers are whose token has a claim with one of some
// values.
type KindWhen struct {
	// `service_account` or `user`.
	Kind string `json:"kind,omitempty"`

	// The claim: a dotted path into nested claims. Numbers and booleans are
	// compared as they are written, of an array any element will do.
	Path string `json:"path,omitempty"`

	// The values of which any will do.
	Values []string `json:"values,omitempty"`
}

// The words that options take.
var (
	Kinds         = parse.Choice{string(auth.KindServiceAccount), string(auth.KindUser)}
	Registrations = parse.Choice{"required", RegistrationOptional}
	idTokens      = parse.Choice{idTokensAccept, "refuse"}
)

const (
	// RegistrationOptional lets machines in that are not registered.
	RegistrationOptional = "optional"

	idTokensAccept = "accept"
)

// defaultLeeway is common among verifiers and covers clocks kept by NTP.
const defaultLeeway = 30 * time.Second

// provision resolves placeholders and checks the options, each by the package
// that knows what it means.
func (i *Issuer) provision() error {
	var r parse.Resolver
	i.policy = auth.Policy{
		Issuer:       resolveIdentifier(&r, i.Issuer),
		Tenants:      r.List("tenants", i.Tenants),
		TrustDomain:  r.Text("trust_domain", i.TrustDomain),
		Name:         r.Text("name", i.Name),
		Preset:       i.Preset,
		Audiences:    r.List("audience", i.Audiences),
		Algorithms:   i.Algorithms,
		Bound:        auth.Binding(cmp.Or(i.Bound, string(auth.BoundOptional))),
		Leeway:       defaultLeeway,
		MaxLifetime:  time.Duration(i.MaxLifetime),
		TokenType:    i.TokenType,
		Kind:         auth.Kind(i.Kind),
		SubjectClaim: i.SubjectClaim,
		ClientClaim:  i.ClientClaim,
		GroupsClaim:  i.GroupsClaim,
		ScopesClaim:  i.ScopesClaim,

		ScopeIncludes: i.ScopeIncludes,
	}
	i.source = issuer.Config{
		Issuer:          i.policy.Issuer,
		SPIFFE:          auth.PresetHasTrustDomain(i.Preset),
		JWKSURI:         r.Text("jwks_uri", i.JWKSURI),
		JWKSFile:        r.Text("jwks_file", i.JWKSFile),
		CA:              r.Text("ca", i.CA),
		FetchTokenFile:  r.Text("fetch_token_file", i.FetchTokenFile),
		FetchTokenHosts: r.List("fetch_token_host", i.FetchTokenHosts),
		InsecureHTTP:    i.InsecureHTTP,
		Refresh:         time.Duration(i.Refresh),
		MaxStale:        time.Duration(i.MaxStale),
		KeysOptional:    i.Introspection != nil && !i.Introspection.Signed,
	}
	if r.Err != nil {
		return r.Err
	}
	if err := idTokens.Check("id_tokens", i.IDTokens); err != nil {
		return err
	}
	if err := Registrations.Check("registration", i.Registration); err != nil {
		return err
	}
	i.policy.AcceptIDTokens = i.IDTokens == idTokensAccept
	for _, when := range i.KindWhen {
		i.policy.Kinds = append(i.policy.Kinds, auth.KindRule{Kind: auth.Kind(when.Kind), Path: when.Path, Values: when.Values})
	}
	if i.Leeway != nil {
		i.policy.Leeway = time.Duration(*i.Leeway)
	}
	if i.policy.Name == "" {
		i.policy.Name = hostOf(i.policy.Issuer)
	}
	if err := i.policy.Validate(); err != nil {
		return err
	}
	if err := i.source.Validate(); err != nil {
		return err
	}
	if i.Events != nil {
		if err := i.Events.Check(i.InsecureHTTP, i.SubjectClaim); err != nil {
			return err
		}
	}
	if i.Introspection == nil {
		return nil
	}
	var err error
	if i.asked, err = i.Introspection.resolve(&r, i.source); err != nil {
		return fmt.Errorf("introspection: %w", err)
	}
	return nil
}

// Policy is what the issuer's tokens must be like, once it is provisioned.
func (i *Issuer) Policy() *auth.Policy { return &i.policy }

// resolveIdentifier resolves an identifier, in which the tenant's placeholder stays.
func resolveIdentifier(r *parse.Resolver, value string) string {
	parts := strings.Split(value, issuer.TenantPlaceholder)
	for i, part := range parts {
		parts[i] = r.Text("issuer", part)
	}
	return strings.Join(parts, issuer.TenantPlaceholder)
}

// hostOf is the default name of an issuer: the host of its URL.
func hostOf(identifier string) string {
	u, err := url.Parse(identifier)
	if err != nil {
		return ""
	}
	return u.Host
}

// List are the issuers of a configuration, in its order.
type List []*Issuer

// provision resolves the issuers' placeholders and gives each a name.
func (list List) provision(logger *zap.Logger) error {
	for _, i := range list {
		if err := i.provision(); err != nil {
			return fmt.Errorf("issuer %s: %w", i.Issuer, err)
		}
		name := i.policy.Name
		if slices.Contains(i.policy.Tenants, "any") {
			logger.Warn("tokens of every tenant of this issuer are taken, of whatever organization: let the rules say who may come in",
				zap.String("issuer", name))
		}
		if !i.policy.TellsKinds() {
			todo := "people and machines of this issuer are distinguished by the claims of common issuers only, and whoever has none counts as neither: name the preset of the provider, or, if there is none, write kind … when"
			if i.Preset != "" {
				todo = "tokens of this preset do not tell people from machines, so all callers count as neither: write kind"
			}
			logger.Warn(todo, zap.String("issuer", name))
		}
	}
	return list.checkAsked(logger)
}

// Names gives the configured names.
func (list List) Names() []string {
	names := make([]string, 0, len(list))
	for _, i := range list {
		names = append(names, i.policy.Name)
	}
	return names
}

// Known gives names and identifiers.
func (list List) Known() account.Issuers {
	known := make(account.Issuers, 0, len(list))
	for _, i := range list {
		known = append(known, account.Issuer{Name: i.policy.Name, Identifier: i.policy.Issuer})
	}
	return known
}

// Servers gives the identifiers of the authorization servers behind names; all if
// names is empty.
func (list List) Servers(names []string) (servers []string) {
	for _, i := range list {
		if len(names) == 0 || slices.Contains(names, i.policy.Name) {
			servers = append(servers, i.policy.Servers()...)
		}
	}
	return servers
}

// Source says how the issuer of that identifier is asked.
func (list List) Source(identifier string) (source issuer.Config, found bool) {
	for _, i := range list {
		if i.policy.Issuer == identifier {
			source, found = i.source, true
		}
	}
	return source, found
}

// Receivers take the events of those issuers that send some. They must be released, also
// if there is an error.
func (list List) Receivers(keys map[string]*issuer.Engine, host securityevents.Host) (*securityevents.Receivers, error) {
	receivers := securityevents.New(host)
	for _, i := range list {
		if i.Events == nil {
			continue
		}
		err := receivers.Add(securityevents.Issuer{
			Config: i.Events, Policy: i.policy, Source: i.source, Keys: keys[i.policy.Name], Lifetime: list.Lifetime(i.policy.Issuer),
		})
		if err != nil {
			return receivers, fmt.Errorf("issuer %s: %w", i.Issuer, err)
		}
	}
	return receivers, nil
}

// Lifetime is how long a token of the issuer with that identifier is accepted at most,
// from when it is issued: where nothing says how long tokens live, they are taken to live
// for [revocation.DefaultLifetime]. Zero: there is no such issuer.
func (list List) Lifetime(identifier string) time.Duration {
	for _, i := range list {
		if i.policy.Issuer == identifier {
			return cmp.Or(i.policy.MaxLifetime, revocation.DefaultLifetime) + i.policy.Leeway
		}
	}
	return 0
}

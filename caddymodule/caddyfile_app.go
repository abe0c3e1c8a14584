package caddymodule

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// parseGlobalOption reads the global option. Syntax:
//
//	gatehouse {
//	    issuer <identifier> { … }    # see parseIssuer; repeatable
//	    token_cache <number>|<size>
//	    dpop { … }                   # see parseDPoP
//	    service_accounts { … }       # see parseServiceAccounts
//	    license { … }                # see parseLicense
//	    signing { … }                # see parseSigning
//	    sso { … }                    # see parseSSO
//	    api { … }                    # see parseAPI
//	}
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next()
		return nil, d.Err("the global option gatehouse stands twice: put everything into one")
	}
	app, lines := new(App), make(notedLines)
	for d.Next() {
		if err := noMore(d, "gatehouse"); err != nil {
			return nil, err
		}
		err := parseBlock(d, options{
			"issuer":           repeatable(func(d *caddyfile.Dispenser) error { return parseIssuer(d, &app.Issuers) }),
			"token_cache":      once(app.TokenCache.parseTokenCache),
			"dpop":             once(part(&app.DPoP, (*DPoP).parseDPoP)),
			"service_accounts": lines.once("service_accounts", part(&app.ServiceAccounts, (*ServiceAccounts).parseServiceAccounts)),
			"license":          once(part(&app.License, (*LicenseConfig).parseLicense)),
			"signing":          lines.once("signing", part(&app.Signing, (*Signing).parseSigning)),
			"sso":              lines.once("sso", part(&app.SSO, (*SSO).parseSSO)),
			"api":              once(part(&app.API, (*APIConfig).parseAPI)),
		})
		if err != nil {
			return nil, err
		}
	}
	if line, found := app.SSO.givesLicenses(); found && app.Signing == nil {
		return nil, at(line).WrapErr(errNoSigning)
	}
	if option := app.needsIssuer(); option != "" {
		return nil, lines.at(option, d).Errf("gatehouse: %v", errNoIssuer(option))
	}
	return httpcaddyfile.App{Name: appID, Value: caddyconfig.JSON(app, nil)}, nil
}

// part makes a part of the configuration and lets parse fill it.
func part[T any](into **T, parse func(*T, *caddyfile.Dispenser) error) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		*into = new(T)
		return parse(*into, d)
	}
}

// parseIssuer reads an issuer, and adds it to a list. Syntax:
//
//	issuer <identifier> {
//	    name             <name>
//	    preset           entra|auth0|okta|keycloak|cognito|google|kubernetes|github|gitlab|…
//	    tenants          <id...>|any
//	    trust_domain     <name>
//	    audience         <audience...>
//	    jwks_uri         <url>
//	    jwks_file        <path>
//	    algorithms       <algorithm...>
//	    leeway           <duration>
//	    max_lifetime     <duration>
//	    token_type       <typ>
//	    id_tokens        accept|refuse
//	    bound            optional|required|dpop|mtls|off
//	    kind             service_account|user [when <path> <value...>]    # repeatable with when
//	    subject_claim    <path>
//	    client_claim     <path>
//	    groups_claim     <path>
//	    scopes_claim     <path>
//	    scope_includes   <scope> <scope...>
//	    ca               <path>
//	    fetch_token_file <path>
//	    fetch_token_host <host...>
//	    insecure_http
//	    refresh          <duration>
//	    max_stale        <duration>
//	    introspection    { … }                                            # see parseIntrospection
//	    events           { … }                                            # see parseEvents
//	}
func parseIssuer(d *caddyfile.Dispenser, list *[]*Issuer) error {
	i := new(Issuer)
	if !d.NextArg() || d.Val() == "" {
		return d.Err("issuer: expected an issuer identifier such as https://login.example.com")
	}
	i.Issuer = d.Val()
	line := d.Token()
	if err := noMore(d, "issuer"); err != nil {
		return err
	}
	if err := parseBlock(d, i.options()); err != nil {
		return err
	}
	if err := i.checkWhole(at(line), *list); err != nil {
		return err
	}
	*list = append(*list, i)
	return nil
}

func (i *Issuer) options() options {
	type d = caddyfile.Dispenser
	word := func(into *string) option { return once(func(d *d) error { return oneWord(d, into) }) }
	list := func(into *[]string) option { return repeatable(func(d *d) error { return appendWords(d, into) }) }
	return options{
		"name":         word(&i.Name),
		"preset":       once(func(d *d) error { return oneOf(d, &i.Preset, auth.Presets()) }),
		"audience":     list(&i.Audiences),
		"tenants":      list(&i.Tenants),
		"trust_domain": word(&i.TrustDomain),
		"jwks_uri":     word(&i.JWKSURI),
		"jwks_file":    word(&i.JWKSFile),
		"algorithms":   once(i.parseAlgorithms),
		"leeway": once(func(d *d) error {
			i.Leeway = new(caddy.Duration)
			return duration(d, i.Leeway, 0, caddy.Duration(auth.MaxLeeway))
		}),
		"max_lifetime":     once(func(d *d) error { return duration(d, &i.MaxLifetime, caddy.Duration(time.Second), 0) }),
		"token_type":       word(&i.TokenType),
		"id_tokens":        once(func(d *d) error { return oneOf(d, &i.IDTokens, idTokens) }),
		"bound":            once(func(d *d) error { return oneOf(d, &i.Bound, auth.Bindings()) }),
		"kind":             repeatable(i.parseKind),
		"subject_claim":    word(&i.SubjectClaim),
		"client_claim":     word(&i.ClientClaim),
		"groups_claim":     word(&i.GroupsClaim),
		"scopes_claim":     word(&i.ScopesClaim),
		"scope_includes":   repeatable(i.parseScopeIncludes),
		"ca":               word(&i.CA),
		"fetch_token_file": word(&i.FetchTokenFile),
		"fetch_token_host": list(&i.FetchTokenHosts),
		"insecure_http":    once(func(d *d) error { return flag(d, &i.InsecureHTTP) }),
		"refresh":          once(func(d *d) error { return duration(d, &i.Refresh, caddy.Duration(10*time.Second), 0) }),
		"events":           once(part(&i.Events, (*IssuerEvents).parseEvents)),
		"max_stale":        once(func(d *d) error { return duration(d, &i.MaxStale, caddy.Duration(time.Minute), 0) }),
		"introspection":    once(part(&i.Introspection, (*Introspection).parseIntrospection)),
	}
}

// parseKind reads `kind service_account|user [when <path> <value...>]`.
func (i *Issuer) parseKind(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("kind: expected service_account or user")
	}
	kind, words := d.Val(), d.RemainingArgs()
	if err := kinds.check("kind", kind); err != nil {
		return d.WrapErr(err)
	}
	if len(words) == 0 {
		if i.Kind != "" {
			return d.Errf("kind is set again, to %s; only with `when <path> <value...>` may it stand several times", kind)
		}
		i.Kind = kind
		return nil
	}
	if words[0] != "when" || len(words) < 3 || words[1] == "" {
		return d.Errf("kind: found %q, expected nothing more on this line, or `when <path> <value...>`", strings.Join(words, " "))
	}
	i.KindWhen = append(i.KindWhen, KindWhen{Kind: kind, Path: words[1], Values: words[2:]})
	return nil
}

func (i *Issuer) parseScopeIncludes(d *caddyfile.Dispenser) error {
	list, err := words(d)
	if err != nil {
		return err
	}
	if len(list) < 2 {
		return d.Errf("scope_includes %s: expected at least one scope that it includes", list[0])
	}
	if _, again := i.ScopeIncludes[list[0]]; again {
		return d.Errf("scope_includes %s is set again: put all into one line", list[0])
	}
	if i.ScopeIncludes == nil {
		i.ScopeIncludes = make(map[string][]string)
	}
	i.ScopeIncludes[list[0]] = list[1:]
	return atLine(d, auth.CheckScopeIncludes(i.ScopeIncludes))
}

func (i *Issuer) parseAlgorithms(d *caddyfile.Dispenser) error {
	if err := appendWords(d, &i.Algorithms); err != nil {
		return err
	}
	for _, name := range i.Algorithms {
		if err := auth.CheckAlgorithm(name); err != nil {
			return d.Errf("algorithms: %v", err)
		}
	}
	return nil
}

// checkWhole checks what no single line shows, and says the line on which the
// issuer begins.
func (i *Issuer) checkWhole(d *caddyfile.Dispenser, others []*Issuer) error {
	if len(i.Audiences) == 0 && !auth.PresetHasNoAudience(i.Preset) {
		return d.Errf("issuer %s: expected at least one audience: without it, tokens meant for other services would be let in", i.Issuer)
	}
	// What holds a placeholder can only be checked once it is resolved.
	identifier := strings.ReplaceAll(i.Issuer, issuer.TenantPlaceholder, "")
	if !hasPlaceholder(identifier+i.TrustDomain) && !slices.ContainsFunc(i.Tenants, hasPlaceholder) {
		policy := auth.Policy{Issuer: i.Issuer, Preset: i.Preset, Tenants: i.Tenants, TrustDomain: i.TrustDomain, SubjectClaim: i.SubjectClaim}
		if err := policy.CheckIdentifier(); err != nil {
			return d.WrapErr(err)
		}
	}
	if !hasPlaceholder(identifier) && !hasPlaceholder(i.JWKSURI) && !slices.ContainsFunc(i.FetchTokenHosts, hasPlaceholder) {
		err := issuer.Config{
			Issuer: i.Issuer, JWKSURI: i.JWKSURI, JWKSFile: i.JWKSFile, InsecureHTTP: i.InsecureHTTP,
			FetchTokenFile: i.FetchTokenFile, FetchTokenHosts: i.FetchTokenHosts,
		}.Validate()
		if err != nil {
			return d.WrapErr(err)
		}
	}
	if err := i.checkEndpoint(); err != nil {
		return d.WrapErr(err)
	}
	if i.Events != nil {
		if err := i.Events.check(i); err != nil {
			return d.Errf("issuer %s: %v", i.Issuer, err)
		}
	}
	for _, other := range others {
		if other.Issuer == i.Issuer {
			return d.Errf("issuer %s is configured twice", i.Issuer)
		}
		if other.label() == i.label() {
			return d.Errf("issuers %s and %s are both named %q: give one of them another with `name`", other.Issuer, i.Issuer, i.label())
		}
	}
	return atLine(d, i.checkPrefixes(others))
}

// label is the name as far as the Caddyfile alone tells it.
func (i *Issuer) label() string {
	if i.Name != "" {
		return i.Name
	}
	return hostOf(i.Issuer)
}

// parseTokenCache reads a number of tokens or a size.
func (c *TokenCache) parseTokenCache(d *caddyfile.Dispenser) error {
	option, text := d.Val(), ""
	if err := wordFor(d, &text, tokenCacheExpected); err != nil {
		return err
	}
	*c = TokenCache(text)
	if _, err := c.bytes(); err != nil {
		return d.Errf("%s: %v", option, err)
	}
	return nil
}

// parseServiceAccounts reads the accounts' part of the global option. Syntax:
//
//	service_accounts {
//	    registration required|optional
//	    refresh      <duration>
//	    account <subject> {      # repeatable; the block is optional
//	        issuer <name>
//	        by     subject|client|either
//	        name   <name>
//	        groups <group...>
//	        status active|inactive
//	    }
//	}
func (s *ServiceAccounts) parseServiceAccounts(d *caddyfile.Dispenser) error {
	if err := noMore(d, "service_accounts"); err != nil {
		return err
	}
	return parseBlock(d, options{
		"registration": once(func(d *caddyfile.Dispenser) error {
			return oneOf(d, &s.Registration, registrations)
		}),
		"refresh": once(func(d *caddyfile.Dispenser) error {
			return duration(d, &s.Refresh, caddy.Duration(account.MinRefresh), caddy.Duration(time.Hour))
		}),
		"account": repeatable(s.parseAccount),
	})
}

func (s *ServiceAccounts) parseAccount(d *caddyfile.Dispenser) error {
	declared := new(DeclaredAccount)
	if !d.NextArg() || d.Val() == "" {
		return d.Err("account: expected the subject of the machine's tokens")
	}
	declared.Subject = d.Val()
	line := d.Token()
	if err := noMore(d, "account"); err != nil {
		return err
	}
	if err := parseBlock(d, options{
		"issuer": once(func(d *caddyfile.Dispenser) error { return oneWord(d, &declared.Issuer) }),
		"by": once(func(d *caddyfile.Dispenser) error {
			return oneOf(d, &declared.By, choice{string(account.BySubject), string(account.ByClient), string(account.ByEither)})
		}),
		"name":   once(func(d *caddyfile.Dispenser) error { return oneWord(d, &declared.Name) }),
		"groups": repeatable(func(d *caddyfile.Dispenser) error { return appendWords(d, &declared.Groups) }),
		"status": once(func(d *caddyfile.Dispenser) error { return oneOf(d, &declared.Status, choice{"active", "inactive"}) }),
	}); err != nil {
		return err
	}
	for _, other := range s.Accounts {
		if other.Subject == declared.Subject && other.Issuer == declared.Issuer {
			return at(line).Errf("account %s is declared twice, expected each once for an issuer", declared.Subject)
		}
	}
	s.Accounts = append(s.Accounts, declared)
	return nil
}

// parseAPI reads the API's part of the global option. Syntax:
//
//	api {
//	    issuer      <name>
//	    admin_group <group>
//	    trust_admin_endpoint
//	}
func (c *APIConfig) parseAPI(d *caddyfile.Dispenser) error {
	if err := noMore(d, "api"); err != nil {
		return err
	}
	return parseBlock(d, options{
		"issuer":               once(func(d *caddyfile.Dispenser) error { return oneWord(d, &c.Issuer) }),
		"admin_group":          once(func(d *caddyfile.Dispenser) error { return oneWord(d, &c.AdminGroup) }),
		"trust_admin_endpoint": once(func(d *caddyfile.Dispenser) error { return flag(d, &c.TrustAdminEndpoint) }),
	})
}

// parseGatehouseAPI reads the directive. Syntax:
//
//	gatehouse_api [<matcher>]
func parseGatehouseAPI(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if err := checkDirective(h, "gatehouse_api", (*App).apiNeedsIssuer); err != nil {
		return nil, err
	}
	if err := noMore(h.Dispenser, "gatehouse_api"); err != nil {
		return nil, err
	}
	if h.NextBlock(0) {
		return nil, h.Errf("gatehouse_api: found %q, expected no block: the option `api` of the global option says who may use it", h.Val())
	}
	return new(GatehouseAPI), nil
}

// checkDirective says, with file and line, that a directive needs an issuer where
// the global option has none.
func checkDirective(h httpcaddyfile.Helper, name string, needs func(*App) bool) error {
	option, ok := h.Option(appID).(httpcaddyfile.App)
	if !ok {
		return nil // it is missing; provisioning says so
	}
	app := new(App)
	if err := json.Unmarshal(option.Value, app); err != nil || !needs(app) {
		return err
	}
	return h.Errf("%s: no issuer is configured: %s", name, addIssuer)
}

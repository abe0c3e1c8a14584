package issuers

import (
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/securityevents"
)

// Parse reads an issuer, and adds it to a list. Syntax:
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
//	    registration     required|optional
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
//	    events           { … }                                            # see package securityevents
//	}
func Parse(d *caddyfile.Dispenser, list *List) error {
	i := new(Issuer)
	if !d.NextArg() || d.Val() == "" {
		return d.Err("issuer: expected an issuer identifier such as https://login.example.com")
	}
	i.Issuer = d.Val()
	if strings.HasSuffix(i.Issuer, "{") {
		return d.Errf("issuer: found %s, expected a blank in front of the {", i.Issuer)
	}
	line := d.Token()
	if err := parse.NoMore(d, "issuer"); err != nil {
		return err
	}
	if err := parse.Block(d, i.options()); err != nil {
		return err
	}
	if err := i.checkWhole(parse.At(line), *list); err != nil {
		return err
	}
	*list = append(*list, i)
	return nil
}

func (i *Issuer) options() parse.Options {
	return parse.Options{
		"name":             parse.Word(&i.Name),
		"preset":           parse.OneOf(&i.Preset, auth.Presets),
		"audience":         parse.Words(&i.Audiences),
		"tenants":          parse.Words(&i.Tenants),
		"trust_domain":     parse.Word(&i.TrustDomain),
		"jwks_uri":         parse.Word(&i.JWKSURI),
		"jwks_file":        parse.Word(&i.JWKSFile),
		"algorithms":       parse.Once(i.parseAlgorithms),
		"leeway":           parse.OptionalDuration(&i.Leeway, 0, auth.MaxLeeway),
		"max_lifetime":     parse.Duration(&i.MaxLifetime, time.Second, 0),
		"token_type":       parse.Word(&i.TokenType),
		"id_tokens":        parse.OneOf(&i.IDTokens, idTokens),
		"bound":            parse.OneOf(&i.Bound, auth.Bindings),
		"kind":             parse.Repeatable(i.parseKind),
		"registration":     parse.OneOf(&i.Registration, Registrations),
		"subject_claim":    parse.Word(&i.SubjectClaim),
		"client_claim":     parse.Word(&i.ClientClaim),
		"groups_claim":     parse.Word(&i.GroupsClaim),
		"scopes_claim":     parse.Word(&i.ScopesClaim),
		"scope_includes":   parse.Repeatable(i.parseScopeIncludes),
		"ca":               parse.Word(&i.CA),
		"fetch_token_file": parse.Word(&i.FetchTokenFile),
		"fetch_token_host": parse.Words(&i.FetchTokenHosts),
		"insecure_http":    parse.Flag(&i.InsecureHTTP),
		"refresh":          parse.Duration(&i.Refresh, 10*time.Second, 0),
		"events":           parse.Part(&i.Events, (*securityevents.Config).Parse),
		"max_stale":        parse.Duration(&i.MaxStale, time.Minute, 0),
		"introspection":    parse.Part(&i.Introspection, (*Introspection).parseIntrospection),
	}
}

// parseKind reads `kind service_account|user [when <path> <value...>]`.
func (i *Issuer) parseKind(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("kind: expected service_account or user")
	}
	kind, words := d.Val(), d.RemainingArgs()
	if err := Kinds.Check("kind", kind); err != nil {
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
	list, err := parse.ReadWords(d)
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
	_, err = auth.IncludedScopes(i.ScopeIncludes)
	return parse.AtLine(d, err)
}

func (i *Issuer) parseAlgorithms(d *caddyfile.Dispenser) error {
	if err := parse.AppendWords(d, &i.Algorithms); err != nil {
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
func (i *Issuer) checkWhole(d *caddyfile.Dispenser, others List) error {
	policy := auth.Policy{
		Issuer: i.Issuer, Preset: i.Preset, Audiences: i.Audiences, Tenants: i.Tenants, TrustDomain: i.TrustDomain, SubjectClaim: i.SubjectClaim,
	}
	if err := policy.CheckAudiences(); err != nil {
		return d.Errf("issuer %s: %v", i.Issuer, err)
	}
	// What holds a placeholder can only be checked once it is resolved.
	identifier := strings.ReplaceAll(i.Issuer, issuer.TenantPlaceholder, "")
	if !parse.HasPlaceholder(identifier+i.TrustDomain) && !slices.ContainsFunc(i.Tenants, parse.HasPlaceholder) {
		if err := policy.CheckIdentifier(); err != nil {
			return d.WrapErr(err)
		}
	}
	if !parse.HasPlaceholder(identifier) && !parse.HasPlaceholder(i.JWKSURI) && !slices.ContainsFunc(i.FetchTokenHosts, parse.HasPlaceholder) {
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
		if err := i.Events.Check(i.InsecureHTTP, i.SubjectClaim); err != nil {
			return d.Errf("issuer %s: %v", i.Issuer, err)
		}
	}
	var all []auth.Policy
	for _, one := range append(others[:len(others):len(others)], i) {
		all = append(all, auth.Policy{Issuer: one.Issuer, Name: one.label()})
	}
	if err := auth.CheckDistinct(all); err != nil {
		return d.WrapErr(err)
	}
	return parse.AtLine(d, i.checkPrefixes(others))
}

// label is the name as far as the Caddyfile alone tells it.
func (i *Issuer) label() string {
	if i.Name != "" {
		return i.Name
	}
	return hostOf(i.Issuer)
}

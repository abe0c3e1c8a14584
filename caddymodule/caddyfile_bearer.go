package caddymodule

import (
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuers"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/respond"
)

// parseBearerAuth reads the directive. Syntax:
//
//	bearer_auth [<matcher>] {
//	    issuer             <name...>
//	    audience           <audience...>
//	    scope              <scope...>
//	    scope              any <scope...>
//	    group              <group...>
//	    claim              <path> <value...>
//	    service_account    only|deny
//	    acr                <value...>
//	    authenticated_within <duration>
//	    name               <name>
//	    optional
//	    header             <name> <value>
//	    strip_token
//	    token_from         cookie|query|header <name>
//	    keep_authorization
//	    pass_other         <prefix...>
//	    preflight          pass
//	    realm              <realm>
//	    protected_resource <url>
//	    error_body         json|none
//	    cut                streams|all
//	    grpc               on|off
//	    upgrade            <protocol...>
//	    cookie_origin      <origin...>
//	    bound              required|dpop|mtls
//	    public_url         <url...>
//	    client_certificate header <name> rfc9440|xfcc|pem
//	    as_bearer
//	}
//
// With a matcher and header lines, or client_certificate, it makes another route, which
// cleans the requests that the matcher leaves out; with protected_resource it makes a
// second route, in front, for the resource's metadata.
func parseBearerAuth(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	if !h.Next() {
		return nil, h.ArgErr()
	}
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next() // the directive's name
	if err := checkDirective(h, "bearer_auth", func(a *App) bool { return len(a.Issuers) == 0 }); err != nil {
		return nil, err
	}
	if err := parse.NoMore(h.Dispenser, "bearer_auth"); err != nil {
		return nil, err
	}
	b := new(BearerAuth)
	if err := parse.Block(h.Dispenser, b.options().CheckedBy(b.check)); err != nil {
		return nil, err
	}
	routes := append(b.cleaningRoute(h, matcher), h.NewRoute(matcher, b)...)
	if b.ProtectedResource == "" {
		return routes, nil
	}
	return append(b.metadataRoute(h), routes...), nil
}

func (b *BearerAuth) options() parse.Options {
	type d = caddyfile.Dispenser
	return parse.Options{
		"issuer":               parse.Words(&b.Issuers),
		"audience":             parse.Words(&b.Audiences),
		"scope":                parse.Repeatable(func(d *d) error { return scopes(d, &b.Scopes, &b.AnyScopes) }),
		"group":                parse.WordLines(&b.Groups),
		"claim":                parse.Repeatable(b.parseClaim),
		"service_account":      parse.OneOf(&b.ServiceAccount, parse.Choice{"only", "deny"}),
		"acr":                  parse.Words(&b.ACR),
		"authenticated_within": parse.Duration(&b.AuthenticatedWithin, time.Second, 0),
		"name":                 parse.Word(&b.Name),
		"optional":             parse.Flag(&b.Optional),
		"header":               parse.Repeatable(b.parseHeader),
		"strip_token":          parse.Flag(&b.StripToken),
		"token_from":           parse.Repeatable(b.parseTokenFrom),
		"keep_authorization":   parse.Flag(&b.KeepAuthorization),
		"pass_other":           parse.Words(&b.PassOther),
		"preflight":            parse.OneOf(&b.Preflight, preflights),
		"realm":                parse.Word(&b.Realm),
		"protected_resource":   parse.Word(&b.ProtectedResource),
		"error_body":           parse.OneOf(&b.ErrorBody, respond.ErrorBodies),
		"grpc":                 parse.OneOf(&b.GRPC, parse.OnOff),
		"upgrade":              parse.Words(&b.Upgrade),
		"cookie_origin":        parse.Words(&b.CookieOrigins),
		"cut":                  parse.OneOf(&b.Cut, cuts),
		"bound":                parse.OneOf(&b.Bound, routeBindings),
		"public_url":           parse.Words(&b.PublicURLs),
		"client_certificate":   parse.Once(b.parseClientCertificate),
		"as_bearer":            parse.Flag(&b.AsBearer),
	}
}

// scopes reads `scope <scope...>`, all of which are asked for, or `scope any <scope...>`.
func scopes(d *caddyfile.Dispenser, all *[]string, any *[][]string) error {
	list, err := parse.ReadWords(d)
	switch {
	case err != nil:
		return err
	case list[0] != "any":
		*all = append(*all, list...)
		return nil
	case len(list) == 1:
		return d.Err("scope any: expected at least one scope, of which any will do; `scope any any` asks for one that is called so")
	}
	*any = append(*any, list[1:])
	return nil
}

func (b *BearerAuth) parseClaim(d *caddyfile.Dispenser) error {
	line := d.RemainingArgs()
	if len(line) < 2 {
		return d.Errf("claim: found %d words, expected a path and at least one value", len(line))
	}
	b.Claims = append(b.Claims, Claim{Path: line[0], Values: line[1:]})
	return nil
}

func (b *BearerAuth) parseHeader(d *caddyfile.Dispenser) error {
	var header Header
	if !d.AllArgs(&header.Name, &header.Value) {
		return d.Err("header: expected a name and a value such as `header X-Auth-Subject {http.auth.user.id}`")
	}
	b.Headers = append(b.Headers, header)
	if _, err := newIdentityHeaders(b.Headers, zap.NewNop()); err != nil {
		return d.Errf("header: %v", err)
	}
	return nil
}

func (b *BearerAuth) parseTokenFrom(d *caddyfile.Dispenser) error {
	var source TokenSource
	if !d.AllArgs(&source.In, &source.Name) {
		return d.Err("token_from: expected `cookie NAME`, `query NAME` or `header NAME`")
	}
	if slices.Contains(b.TokenFrom, source) {
		return d.Errf("token_from: %s %s is set again", source.In, source.Name)
	}
	b.TokenFrom = append(b.TokenFrom, source)
	return nil
}

func (b *BearerAuth) parseClientCertificate(d *caddyfile.Dispenser) error {
	var in string
	c := new(ClientCertificate)
	if !d.AllArgs(&in, &c.Header, &c.Format) || in != "header" {
		return d.Err("client_certificate: expected `header NAME rfc9440|xfcc|pem` such as `header Client-Cert rfc9440`")
	}
	b.ClientCertificate = c
	return nil
}

// metadataRoute is the route that publishes the protected resource's metadata.
func (b *BearerAuth) metadataRoute(h httpcaddyfile.Helper) []httpcaddyfile.ConfigValue {
	metadata := &ResourceMetadata{
		Resource: b.ProtectedResource, Issuers: b.Issuers, Scopes: b.rules().AskedScopes(),
		Bound: b.Bound, ClientCertificates: b.ClientCertificate != nil,
	}
	for _, source := range b.TokenFrom {
		if source.In == inQuery {
			metadata.BearerMethods = []string{"header", "query"}
		}
	}
	path := auth.Resource{Identifier: b.ProtectedResource}.MetadataPath()
	return h.NewRoute(caddy.ModuleMap{"path": h.JSON(caddyhttp.MatchPath{path})}, metadata)
}

// parseIdentityHeaders reads the directive. Syntax:
//
//	identity_headers [<name...>] {
//	    from_proxies <name...>
//	    upgrade      <protocol...>
//	}
func parseIdentityHeaders(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	handler := new(IdentityHeaders)
	handler.Names = h.RemainingArgs()
	if err := parse.Block(h.Dispenser, parse.Options{
		"from_proxies": parse.Words(&handler.FromProxies),
		"upgrade":      parse.Words(&handler.Upgrade),
	}); err != nil {
		return nil, err
	}
	if err := handler.Provision(caddy.Context{}); err != nil {
		return nil, h.Err(err.Error())
	}
	return handler, nil
}

// cleaningRoute is the route that cleans the requests which a bearer_auth's
// matcher leaves out. Who decides what a matcher takes is often the client.
func (b *BearerAuth) cleaningRoute(h httpcaddyfile.Helper, matcher caddy.ModuleMap) []httpcaddyfile.ConfigValue {
	if len(b.Headers) == 0 && b.ClientCertificate == nil || matcher == nil {
		return nil
	}
	cleaner := &IdentityHeaders{Upgrade: b.Upgrade}
	if b.ClientCertificate != nil {
		for _, header := range b.ClientCertificate.headers() {
			cleaner.FromProxies = append(cleaner.FromProxies, header.Name)
		}
	}
	for _, header := range b.Headers {
		cleaner.Names = append(cleaner.Names, header.Name)
	}
	return h.NewRoute(nil, cleaner)
}

// UnmarshalCaddyfile reads the matcher. Syntax:
//
//	principal {
//	    kind service_account|user
//	    group <name...>    # any of a line's groups; every line must hold
//	    scope <name...>    # all of them
//	    scope any <name...>    # any of a line's; every line must hold
//	}
func (m *MatchPrincipal) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the matcher's name
	if d.NextArg() {
		return d.Errf("principal takes a block, found %q", d.Val())
	}
	return parse.Block(d, parse.Options{
		"issuer": parse.Words(&m.Issuers),
		"kind":   parse.OneOf(&m.Kind, issuers.Kinds),
		"group":  parse.WordLines(&m.Groups),
		"scope":  parse.Repeatable(func(d *caddyfile.Dispenser) error { return scopes(d, &m.Scopes, &m.AnyScopes) }),
	}.CheckedBy(m.check))
}

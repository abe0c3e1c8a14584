package caddymodule

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/respond"
)

// checkRoutes looks at the routes of the running HTTP app as a whole. It refuses and
// warns of what no handler can see alone, and sets the error_body that depends on
// other handlers. Every app is provisioned before one starts, so it may be called
// from Start on.
func checkRoutes(ctx caddy.Context, logger *zap.Logger) error {
	for _, check := range []func(caddy.Context, *zap.Logger) error{
		checkResourceRoutes, checkBoundRoutes, warnOfBasicAuth, warnOfPreflights, warnOfUnguarded, warnOfUncleaned, warnOfUnheardEvents,
	} {
		if err := check(ctx, logger); err != nil {
			return err
		}
	}
	return alignErrorBodies(ctx)
}

// alignErrorBodies has each require_license that the configuration gives no
// error_body answer as the bearer_auth handlers of its site do, if they agree.
func alignErrorBodies(ctx caddy.Context) error {
	type site struct {
		licenses []*licensing.RequireLicense
		differ   bool // some bearer_auth has no JSON body
		bearers  int
	}
	sites := make(map[*caddyhttp.MiddlewareHandler]*site) // by the outermost route, which is a copy, while its handlers are not
	err := eachHandler(ctx, func(_ *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		key := &around[0].Handlers[0]
		if sites[key] == nil {
			sites[key] = new(site)
		}
		switch h := handler.(type) {
		case *licensing.RequireLicense:
			sites[key].licenses = append(sites[key].licenses, h)
		case *BearerAuth:
			sites[key].bearers++
			sites[key].differ = sites[key].differ || h.ErrorBody != respond.JSONBody
		}
		return nil
	})
	for _, s := range sites {
		for _, l := range s.licenses {
			if s.bearers > 0 && !s.differ {
				l.AnswerJSON()
			}
		}
	}
	return err
}

// warnOfBasicAuth warns where a request would have to pass bearer_auth and
// basic_auth: it has one Authorization header, so none can.
func warnOfBasicAuth(ctx caddy.Context, logger *zap.Logger) error {
	type guards struct{ bearer, basic [][]caddyhttp.Route }
	sites := make(map[*caddyhttp.MiddlewareHandler]*guards)
	err := eachHandler(ctx, func(_ *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		site := &around[0].Handlers[0]
		if sites[site] == nil {
			sites[site] = new(guards)
		}
		switch h := handler.(type) {
		case *BearerAuth:
			if !h.Optional {
				sites[site].bearer = append(sites[site].bearer, around)
			}
		case *caddyauth.Authentication:
			if _, basic := h.Providers["http_basic"]; basic && len(h.Providers) == 1 {
				sites[site].basic = append(sites[site].basic, around)
			}
		}
		return nil
	})
	for _, site := range sites {
		for _, bearer := range site.bearer {
			for _, basic := range site.basic {
				if overlap(bearer, basic) && !(seesAuthorization(bearer) && seesAuthorization(basic)) {
					logger.Warn("bearer_auth and basic_auth guard the same requests of a site, and nobody can pass both with one Authorization header: "+
						"give each a path of its own, or say optional in bearer_auth", zap.Strings("sites", hostsOf(bearer)))
				}
			}
		}
	}
	return err
}

// warnOfPreflights warns where one bearer_auth lets CORS preflights pass, and another one
// that they meet does not: a page of another site could not use what is behind both.
func warnOfPreflights(ctx caddy.Context, logger *zap.Logger) error {
	type handlers struct{ passing, stopping [][]caddyhttp.Route }
	sites := make(map[*caddyhttp.MiddlewareHandler]*handlers)
	err := eachHandler(ctx, func(_ *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		site := &around[0].Handlers[0]
		if sites[site] == nil {
			sites[site] = new(handlers)
		}
		switch b, ok := handler.(*BearerAuth); {
		case !ok, b.Optional:
		case b.Preflight == preflightPass:
			sites[site].passing = append(sites[site].passing, around)
		case takesMethod(around, http.MethodOptions):
			sites[site].stopping = append(sites[site].stopping, around)
		}
		return nil
	})
	for _, site := range sites {
		for _, stopping := range site.stopping {
			if slices.ContainsFunc(site.passing, func(passing []caddyhttp.Route) bool { return overlap(passing, stopping) }) {
				logger.Warn("preflight pass is said in one bearer_auth, and another one that gets the same requests refuses preflights: write it in each of them",
					zap.Strings("sites", hostsOf(stopping)), zap.Strings("paths", samplePaths(stopping)))
			}
		}
	}
	return err
}

// warnOfUnguarded warns where the bearer_auth handlers of a site stand for methods, and
// a proxy answers others that change something. That reading is public can be meant.
func warnOfUnguarded(ctx caddy.Context, logger *zap.Logger) error {
	type site struct {
		open    []string // methods that no bearer_auth matches
		bearers int
		proxied bool
		hosts   []string
	}
	sites := make(map[*caddyhttp.MiddlewareHandler]*site)
	err := eachHandler(ctx, func(_ *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		key := &around[0].Handlers[0]
		if sites[key] == nil {
			sites[key] = &site{open: []string{"DELETE", "PATCH", "POST", "PUT"}, hosts: hostsOf(around[:1])}
		}
		s, methods := sites[key], methodsOf(around)
		switch handler.(type) {
		case *BearerAuth:
			s.bearers++
			s.open = slices.DeleteFunc(s.open, func(method string) bool { return len(methods) == 0 || slices.Contains(methods, method) })
		case *reverseproxy.Handler:
			s.proxied = s.proxied || len(methods) == 0
		}
		return nil
	})
	for _, s := range sites {
		if s.bearers > 0 && s.proxied && len(s.open) > 0 {
			logger.Warn("requests with these methods pass without a token, as no bearer_auth of the site matches them: add a bearer_auth without a matcher",
				zap.Strings("methods", s.open), zap.Strings("sites", s.hosts))
		}
	}
	return err
}

// warnOfUncleaned warns of identity headers that some requests of a site bring to
// an upstream as the client sent them: those that go another way than through the
// `handle` in which the bearer_auth stands.
func warnOfUncleaned(ctx caddy.Context, logger *zap.Logger) error {
	names := make(map[*caddyhttp.MiddlewareHandler]map[string]struct{})
	sites := make(map[*caddyhttp.MiddlewareHandler]caddyhttp.Route)
	err := eachHandler(ctx, func(_ *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		if b, ok := handler.(*BearerAuth); ok {
			site := &around[0].Handlers[0]
			sites[site] = around[0]
			if names[site] == nil {
				names[site] = make(map[string]struct{})
			}
			for _, header := range b.identity.headers {
				names[site][header.name] = struct{}{}
			}
		}
		return nil
	})
	for site, route := range sites {
		for name := range names[site] {
			if found, _ := uncleaned(caddyhttp.RouteList{route}, name, false); found {
				logger.Warn("identity headers are not cleaned of all requests of a site: add the directive identity_headers with the name at the top of the site",
					zap.String("header", name), zap.Strings("sites", hostsOf([]caddyhttp.Route{route})))
			}
		}
	}
	return err
}

// uncleaned tells whether a request may get through the routes to a proxy with the
// client's own header, and whether all that get through are clean behind them.
func uncleaned(routes caddyhttp.RouteList, name string, clean bool) (found, cleanBehind bool) {
	for _, route := range routes {
		inside := clean
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *BearerAuth:
				inside = inside || h.identity.sets(name)
			case *IdentityHeaders:
				inside = inside || h.identity.sets(name)
			case *reverseproxy.Handler:
				if !inside {
					return true, false
				}
			case *caddyhttp.Subroute:
				if found, inside = uncleaned(h.Routes, name, inside); found {
					return true, false
				}
			}
		}
		if len(route.MatcherSets) == 0 && route.Group == "" {
			clean = inside
		}
	}
	return false, clean
}

// warnOfUnheardEvents warns where an issuer is to send events and no site takes them.
func warnOfUnheardEvents(ctx caddy.Context, logger *zap.Logger) error {
	app, err := configuredApp(ctx)
	if err != nil {
		return err
	}
	var waiting []string
	for _, i := range app.Issuers {
		if e := i.Events; e != nil && (len(e.BackChannelLogout) > 0 || e.Push != nil || e.GlobalRevocation != nil) {
			waiting = append(waiting, i.Policy().Name)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	heard := false
	err = eachHandler(ctx, func(_ *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, _ []caddyhttp.Route) error {
		_, isAPI := handler.(*GatehouseAPI)
		heard = heard || isAPI
		return nil
	})
	if err == nil && !heard {
		logger.Warn("issuers are to send events, and no site has gatehouse_api, which takes them: add it to the site that they are sent to", zap.Strings("issuers", waiting))
	}
	return err
}

// checkResourceRoutes makes sure that metadata are reachable where challenges
// say they are: a handler inside `handle /mcp/*` never sees the well-known path.
func checkResourceRoutes(ctx caddy.Context, _ *zap.Logger) error {
	return eachHandler(ctx, func(_ *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		m, ok := handler.(*ResourceMetadata)
		if !ok {
			return nil
		}
		for _, route := range around {
			if !letsPathThrough(route, m.path) {
				return m.errUnreachable()
			}
		}
		return nil
	})
}

// findSites finds the sites behind require_license.
func findSites(ctx caddy.Context) (*licensing.Sites, error) {
	var found []string
	anywhere := false
	err := eachHandler(ctx, func(_ *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		if _, ok := handler.(*licensing.RequireLicense); !ok {
			return nil
		}
		for _, route := range slices.Backward(around) { // the innermost that asks for a host
			if hosts, narrows := routeHosts(route); narrows {
				found = append(found, hosts...)
				return nil
			}
		}
		anywhere = true
		return nil
	})
	return licensing.NewSites(found, anywhere), err
}

// checkBoundRoutes holds the options about bound tokens against the servers they stand
// in, and warns of sites that take requests for any host: a proof that a client has
// made for another server would be good there, too.
func checkBoundRoutes(ctx caddy.Context, logger *zap.Logger) error {
	warned := false
	return eachHandler(ctx, func(server *caddyhttp.Server, handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		b, ok := handler.(*BearerAuth)
		if !ok {
			return nil
		}
		hosts := hostsOf(around)
		takes := func() bool { return takesCertificates(ctx, server, hosts) }
		if err := b.checkServer(server, takes, &b.Access); err != nil {
			return fmt.Errorf("bearer_auth of %s: %w", cmp.Or(strings.Join(hosts, ", "), "any host"), err)
		}
		if len(hosts) == 0 && len(b.PublicURLs) == 0 && b.schemes.dpop && b.schemes.announced && !warned {
			warned = true
			logger.Warn("bearer_auth takes DPoP proofs for any host, also those that were made for other servers: " +
				"give the site its host names, or say its address by public_url")
		}
		return nil
	})
}

// takesCertificates tells whether clients may show a certificate on connections to any
// of the hosts, or to any host at all if there are none.
func takesCertificates(ctx caddy.Context, server *caddyhttp.Server, hosts []string) bool {
	asks := slices.ContainsFunc(server.TLSConnPolicies, func(policy *caddytls.ConnectionPolicy) bool {
		return policy.ClientAuthentication != nil && policy.ClientAuthentication.Active()
	})
	if !asks || len(hosts) == 0 {
		return asks
	}
	connection, other := net.Pipe() // for policies that look at addresses
	defer other.Close()
	defer connection.Close()
	config := server.TLSConnPolicies.TLSConfig(ctx)
	return slices.ContainsFunc(hosts, func(host string) bool {
		found, err := config.GetConfigForClient(&tls.ClientHelloInfo{ServerName: host, Conn: connection})
		return err == nil && (found == nil || found.ClientAuth != tls.NoClientCert)
	})
}

// hasTrustedProxies tells whether any proxy is trusted. Caddy empties the option's
// public field once it has made a module of it, which only a field of its own shows. If
// that has another name one day, the answer is yes, and the header does not count.
func hasTrustedProxies(server *caddyhttp.Server) bool {
	made := reflect.ValueOf(server).Elem().FieldByName("trustedProxies")
	return server.TrustedProxiesRaw != nil || server.TrustedProxiesUnix || !made.IsValid() || !made.IsNil()
}

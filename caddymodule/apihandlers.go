package caddymodule

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/internal/loopback"
)

// AdminAPI serves Gatehouse's HTTP API on Caddy's admin endpoint.
//
// It keeps nothing: after a failed reload, Caddy goes on with the admin server
// of the configuration that failed, so each request asks for the one that runs.
type AdminAPI struct{}

// CaddyModule tells Caddy about the router.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.gatehouse", New: func() caddy.Module { return new(AdminAPI) }}
}

// Routes gives the two subtrees that are ours.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/api/", Handler: caddy.AdminHandlerFunc(a.serve)},
		{Pattern: "/gatehouse/", Handler: caddy.AdminHandlerFunc(a.serve)},
	}
}

func (*AdminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	app, err := runningApp()
	if err != nil {
		api.Fail(w, http.StatusNotFound, "gatehouse is not configured")
		return nil
	}
	trusted := app.API != nil && app.API.TrustAdminEndpoint && reachedLocally(r)
	if !app.api.ServeHTTP(w, r, trusted) {
		api.Fail(w, http.StatusNotFound, "there is no such route")
	}
	return nil
}

// reachedLocally tells whether a request reached the admin endpoint on a
// loopback address or a unix socket, straight from a program of this machine.
// Where the connection came in decides, not where it says it came from.
func reachedLocally(r *http.Request) bool {
	address, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || onBehalf(r) {
		return false
	}
	if address.Network() == "unix" {
		return true
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	// A name that its owner lets point here (DNS rebinding) does not mean this machine.
	return loopback.Net(address) && loopback.Host(host)
}

// onBehalf tells whether the request was passed on by a proxy, or made by a page
// of another site in a browser: those reach local addresses for somebody who may
// be anywhere. An Origin has been checked by Caddy when it comes here.
func onBehalf(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if len(r.Header[name]) > 0 {
			return true
		}
	}
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "same-origin" && site != "none" {
			return true
		}
	}
	return false
}

// GatehouseAPI serves Gatehouse's HTTP API on a site: the same routes as on
// Caddy's admin endpoint. It asks for a bearer token itself and needs no license.
// Paths that are not the API's are handed on.
type GatehouseAPI struct {
	api *api.API
}

// CaddyModule tells Caddy about the handler.
func (GatehouseAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.gatehouse_api", New: func() caddy.Module { return new(GatehouseAPI) }}
}

// Provision finds the app.
func (g *GatehouseAPI) Provision(ctx caddy.Context) error {
	app, err := configuredApp(ctx)
	if err == nil && app.apiNeedsIssuer() {
		err = errNoIssuer("gatehouse_api, unless for `sso` with a `credential`,")
	}
	if err != nil {
		return fmt.Errorf("gatehouse_api: %w", err)
	}
	g.api = app.api
	return nil
}

// ServeHTTP answers the API's routes.
func (g *GatehouseAPI) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if g.api.ServeHTTP(w, asSent(r), false) {
		return nil
	}
	return next.ServeHTTP(w, r)
}

// accountPath begins the address of an account.
const accountPath = "/api/serviceaccounts/"

// asSent gives the request with the address of an account as the client wrote
// it. Taking a prefix away, as handle_path does, also cleans the path, once it is
// decoded: of the subject a/../b that would leave b, which is somebody else.
func asSent(r *http.Request) *http.Request {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return r
	}
	sent := original.URL.EscapedPath()
	at := strings.Index(sent, accountPath)
	if at < 0 {
		return r
	}
	sent = sent[at:]
	decoded, err := url.PathUnescape(sent)
	if err != nil || caddyhttp.CleanPath(decoded, true) != caddyhttp.CleanPath(r.URL.Path, true) {
		return r // it was rewritten in some other way
	}
	address := *r.URL
	address.Path, address.RawPath = decoded, sent
	r = r.WithContext(r.Context())
	r.URL = &address
	return r
}

// Interface guards
var (
	_ caddy.AdminRouter           = (*AdminAPI)(nil)
	_ caddy.Provisioner           = (*GatehouseAPI)(nil)
	_ caddyhttp.MiddlewareHandler = (*GatehouseAPI)(nil)
)

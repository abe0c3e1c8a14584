package caddymodule

import (
	"errors"
	"net"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
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
	if !app.api.ServeHTTP(w, r, api.Place{AdminEndpoint: true, Trusted: trusted}) {
		api.Fail(w, http.StatusNotFound, "there is no such route")
	}
	return nil
}

// runningApp gives the app of the configuration that runs.
func runningApp() (*App, error) {
	ctx := caddy.ActiveContext()
	if ctx.Context == nil {
		return nil, errors.New("caddy runs no configuration")
	}
	return configuredApp(ctx)
}

// reachedLocally tells whether a request reached the admin endpoint on a
// loopback address or a unix socket. Where the connection came in decides, not
// where it says it came from.
func reachedLocally(r *http.Request) bool {
	address, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	if address.Network() == "unix" {
		return true
	}
	local, err := netip.ParseAddrPort(address.String())
	return err == nil && local.Addr().Unmap().IsLoopback()
}

// Interface guards
var _ caddy.AdminRouter = (*AdminAPI)(nil)

package caddymodule

import (
	"errors"
	"net"
	"net/http"

	"github.com/caddyserver/caddy/v2"

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
	return loopback.Net(address) && namesLoopback(r.Host)
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

// namesLoopback tells whether a Host header means this machine. A name that its
// owner lets point here (DNS rebinding) does not.
func namesLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return loopback.Host(host)
}

// Interface guards
var _ caddy.AdminRouter = (*AdminAPI)(nil)

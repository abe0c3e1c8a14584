package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// GatehouseAPI serves Gatehouse's HTTP API on a site: the same routes as on
// Caddy's admin endpoint. It asks for a bearer token itself and needs no license.
// Paths that are not the API's are handed on.
type GatehouseAPI struct {
	app *App
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
	g.app = app
	return nil
}

// ServeHTTP answers the API's routes.
func (g *GatehouseAPI) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if g.app.api.ServeHTTP(w, asSent(r), api.Place{}) {
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
	_ caddy.Provisioner           = (*GatehouseAPI)(nil)
	_ caddyhttp.MiddlewareHandler = (*GatehouseAPI)(nil)
)

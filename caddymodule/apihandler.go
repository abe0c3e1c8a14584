package caddymodule

import (
	"fmt"
	"net/http"

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
	if err != nil {
		return fmt.Errorf("gatehouse_api: %w", err)
	}
	g.app = app
	return nil
}

// ServeHTTP answers the API's routes.
func (g *GatehouseAPI) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if g.app.api.ServeHTTP(w, r, api.Place{}) {
		return nil
	}
	return next.ServeHTTP(w, r)
}

// Interface guards
var (
	_ caddy.Provisioner           = (*GatehouseAPI)(nil)
	_ caddyhttp.MiddlewareHandler = (*GatehouseAPI)(nil)
)

// Package caddymodule makes Gatehouse a part of Caddy: the app "gatehouse" with
// its global option, the handler and directive bearer_auth, the matcher
// principal, and the provider bearer for Caddy's own authentication handler.
//
// It adapts the packages auth and license to Caddy and is the only one that
// imports Caddy. What decides about tokens and licenses is never here.
package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// All modules and directives are registered here, in one place, because the
// order of registration is the order in which directives run.
func init() {
	caddy.RegisterModule(App{})
	caddy.RegisterModule(BearerAuth{})
	caddy.RegisterModule(ResourceMetadata{})
	caddy.RegisterModule(BearerProvider{})
	caddy.RegisterModule(MatchPrincipal{})

	httpcaddyfile.RegisterGlobalOption("gatehouse", parseGlobalOption)
	httpcaddyfile.RegisterDirective("bearer_auth", parseBearerAuth)
	httpcaddyfile.RegisterDirectiveOrder("bearer_auth", httpcaddyfile.Before, "basic_auth")
}

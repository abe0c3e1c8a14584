// Package caddymodule makes Gatehouse a part of Caddy: the app "gatehouse" with
// its global option, the handlers and directives require_license, bearer_auth and
// gatehouse_api, the matchers license_feature and principal, the provider bearer
// for Caddy's own authentication handler, and the HTTP API on Caddy's admin
// endpoint.
//
// It adapts the packages auth and license to Caddy and is the only one that
// imports Caddy. What decides about tokens and licenses is never here.
package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/command"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/internal/sealed"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
)

// sealedTrustedKeys fixes whom licenses are believed from when the program is
// built: base64 (RFC 4648, section 4) of a PEM text of public keys. Who runs the
// server can edit its configuration, but not this:
//
//	go build -ldflags "-X github.com/gatehouse-proxy/gatehouse/caddymodule.sealedTrustedKeys=$(base64 -w0 vendor.pub)"
//
// Empty: the configuration says it.
var sealedTrustedKeys string

// All modules and directives are registered here, in one place, because the
// order of registration is the order in which directives run.
func init() {
	sealed.TrustedKeys = &sealedTrustedKeys

	caddy.RegisterModule(new(App))
	caddy.RegisterModule(AdminAPI{})
	caddy.RegisterModule(GatehouseAPI{})
	caddy.RegisterModule(licensing.RequireLicense{})
	caddy.RegisterModule(licensing.MatchLicenseFeature{})
	caddy.RegisterModule(BearerAuth{})
	caddy.RegisterModule(ResourceMetadata{})
	caddy.RegisterModule(IdentityHeaders{})
	caddy.RegisterModule(BearerProvider{})
	caddy.RegisterModule(MatchPrincipal{})

	caddycmd.RegisterCommand(command.Command())

	httpcaddyfile.RegisterGlobalOption("gatehouse", parseGlobalOption)
	httpcaddyfile.RegisterHandlerDirective("gatehouse_api", parseGatehouseAPI)
	httpcaddyfile.RegisterDirectiveOrder("gatehouse_api", httpcaddyfile.Before, "basic_auth")
	httpcaddyfile.RegisterHandlerDirective("require_license", licensing.ParseRequireLicense)
	httpcaddyfile.RegisterDirectiveOrder("require_license", httpcaddyfile.Before, "basic_auth")
	httpcaddyfile.RegisterHandlerDirective("identity_headers", parseIdentityHeaders)
	httpcaddyfile.RegisterDirectiveOrder("identity_headers", httpcaddyfile.Before, "basic_auth")
	httpcaddyfile.RegisterDirective("bearer_auth", parseBearerAuth)
	httpcaddyfile.RegisterDirectiveOrder("bearer_auth", httpcaddyfile.Before, "basic_auth")
}

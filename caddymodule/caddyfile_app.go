package caddymodule

import (
	"encoding/json"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuers"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/signing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/sso"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// parseGlobalOption reads the global option. Syntax:
//
//	gatehouse {
//	    issuer <identifier> { … }    # see package issuers; repeatable
//	    token_cache <number>|<size>
//	    dpop { … }                   # see parseDPoP
//	    service_accounts { … }       # see parseServiceAccounts
//	    license { … }                # see parseLicense
//	    signing { … }                # see package signing
//	    sso { … }                    # see package sso
//	    api { … }                    # see parseAPI
//	}
func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next()
		return nil, d.Err("the global option gatehouse stands twice: put everything into one")
	}
	app, lines := new(App), make(parse.Lines)
	for d.Next() {
		if err := parse.NoMore(d, "gatehouse"); err != nil {
			return nil, err
		}
		err := parse.Block(d, parse.Options{
			"issuer":           parse.Repeatable(func(d *caddyfile.Dispenser) error { return issuers.Parse(d, &app.Issuers) }),
			"token_cache":      parse.Once(app.TokenCache.parseTokenCache),
			"dpop":             parse.Part(&app.DPoP, (*DPoP).parseDPoP),
			"service_accounts": lines.Note("service_accounts", parse.Part(&app.ServiceAccounts, (*ServiceAccounts).parseServiceAccounts)),
			"license":          parse.Part(&app.License, (*licensing.Config).Parse),
			"signing":          lines.Note("signing", parse.Part(&app.Signing, (*signing.Config).Parse)),
			"sso":              lines.Note("sso", parse.Part(&app.SSO, (*sso.Config).Parse)),
			"api":              parse.Part(&app.API, (*APIConfig).parseAPI),
		})
		if err != nil {
			return nil, err
		}
	}
	if line, found := app.SSO.GivesLicenses(); found && app.Signing == nil {
		return nil, parse.At(line).WrapErr(sso.ErrNoSigning)
	}
	if option := app.needsIssuer(); option != "" {
		return nil, lines.At(option, d).Errf("gatehouse: %v", errNoIssuer(option))
	}
	return httpcaddyfile.App{Name: appID, Value: caddyconfig.JSON(app, nil)}, nil
}

// parseServiceAccounts reads the accounts' part of the global option. Syntax:
//
//	service_accounts {
//	    registration required|optional
//	    refresh      <duration>
//	    account <subject> {      # repeatable; the block is optional
//	        issuer <name>
//	        by     subject|client|either
//	        name   <name>
//	        groups <group...>
//	        status active|inactive
//	    }
//	}
func (s *ServiceAccounts) parseServiceAccounts(d *caddyfile.Dispenser) error {
	if err := parse.NoMore(d, "service_accounts"); err != nil {
		return err
	}
	return parse.Block(d, parse.Options{
		"registration": parse.OneOf(&s.Registration, issuers.Registrations),
		"refresh":      parse.Duration(&s.Refresh, registry.MinRefresh, time.Hour),
		"account":      parse.Repeatable(s.parseAccount),
	})
}

func (s *ServiceAccounts) parseAccount(d *caddyfile.Dispenser) error {
	declared := new(DeclaredAccount)
	if !d.NextArg() || d.Val() == "" {
		return d.Err("account: expected the subject of the machine's tokens")
	}
	declared.Subject = d.Val()
	line := d.Token()
	if err := parse.NoMore(d, "account"); err != nil {
		return err
	}
	if err := parse.Block(d, parse.Options{
		"issuer": parse.Word(&declared.Issuer),
		"by":     parse.OneOf(&declared.By, parse.Choice{string(account.BySubject), string(account.ByClient), string(account.ByEither)}),
		"name":   parse.Word(&declared.Name),
		"groups": parse.Words(&declared.Groups),
		"status": parse.OneOf(&declared.Status, parse.Choice{"active", "inactive"}),
	}); err != nil {
		return err
	}
	for _, other := range s.Accounts {
		if other.Subject == declared.Subject && other.Issuer == declared.Issuer {
			return parse.At(line).Errf("account %s is declared twice, expected each once for an issuer", declared.Subject)
		}
	}
	s.Accounts = append(s.Accounts, declared)
	return nil
}

// parseAPI reads the API's part of the global option. Syntax:
//
//	api {
//	    issuer      <name>
//	    admin_group <group>
//	    trust_admin_endpoint
//	}
func (c *APIConfig) parseAPI(d *caddyfile.Dispenser) error {
	if err := parse.NoMore(d, "api"); err != nil {
		return err
	}
	return parse.Block(d, parse.Options{
		"issuer":               parse.Word(&c.Issuer),
		"admin_group":          parse.Word(&c.AdminGroup),
		"trust_admin_endpoint": parse.Flag(&c.TrustAdminEndpoint),
	})
}

// parseGatehouseAPI reads the directive. Syntax:
//
//	gatehouse_api [<matcher>]
func parseGatehouseAPI(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if err := checkDirective(h, "gatehouse_api", (*App).apiNeedsIssuer); err != nil {
		return nil, err
	}
	if err := parse.NoMore(h.Dispenser, "gatehouse_api"); err != nil {
		return nil, err
	}
	if h.NextBlock(0) {
		return nil, h.Errf("gatehouse_api: found %q, expected no block: the option `api` of the global option says who may use it", h.Val())
	}
	return new(GatehouseAPI), nil
}

// checkDirective says, with file and line, that a directive needs an issuer where
// the global option has none.
func checkDirective(h httpcaddyfile.Helper, name string, needs func(*App) bool) error {
	option, ok := h.Option(appID).(httpcaddyfile.App)
	if !ok {
		return nil // it is missing; provisioning says so
	}
	app := new(App)
	if err := json.Unmarshal(option.Value, app); err != nil || !needs(app) {
		return err
	}
	return h.Errf("%s: no issuer is configured: %s", name, addIssuer)
}

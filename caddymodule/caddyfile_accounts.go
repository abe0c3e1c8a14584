package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

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
func (a *App) parseServiceAccounts(d *caddyfile.Dispenser) error {
	if err := noMore(d, "service_accounts"); err != nil {
		return err
	}
	s := new(ServiceAccounts)
	a.ServiceAccounts = s
	return parseBlock(d, options{
		"registration": once(func(d *caddyfile.Dispenser) error {
			return oneOf(d, &s.Registration, registrationRequired, registrationOptional)
		}),
		"refresh": once(func(d *caddyfile.Dispenser) error {
			return duration(d, &s.Refresh, caddy.Duration(account.MinRefresh), caddy.Duration(time.Hour))
		}),
		"account": repeatable(s.parseAccount),
	})
}

func (s *ServiceAccounts) parseAccount(d *caddyfile.Dispenser) error {
	declared := new(DeclaredAccount)
	if !d.NextArg() || d.Val() == "" {
		return d.Err("account: expected the subject of the machine's tokens")
	}
	declared.Subject = d.Val()
	line := d.Token()
	if err := noMore(d, "account"); err != nil {
		return err
	}
	if err := parseBlock(d, options{
		"issuer": once(func(d *caddyfile.Dispenser) error { return oneWord(d, &declared.Issuer) }),
		"by": once(func(d *caddyfile.Dispenser) error {
			return oneOf(d, &declared.By, string(account.BySubject), string(account.ByClient), string(account.ByEither))
		}),
		"name":   once(func(d *caddyfile.Dispenser) error { return oneWord(d, &declared.Name) }),
		"groups": repeatable(func(d *caddyfile.Dispenser) error { return appendWords(d, &declared.Groups) }),
		"status": once(func(d *caddyfile.Dispenser) error { return oneOf(d, &declared.Status, "active", "inactive") }),
	}); err != nil {
		return err
	}
	for _, other := range s.Accounts {
		if other.Subject == declared.Subject && other.Issuer == declared.Issuer {
			at := caddyfile.NewDispenser([]caddyfile.Token{line})
			at.Next()
			return at.Errf("account %s is declared twice, expected each once for an issuer", declared.Subject)
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
func (a *App) parseAPI(d *caddyfile.Dispenser) error {
	if err := noMore(d, "api"); err != nil {
		return err
	}
	c := new(APIConfig)
	a.API = c
	return parseBlock(d, options{
		"issuer":               once(func(d *caddyfile.Dispenser) error { return oneWord(d, &c.Issuer) }),
		"admin_group":          once(func(d *caddyfile.Dispenser) error { return oneWord(d, &c.AdminGroup) }),
		"trust_admin_endpoint": once(func(d *caddyfile.Dispenser) error { return flag(d, &c.TrustAdminEndpoint) }),
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
	if err := noMore(h.Dispenser, "gatehouse_api"); err != nil {
		return nil, err
	}
	if h.NextBlock(0) {
		return nil, h.Errf("gatehouse_api: found %q, expected no block: the option `api` of the global option says who may use it", h.Val())
	}
	return new(GatehouseAPI), nil
}

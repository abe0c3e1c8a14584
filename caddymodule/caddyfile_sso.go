package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
)

// parseSSO reads the part of the global option about login pages. Syntax:
//
//	sso {
//	    credential <api key> <shared key> {   # repeatable; the block is optional
//	        product <product...>
//	        account <account...>
//	        disabled
//	    }
//	    product <product...>
//	    account <code> {                      # repeatable
//	        issuer                 <identifier>
//	        authorization_endpoint <url>
//	        preset                 <preset>
//	        client_id              <id>
//	        redirect_uri           <uri...>
//	        scope                  <scope...>
//	        param                  <name> <value>
//	        product                <product...>
//	        response_type          code|token
//	        implicit_flow          on|off
//	    }
//	    response_signing_key <path>
//	    max_skew             <duration>
//	    rate_limit           <number>
//	    group                <group>
//	}
func (a *App) parseSSO(d *caddyfile.Dispenser) error {
	if err := noMore(d, "sso"); err != nil {
		return err
	}
	s := new(SSO)
	a.SSO = s
	return parseBlock(d, options{
		"credential":           repeatable(s.parseCredential),
		"product":              repeatable(func(d *caddyfile.Dispenser) error { return appendWords(d, &s.Products) }),
		"account":              repeatable(s.parseAccount),
		"response_signing_key": once(func(d *caddyfile.Dispenser) error { return oneWord(d, &s.ResponseSigningKey) }),
		"max_skew": once(func(d *caddyfile.Dispenser) error {
			return duration(d, &s.MaxSkew, caddy.Duration(time.Second), caddy.Duration(24*time.Hour))
		}),
		"rate_limit": once(s.parseRateLimit),
		"group":      once(func(d *caddyfile.Dispenser) error { return oneWord(d, &s.Group) }),
	})
}

func (s *SSO) parseRateLimit(d *caddyfile.Dispenser) error {
	var limit *int
	if err := number(d, &limit, 1, 1_000_000); err != nil {
		return err
	}
	s.RateLimit = *limit
	return nil
}

func (s *SSO) parseCredential(d *caddyfile.Dispenser) error {
	c := new(SSOCredential)
	if !d.AllArgs(&c.APIKey, &c.SharedKey) {
		return d.Err("credential: expected an API key and a shared key such as `credential {env.LS_API_KEY} {env.LS_SHARED_KEY}`")
	}
	s.Credentials = append(s.Credentials, c)
	return parseBlock(d, options{
		"product":  repeatable(func(d *caddyfile.Dispenser) error { return appendWords(d, &c.Products) }),
		"account":  repeatable(func(d *caddyfile.Dispenser) error { return appendWords(d, &c.Accounts) }),
		"disabled": once(func(d *caddyfile.Dispenser) error { return flag(d, &c.Disabled) }),
	})
}

func (s *SSO) parseAccount(d *caddyfile.Dispenser) error {
	c := new(SSOAccount)
	if !d.NextArg() || d.Val() == "" {
		return d.Err("account: expected the code of a customer account")
	}
	c.Code = d.Val()
	if err := noMore(d, "account"); err != nil {
		return err
	}
	s.Accounts = append(s.Accounts, c)
	word := func(into *string) option {
		return once(func(d *caddyfile.Dispenser) error { return oneWord(d, into) })
	}
	list := func(into *[]string) option {
		return repeatable(func(d *caddyfile.Dispenser) error { return appendWords(d, into) })
	}
	return parseBlock(d, options{
		"issuer":                 word(&c.Issuer),
		"authorization_endpoint": word(&c.AuthorizationEndpoint),
		"preset":                 once(func(d *caddyfile.Dispenser) error { return oneOf(d, &c.Preset, sso.Presets()...) }),
		"client_id":              word(&c.ClientID),
		"redirect_uri":           list(&c.RedirectURIs),
		"scope":                  list(&c.Scopes),
		"param":                  repeatable(c.parseParam),
		"product":                list(&c.Products),
		"response_type":          once(func(d *caddyfile.Dispenser) error { return oneOf(d, &c.ResponseType, "code", "token") }),
		"implicit_flow":          once(func(d *caddyfile.Dispenser) error { return oneOf(d, &c.ImplicitFlow, "on", "off") }),
	})
}

func (c *SSOAccount) parseParam(d *caddyfile.Dispenser) error {
	var name, value string
	if !d.AllArgs(&name, &value) {
		return d.Err("param: expected a name and a value such as `param kc_idp_hint acme-saml`")
	}
	if _, twice := c.Params[name]; twice {
		return d.Errf("param %s is set again", name)
	}
	if c.Params == nil {
		c.Params = make(map[string]string)
	}
	c.Params[name] = value
	return nil
}

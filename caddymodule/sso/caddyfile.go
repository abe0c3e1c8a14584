package sso

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	authsso "github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
)

// Parse reads the part of the global option about login pages. Syntax:
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
//	        client_secret          <secret>
//	        license { … }                     # see parseLicense
//	    }
//	    response_signing_key <path>
//	    max_skew             <duration>
//	    rate_limit           <number>
//	    group                <group>
//	}
func (c *Config) Parse(d *caddyfile.Dispenser) error {
	line := d.Token()
	if err := parse.NoMore(d, "sso"); err != nil {
		return err
	}
	p := parser{Config: c}
	err := parse.Block(d, parse.Options{
		"credential":           parse.Repeatable(p.parseCredential),
		"product":              parse.Words(&c.Products),
		"account":              parse.Repeatable(p.parseAccount),
		"response_signing_key": parse.Word(&c.ResponseSigningKey),
		"max_skew":             parse.Duration(&c.MaxSkew, time.Second, 24*time.Hour),
		"rate_limit":           parse.Number(&c.RateLimit, 1, 1_000_000),
		"group":                parse.Word(&c.Group),
	})
	if err != nil {
		return err
	}
	return p.check(line)
}

// parser remembers on which lines credentials and accounts begin.
type parser struct {
	*Config
	credentialLines []caddyfile.Token
	accountLines    []caddyfile.Token
}

func (s *parser) parseCredential(d *caddyfile.Dispenser) error {
	c, line := new(Credential), d.Token()
	if !d.AllArgs(&c.APIKey, &c.SharedKey) || c.APIKey == "" || c.SharedKey == "" {
		return d.Err("credential: expected an API key and a shared key such as `credential {env.LS_API_KEY} {env.LS_SHARED_KEY}`")
	}
	for _, other := range s.Credentials {
		if other.APIKey == c.APIKey {
			return d.Err("credential: this API key is declared twice: declare it once, with all its products and accounts")
		}
	}
	s.Credentials = append(s.Credentials, c)
	s.credentialLines = append(s.credentialLines, line)
	return parse.Block(d, parse.Options{
		"product":  parse.Words(&c.Products),
		"account":  parse.Words(&c.Accounts),
		"disabled": parse.Flag(&c.Disabled),
	})
}

func (s *parser) parseAccount(d *caddyfile.Dispenser) error {
	c, line := new(Account), d.Token()
	if !d.NextArg() || d.Val() == "" {
		return d.Err("account: expected the code of a customer account")
	}
	c.Code = d.Val()
	if err := parse.NoMore(d, "account"); err != nil {
		return err
	}
	for _, other := range s.Accounts {
		if other.Code == c.Code {
			return d.Errf("account %s is declared twice", c.Code)
		}
	}
	s.Accounts = append(s.Accounts, c)
	s.accountLines = append(s.accountLines, line)
	return parse.Block(d, parse.Options{
		"issuer":                 parse.Word(&c.Issuer),
		"authorization_endpoint": parse.Word(&c.AuthorizationEndpoint),
		"preset":                 parse.OneOf(&c.Preset, authsso.Presets),
		"client_id":              parse.Word(&c.ClientID),
		"redirect_uri":           parse.Words(&c.RedirectURIs),
		"scope":                  parse.Words(&c.Scopes),
		"param":                  parse.Repeatable(c.parseParam),
		"product":                parse.Words(&c.Products),
		"response_type":          parse.OneOf(&c.ResponseType, parse.Choice{authsso.ResponseTypeCode, authsso.ResponseTypeToken}),
		"implicit_flow":          parse.OneOf(&c.ImplicitFlow, parse.OnOff),
		"client_secret":          parse.Word(&c.ClientSecret),
		"license":                parse.Part(&c.License, (*License).parse),
	})
}

func (c *Account) parseParam(d *caddyfile.Dispenser) error {
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

// check holds the whole against what package sso wants, as far as it is written
// out: a placeholder stands for something good until it is resolved. Errors name
// the line on which the part in question begins.
func (s *parser) check(line caddyfile.Token) error {
	config := authsso.Config{Products: s.Products}
	if len(s.Products) == 0 {
		return parse.At(line).Err("sso: no product: expected at least one, such as `product my-product`")
	}
	if len(s.Accounts) == 0 {
		return parse.At(line).Err("sso: no account: expected at least one `account <code> { … }`")
	}
	for i, a := range s.Accounts {
		account, err := a.draft()
		if err == nil {
			_, err = authsso.New(authsso.Config{Products: s.Products, Accounts: []authsso.Account{account}})
		}
		if err != nil {
			return parse.At(s.accountLines[i]).WrapErr(err)
		}
		config.Accounts = append(config.Accounts, account)
	}
	for i, c := range s.Credentials {
		config.Credentials = []authsso.Credential{c.credential(assumed("credential", c.APIKey), "assumed")}
		if _, err := authsso.New(config); err != nil {
			return parse.At(s.credentialLines[i]).WrapErr(err)
		}
	}
	return nil
}

// draft is the account as far as the Caddyfile alone tells it.
func (c *Account) draft() (authsso.Account, error) {
	account := c.account(assumed)
	if c.Issuer == "" {
		return account, nil
	}
	account.Metadata = new(issuer.Engine) // it is not asked
	if parse.HasPlaceholder(c.Issuer) {
		return account, nil
	}
	// Whether http will do is said where the issuer is, maybe further down.
	if err := (issuer.Config{Issuer: c.Issuer, InsecureHTTP: true}).Validate(); err != nil {
		return account, fmt.Errorf("account %q: %w", c.Code, err)
	}
	return account, nil
}

// assumed takes a placeholder for something that every option takes.
func assumed(_, value string) string {
	if parse.HasPlaceholder(value) {
		return "https://placeholder.example"
	}
	return value
}

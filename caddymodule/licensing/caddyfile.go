package licensing

import (
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/respond"
)

// Parse reads the part of the global option about the license. Syntax:
//
//	license {
//	    file         <path>
//	    inline       <license>
//	    trusted_key  <path> {          # repeatable; the block is optional
//	        not_after_issue <day>
//	        revoked
//	    }
//	    revoked_id   <uuid...>         # repeatable
//	    revocation_list <path or url>
//	    renew        <url> {
//	        product    <product>
//	        credential <api key> <shared key>
//	        token      <token>         # instead of credential
//	    }
//	    warn         <duration>
//	    grace        <duration>
//	    missing      deny|allow
//	    enforcement  deny|log
//	}
func (c *Config) Parse(d *caddyfile.Dispenser) error {
	line := d.Token()
	if err := parse.NoMore(d, "license"); err != nil {
		return err
	}
	err := parse.Block(d, parse.Options{
		"file":            parse.Word(&c.File),
		"inline":          parse.Word(&c.Inline),
		"trusted_key":     parse.Repeatable(c.parseTrustedKey),
		"revoked_id":      parse.Repeatable(c.parseRevokedIDs),
		"revocation_list": parse.Word(&c.RevocationList),
		"renew":           parse.Once(c.parseRenew),
		"warn":            parse.OptionalDuration(&c.Warn, 0, MaxSpan),
		"grace":           parse.OptionalDuration(&c.Grace, 0, MaxSpan),
		"missing":         parse.OneOf(&c.Missing, missingAnswers),
		"enforcement":     parse.OneOf(&c.Enforcement, enforcements),
	}.CheckedBy(c.check))
	if err != nil {
		return err
	}
	if c.File != "" && c.Inline != "" {
		return parse.At(line).Errf("license: %v", errTwoSources)
	}
	if len(c.TrustedKeys) == 0 && !Sealed() {
		return parse.At(line).Err("license: no key is trusted: expected at least one `trusted_key /path/to/vendor.pub`")
	}
	return nil
}

// MaxSpan bounds warn and grace: a typo must not honor a license for
// good.
const MaxSpan = 10 * 366 * 24 * time.Hour

func (c *Config) parseTrustedKey(d *caddyfile.Dispenser) error {
	t := new(TrustedKey)
	if err := parse.ReadWord(d, &t.File, "a value"); err != nil {
		return err
	}
	for _, other := range c.TrustedKeys {
		if other.File == t.File {
			return d.Errf("trusted_key %s stands twice", t.File)
		}
	}
	c.TrustedKeys = append(c.TrustedKeys, t)
	return parse.Block(d, parse.Options{
		"not_after_issue": parse.Word(&t.NotAfterIssue),
		"revoked":         parse.Flag(&t.Revoked),
	}.CheckedBy(c.check))
}

func (c *Config) parseRevokedIDs(d *caddyfile.Dispenser) error {
	list, err := parse.ReadWords(d)
	if err != nil {
		return err
	}
	for _, id := range list {
		if len(id) != 36 || uuid.Validate(id) != nil {
			return d.Errf("revoked_id: found %q, expected the id of a license, a UUID such as 5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11", id)
		}
	}
	c.RevokedIDs = append(c.RevokedIDs, list...)
	return nil
}

// parseRenew reads the option. Syntax:
//
//	renew <url> {
//	    product    <product>
//	    credential <api key> <shared key>
//	    token      <token>
//	}
func (c *Config) parseRenew(d *caddyfile.Dispenser) error {
	r, line := new(Renew), d.Token()
	if err := parse.ReadWord(d, &r.Server, "the address of the vendor's server, such as https://license.vendor.example"); err != nil {
		return err
	}
	err := parse.Block(d, parse.Options{
		"product": parse.Word(&r.Product),
		"credential": parse.Once(func(d *caddyfile.Dispenser) error {
			if !d.AllArgs(&r.APIKey, &r.SharedKey) || r.APIKey == "" || r.SharedKey == "" {
				return d.Err("credential: expected an API key and a shared key such as `credential {env.VENDOR_API_KEY} {env.VENDOR_SHARED_KEY}`")
			}
			return nil
		}),
		"token": parse.Word(&r.Token),
	})
	if err != nil {
		return err
	}
	c.Renew = r
	return parse.AtLine(parse.At(line), r.check())
}

// ParseRequireLicense reads the directive. Syntax:
//
//	require_license [<matcher>] {
//	    feature    <name...>    # all of them; repeatable
//	    error_body json|none
//	    grpc       on|off
//	}
func ParseRequireLicense(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	if err := parse.NoMore(h.Dispenser, "require_license"); err != nil {
		return nil, err
	}
	l := new(RequireLicense)
	return l, parse.Block(h.Dispenser, parse.Options{
		"feature":    parse.Words(&l.Features),
		"error_body": parse.OneOf(&l.ErrorBody, respond.ErrorBodies),
		"grpc":       parse.OneOf(&l.GRPC, parse.OnOff),
	}.CheckedBy(l.check))
}

// UnmarshalCaddyfile reads the matcher. Syntax:
//
//	license_feature <name...>    # all of them
func (m *MatchLicenseFeature) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the matcher's name
	if err := parse.AppendWords(d, &m.Features); err != nil {
		return err
	}
	if err := checkFeatures("license_feature", m.Features); err != nil {
		return d.WrapErr(err)
	}
	if d.NextBlock(0) {
		return d.Errf("license_feature: found %q, expected no block", d.Val())
	}
	return nil
}

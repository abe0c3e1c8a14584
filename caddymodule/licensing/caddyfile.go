package licensing

import (
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
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
	if err := parse.Block(d, c.options().CheckedBy(c.check)); err != nil {
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

func (c *Config) options() parse.Options {
	type d = caddyfile.Dispenser
	return parse.Options{
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
	}
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

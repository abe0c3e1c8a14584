package caddymodule

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// parseSSOLicense reads which licenses the logins of an account bring. Syntax:
//
//	license {
//	    hosts          [requested] <pattern...>
//	    type           enterprise|oss
//	    features       <feature...>
//	    limit          <name> <number> [advisory|deny]    # repeatable
//	    seats          <number>
//	    seats_per_user <number>
//	    valid          <duration>
//	    grace          <duration>
//	    until          <day>|<time>
//	    trial          <duration>
//	    claim          <name> <value...>
//	    bind           instance
//	    version        1|2
//	    description    <text>
//	}
func (l *SSOLicense) parseSSOLicense(d *caddyfile.Dispenser) error {
	l.line = d.Token()
	if err := parse.NoMore(d, "license"); err != nil {
		return err
	}
	err := parse.Block(d, parse.Options{
		"hosts":          parse.Once(l.parseHosts),
		"type":           parse.OneOf(&l.Type, licenseTypesOf),
		"features":       parse.Words(&l.Features),
		"limit":          parse.Repeatable(l.parseLimit),
		"seats":          parse.Number(&l.Seats, 1, 1_000_000),
		"seats_per_user": parse.Number(&l.SeatsPerUser, 1, 1_000_000),
		"valid":          parse.Duration(&l.Valid, time.Minute, licensing.MaxSpan),
		"grace":          parse.OptionalDuration(&l.Grace, 0, licensing.MaxSpan),
		"until": parse.Once(func(d *caddyfile.Dispenser) error {
			if err := parse.ReadWord(d, &l.Until, "a day such as 2027-12-31"); err != nil {
				return err
			}
			_, err := parseUntil(l.Until)
			return parse.AtLine(d, err)
		}),
		"trial":       parse.Duration(&l.Trial, time.Minute, licensing.MaxSpan),
		"claim":       parse.Once(l.parseClaim),
		"bind":        parse.OneOf(&l.Bind, bindings),
		"version":     parse.Number(&l.Version, 1, 2),
		"description": parse.Word(&l.Description),
	})
	if err != nil {
		return err
	}
	if _, err := l.terms(); err != nil {
		return parse.At(l.line).Errf("license: %w", err)
	}
	return nil
}

func (l *SSOLicense) parseHosts(d *caddyfile.Dispenser) error {
	list, err := parse.ReadWords(d)
	if err != nil {
		return err
	}
	if list[0] == "requested" {
		l.Requested, list = true, list[1:]
	}
	l.Hosts = list
	return nil
}

// parseLimit reads a limit, and what becomes of whoever is over it.
func (l *SSOLicense) parseLimit(d *caddyfile.Dispenser) error {
	const expected = "limit: expected a name and a number such as `limit users 50 deny`"
	list := d.RemainingArgs()
	if len(list) < 2 || len(list) > 3 {
		return d.Err(expected)
	}
	n, err := strconv.ParseInt(list[1], 10, 54)
	if err != nil || n < 0 {
		return d.Err(expected)
	}
	if _, again := l.Limits[list[0]]; again {
		return d.Errf("limit: %s stands twice", list[0])
	}
	if l.Limits == nil {
		l.Limits = map[string]int64{}
	}
	l.Limits[list[0]] = n
	if len(list) == 2 {
		return nil
	}
	if err := (parse.Choice{"advisory", "deny"}).Check("limit", list[2]); err != nil {
		return d.WrapErr(err)
	}
	if l.Enforcement == nil {
		l.Enforcement = map[string]license.Enforcement{}
	}
	l.Enforcement[list[0]] = license.Enforcement(list[2])
	return nil
}

func (l *SSOLicense) parseClaim(d *caddyfile.Dispenser) error {
	list := d.RemainingArgs()
	if len(list) < 2 {
		return d.Err("claim: expected a name and at least one value such as `claim groups license-users`")
	}
	l.Claim, l.ClaimValues = list[0], list[1:]
	return nil
}

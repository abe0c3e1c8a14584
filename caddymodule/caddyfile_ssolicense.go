package caddymodule

import (
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

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
	if err := noMore(d, "license"); err != nil {
		return err
	}
	whole := func(into *int, most int) option {
		return once(func(d *caddyfile.Dispenser) error {
			var n *int
			if err := number(d, &n, 1, most); err != nil {
				return err
			}
			*into = *n
			return nil
		})
	}
	span := func(into *caddy.Duration, least caddy.Duration) option {
		return once(func(d *caddyfile.Dispenser) error { return duration(d, into, least, caddy.Duration(maxLicenseSpan)) })
	}
	const minute = caddy.Duration(time.Minute)
	l.Grace = new(caddy.Duration)
	given := false
	err := parseBlock(d, options{
		"hosts":          once(l.parseHosts),
		"type":           once(func(d *caddyfile.Dispenser) error { return oneOf(d, &l.Type, licenseTypesOf) }),
		"features":       repeatable(func(d *caddyfile.Dispenser) error { return appendWords(d, &l.Features) }),
		"limit":          repeatable(l.parseLimit),
		"seats":          whole(&l.Seats, 1_000_000),
		"seats_per_user": whole(&l.SeatsPerUser, 1_000_000),
		"valid":          span(&l.Valid, minute),
		"grace": once(func(d *caddyfile.Dispenser) error {
			given = true
			return duration(d, l.Grace, 0, caddy.Duration(maxLicenseSpan))
		}),
		"until": once(func(d *caddyfile.Dispenser) error {
			if err := wordFor(d, &l.Until, "a day such as 2027-12-31"); err != nil {
				return err
			}
			_, err := parseUntil(l.Until)
			return atLine(d, err)
		}),
		"trial":       span(&l.Trial, minute),
		"claim":       once(l.parseClaim),
		"bind":        once(func(d *caddyfile.Dispenser) error { return oneOf(d, &l.Bind, bindings) }),
		"version":     whole(&l.Version, 2),
		"description": once(func(d *caddyfile.Dispenser) error { return oneWord(d, &l.Description) }),
	})
	if !given {
		l.Grace = nil
	}
	if err != nil {
		return err
	}
	if _, err := l.terms(); err != nil {
		return at(l.line).Errf("license: %w", err)
	}
	return nil
}

func (l *SSOLicense) parseHosts(d *caddyfile.Dispenser) error {
	list, err := words(d)
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
	if err := (choice{"advisory", "deny"}).check("limit", list[2]); err != nil {
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

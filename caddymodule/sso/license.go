package sso

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/activation"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// License says which licenses the logins of an account bring, and how many. They are
// signed by the key of `signing`, which is required.
type License struct {
	// The patterns of the hosts that the licenses are for. At least one is required.
	Hosts []string `json:"hosts,omitempty"`

	// Makes a license be for the hosts that are asked for; each must be within
	// `hosts`. Default: it is for all of `hosts`.
	Requested bool `json:"requested,omitempty"`

	// The product edition: `enterprise` or `oss`. Default: enterprise.
	Type string `json:"type,omitempty"`

	// The features that are granted. Default: every one.
	Features []string `json:"features,omitempty"`

	// Limits that the product gives a meaning to, by name. Default: none.
	Limits map[string]int64 `json:"limits,omitempty"`

	// What becomes of whoever is over a limit, by its name: `advisory` or `deny`.
	// Default: advisory.
	Enforcement map[string]license.Enforcement `json:"enforcement,omitempty"`

	// How many instances may be active at once, for each product. Default: any number.
	Seats int `json:"seats,omitempty"`

	// How many of those one person may have activated. Default: any number.
	SeatsPerUser int `json:"seats_per_user,omitempty"`

	// How long a license is valid that is handed out. Instances renew theirs before it
	// ends. Default: 720h.
	Valid caddy.Duration `json:"valid,omitempty"`

	// How much longer it is honored. An instance that was not heard of for so long,
	// and `valid` before it, gives its seat back. Default: 168h, and 0 for version 1.
	Grace *caddy.Duration `json:"grace,omitempty"`

	// When the contract ends, beyond which nothing is handed out: the last day, such as
	// 2027-12-31 (in UTC), or a time in RFC 3339. Default: it does not end.
	Until string `json:"until,omitempty"`

	// Makes it a trial, which ends so long after the account first activated the
	// product. Default: none.
	Trial caddy.Duration `json:"trial,omitempty"`

	// The claim of the ID token that says who may activate, and the values of which it
	// must have one. Default: everybody who can log in.
	Claim       string   `json:"claim,omitempty"`
	ClaimValues []string `json:"claim_values,omitempty"`

	// `instance` makes licenses that only the instance takes which asked for it.
	// Default: a license is valid on any.
	Bind string `json:"bind,omitempty"`

	// The version of the licenses' format. 1 needs an RSA key, and knows neither ids
	// nor grace, limits and instances. Default: 2.
	Version int `json:"version,omitempty"`

	// For whom the licenses are, in words. Default: the account's code and the product.
	Description string `json:"description,omitempty"`

	line caddyfile.Token
}

// ErrNoSigning is of licenses that nothing could sign.
var ErrNoSigning = errors.New("license: found it, but there is no key to sign licenses with: add `signing { key … }`")

var (
	licenseTypes = parse.Choice{string(license.Enterprise), string(license.OSS)}
	bindings     = parse.Choice{bindInstance}
)

const bindInstance = "instance"

// terms are what the options say.
func (l *License) terms() (activation.Terms, error) {
	t := activation.Terms{
		Hosts: l.Hosts, Requested: l.Requested, Type: license.Type(l.Type), Features: l.Features,
		Limits: l.Limits, Enforcement: l.Enforcement, Version: l.Version, Description: l.Description,
		Seats: l.Seats, SeatsPerUser: l.SeatsPerUser, Valid: time.Duration(l.Valid), Trial: time.Duration(l.Trial),
		Claim: l.Claim, ClaimValues: l.ClaimValues, BindInstance: l.Bind == bindInstance,
	}
	if err := bindings.Check("bind", l.Bind); err != nil {
		return t, err
	}
	if l.Grace != nil {
		if t.Grace = time.Duration(*l.Grace); t.Grace == 0 {
			t.Grace = -1
		}
	}
	var err error
	if t.Until, err = parseUntil(l.Until); err != nil {
		return t, err
	}
	return t, t.Validate()
}

// parseUntil reads the last day of a contract, or its end.
func parseUntil(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	end, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return end, fmt.Errorf("until: found %q, expected a day such as 2027-12-31, or a time such as 2027-12-31T12:00:00Z", text)
	}
	return end, nil
}

// GivesLicenses tells whether an account has licenses, and where that is said first.
func (c *Config) GivesLicenses() (line caddyfile.Token, found bool) {
	if c == nil {
		return line, false
	}
	for _, a := range c.Accounts {
		if a.License != nil {
			return a.License.line, true
		}
	}
	return line, false
}

// parse reads which licenses the logins of an account bring. Syntax:
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
func (l *License) parse(d *caddyfile.Dispenser) error {
	l.line = d.Token()
	if err := parse.NoMore(d, "license"); err != nil {
		return err
	}
	err := parse.Block(d, parse.Options{
		"hosts":          parse.Once(l.parseHosts),
		"type":           parse.OneOf(&l.Type, licenseTypes),
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

func (l *License) parseHosts(d *caddyfile.Dispenser) error {
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
func (l *License) parseLimit(d *caddyfile.Dispenser) error {
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

func (l *License) parseClaim(d *caddyfile.Dispenser) error {
	list := d.RemainingArgs()
	if len(list) < 2 {
		return d.Err("claim: expected a name and at least one value such as `claim groups license-users`")
	}
	l.Claim, l.ClaimValues = list[0], list[1:]
	return nil
}

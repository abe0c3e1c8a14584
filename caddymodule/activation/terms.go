package activation

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// Defaults of [Terms].
const (
	DefaultValid = 30 * 24 * time.Hour
	DefaultGrace = 7 * 24 * time.Hour

	// MinValid is the shortest time that a license is handed out for.
	MinValid = time.Minute

	maxHosts = 256
)

// Terms say which licenses an account hands out, and how many.
type Terms struct {
	// Hosts are those of the licenses: 1 to 256 patterns. With Requested, a license is
	// for those that are asked for, and each must be within these.
	Hosts     []string
	Requested bool

	// Type, Features, Limits, Enforcement and Version are as in
	// [license.Request]. The zero type is enterprise, the zero version 2.
	Type        license.Type
	Features    []string
	Limits      map[string]int64
	Enforcement map[string]license.Enforcement
	Version     int

	// Description says for whom a license is. Empty: the account's code and the product.
	Description string

	// Seats is how many instances may be active at once, for each product, and
	// SeatsPerUser how many of one person. Zero: any number.
	Seats, SeatsPerUser int

	// Valid is how long a license is good that is handed out. Zero: 30 days. Grace is
	// how much longer it is honored. Below zero: not at all; zero: 7 days.
	Valid, Grace time.Duration

	// Until is when the contract ends: nothing is handed out beyond it. Zero: never.
	Until time.Time

	// Trial is how long after the account's first activation of a product its licenses
	// end. Zero: it is no trial.
	Trial time.Duration

	// Claim and ClaimValues say who may activate: people whose ID token has one of the
	// values. Empty: whoever can log in.
	Claim       string
	ClaimValues []string

	// BindInstance makes a license that only the instance with its hardware id takes.
	BindInstance bool

	within *host.Matcher // Hosts, once they are compiled
}

// Validate says what is wrong with the terms, by the name of the option.
func (t Terms) Validate() error {
	_, err := t.compile()
	return err
}

// compile gives a copy with its defaults, ready to be used.
func (t Terms) compile() (*Terms, error) {
	t.Hosts, t.Features = slices.Clone(t.Hosts), slices.Clone(t.Features)
	t.Limits, t.Enforcement = maps.Clone(t.Limits), maps.Clone(t.Enforcement)
	if t.Type == "" {
		t.Type = license.Enterprise
	}
	if t.Version == 0 {
		t.Version = 2
	}
	if t.Valid == 0 {
		t.Valid = DefaultValid
	}
	if t.Grace == 0 && t.Version == 2 {
		t.Grace = DefaultGrace
	}
	t.Grace = max(t.Grace, 0)
	if err := t.check(); err != nil {
		return nil, err
	}
	patterns := make([]host.Pattern, 0, len(t.Hosts))
	for _, text := range t.Hosts {
		p, err := host.Parse(text)
		if err == nil {
			err = p.Signable()
		}
		if err != nil {
			return nil, fmt.Errorf("hosts: %w", err)
		}
		patterns = append(patterns, p)
	}
	t.within = host.NewMatcher(patterns...)
	return &t, nil
}

func (t *Terms) check() error {
	switch {
	case len(t.Hosts) == 0 || len(t.Hosts) > maxHosts:
		return fmt.Errorf("hosts: found %d, expected 1 to %d patterns such as gw.acme.example or *.acme.example", len(t.Hosts), maxHosts)
	case t.Type != license.Enterprise && t.Type != license.OSS:
		return fmt.Errorf("type: found %q, expected %s or %s", t.Type, license.Enterprise, license.OSS)
	case t.Version != 1 && t.Version != 2:
		return fmt.Errorf("version: found %d, expected 1 or 2", t.Version)
	case t.Seats < 0:
		return fmt.Errorf("seats: found %d, expected 1 or more", t.Seats)
	case t.SeatsPerUser < 0 || t.Seats > 0 && t.SeatsPerUser > t.Seats:
		return fmt.Errorf("seats_per_user: found %d, expected 1 or more, and no more than seats", t.SeatsPerUser)
	case t.Valid < MinValid:
		return fmt.Errorf("valid: found %s, expected at least %s", t.Valid, MinValid)
	case t.Trial != 0 && t.Trial < MinValid:
		return fmt.Errorf("trial: found %s, expected at least %s", t.Trial, MinValid)
	case t.Claim == "" && len(t.ClaimValues) > 0 || t.Claim != "" && len(t.ClaimValues) == 0:
		return errors.New("claim: expected a name and the values that let somebody activate, such as `claim groups license-users`")
	case t.Version == 1 && t.BindInstance:
		return errors.New("bind: found `instance`, expected none beside `version 1`, whose licenses know no instance")
	case t.Version == 1 && t.Grace > 0:
		return errors.New("grace: found one beside `version 1`, whose licenses have none: leave it out")
	}
	return nil
}

// try signs a license as the terms say, so that what cannot be signed is found when the
// configuration is loaded.
func (t *Terms) try(signer *license.Signer, account string) error {
	if _, ok := signer.Public().(*rsa.PublicKey); t.Version == 1 && !ok {
		return errors.New("version 1 is signed by RSA keys only, and the key of `signing` is another: use version 2, or an RSA key")
	}
	now := time.Now()
	seat := &Record{
		Account: account, Product: "product", Name: sampleInstance, Hosts: t.Hosts,
		Expires: now.Add(t.Valid).Unix(),
	}
	_, err := signer.Sign(t.request(seat, now))
	if wrong, ok := errors.AsType[*license.Error](err); ok && wrong.Field == "expire_at" {
		return fmt.Errorf("valid: %s, the max_ttl of signing", wrong.Detail)
	}
	if err != nil {
		return fmt.Errorf("licenses of these terms cannot be signed: %w", err)
	}
	return nil
}

// sampleInstance has the form of an instance's fingerprint.
const sampleInstance = "0000000000000000000000000000000000000000000000000000000000000000"

var instanceForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// admit decides about what a request asks for, before anybody logs in for it, and gives
// the hosts of its license.
func (t *Terms) admit(a *ask, now time.Time) (hosts []string, refusal *sso.Refusal) {
	if !t.Until.IsZero() && !now.Before(t.Until) {
		return nil, errContract
	}
	if t.BindInstance && !instanceForm.MatchString(a.hardwareID) {
		return nil, invalid("hardware_id must be the fingerprint of the instance, 64 lower-case hexadecimal digits: licenses of this customer account are bound to an instance")
	}
	if t.Requested && len(a.hosts) == 0 {
		return nil, refuse(sso.CodeMissingParameters, "Some parameters are missing: hosts")
	}
	for _, text := range a.hosts {
		p, err := host.Parse(text)
		if err != nil || p.Signable() != nil {
			return nil, invalid("hosts must be names, *.name or IP addresses")
		}
		if !t.within.Covers(p) || t.Version == 1 && p.IsIPv6() {
			return nil, errHosts
		}
	}
	if t.Requested {
		return a.hosts, nil
	}
	return nil, nil
}

// expiry is when a license ends that is handed out now, in Unix seconds; began is when
// the trial did.
func (t *Terms) expiry(now, began int64) (int64, *sso.Refusal) {
	end := now + int64(t.Valid/time.Second)
	if !t.Until.IsZero() {
		end = min(end, t.Until.Unix())
		if end <= now {
			return 0, errContract
		}
	}
	if t.Trial > 0 {
		end = min(end, began+int64(t.Trial/time.Second))
		if end <= now {
			return 0, errTrial
		}
	}
	return end, nil
}

// request is the license of a seat.
func (t *Terms) request(seat *Record, now time.Time) license.Request {
	r := license.Request{
		Type: t.Type, AllowedHosts: t.Hosts, Features: t.Features, Version: t.Version,
		Limits: t.Limits, Enforcement: t.Enforcement,
		Description: t.Description,
	}
	// Whole seconds, counted from the signer's clock: so that the license ends when the
	// record says.
	r.TTL = time.Duration(seat.Expires-now.Unix()) * time.Second
	if r.Description == "" {
		r.Description = seat.Account + ", " + seat.Product
	}
	if seat.Hosts != nil {
		r.AllowedHosts = seat.Hosts
	}
	if t.Version == 2 {
		r.ID = seat.ID.String()
		grace := int64(t.Grace / time.Second)
		r.Grace = &grace
	}
	if t.BindInstance {
		r.Instance = seat.Name
	}
	return r
}

package account

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Bounds of an account.
const (
	// MaxText bounds subject, name, issuer and each group, in bytes.
	MaxText = 255
	// MaxGroups bounds the number of groups.
	MaxGroups = 100
)

// Times outside of these years are slips, like milliseconds taken for seconds.
const firstYear, lastYear = 2000, 9999

// Draft is an account as somebody wants it. See [Decode] for one from JSON.
type Draft struct {
	// Subject: 1 to 255 bytes of UTF-8 without control characters, and neither
	// "." nor "..".
	Subject string
	// Name: at most 255 bytes of UTF-8 without control characters.
	Name string
	// Status is required.
	Status Status
	// Groups: at most 100, each like a subject and none twice.
	Groups []string
	// Issuer is a configured name; see [Draft.SetIssuer]. Required.
	Issuer string
	// ExpiresAt: zero: never. Fractions of a second are dropped.
	ExpiresAt time.Time
	// CreatedAt and UpdatedAt are honored when the account is created, so that an
	// export can be restored, unless they lie in the future. Zero: now. They mean
	// nothing for an account that exists.
	CreatedAt, UpdatedAt time.Time

	id uuid.UUID // as a body gave it; nil: it did not
}

// SetIssuer holds the draft's issuer against the configured names. An empty one
// becomes the only name; with several it is an [*InputError].
func (d *Draft) SetIssuer(names []string) error {
	switch {
	case d.Issuer == "" && len(names) == 1:
		d.Issuer = names[0]
	case d.Issuer == "":
		return invalid("issuer", "is missing; want one of the configured: %s", strings.Join(names, ", "))
	case !slices.Contains(names, d.Issuer):
		return invalid("issuer", "is %s; want one of the configured: %s", quote(d.Issuer), strings.Join(names, ", "))
	}
	return nil
}

// Validate reports the first member that is missing or out of range, as an
// [*InputError] of the class [Invalid].
func (d *Draft) Validate() error {
	if err := checkSubject(d.Subject); err != nil {
		return err
	}
	return d.validateRest()
}

func (d *Draft) validateRest() error {
	if err := checkText("name", d.Name); err != nil {
		return err
	}
	if err := checkStatus(d.Status); err != nil {
		return err
	}
	if err := checkGroups(d.Groups); err != nil {
		return err
	}
	if err := checkIssuer(d.Issuer); err != nil {
		return err
	}
	for _, t := range []struct {
		member string
		at     time.Time
	}{{"expires_at", d.ExpiresAt}, {"created_at", d.CreatedAt}, {"updated_at", d.UpdatedAt}} {
		if year := t.at.UTC().Year(); !t.at.IsZero() && (year < firstYear || year > lastYear) {
			return invalid(t.member, "is in the year %d; want %d to %d", year, firstYear, lastYear)
		}
	}
	return nil
}

// create makes the account; now are Unix seconds.
func (d *Draft) create(now int64) *Account {
	a := d.account(now, now)
	if given := toUnix(d.CreatedAt); given != 0 {
		a.created = min(given, now)
	}
	if given := toUnix(d.UpdatedAt); given != 0 {
		a.updated = max(min(given, now), a.created)
	}
	return a
}

// account makes the account with those times; the draft is valid.
func (d *Draft) account(created, updated int64) *Account {
	return &Account{
		text:    d.Subject + "\n" + d.Name,
		traits:  newTraits(d.Issuer, d.Groups, d.Status == StatusInactive),
		expires: toUnix(d.ExpiresAt), created: created, updated: updated,
	}
}

func checkSubject(s string) error {
	if s == "" {
		return invalid("subject", "is missing or empty; want 1 to %d bytes", MaxText)
	}
	if s == "." || s == ".." {
		return invalid("subject", "is %s, which no path can name; want another", quote(s))
	}
	return checkText("subject", s)
}

func checkStatus(s Status) error {
	switch s {
	case StatusActive, StatusInactive:
		return nil
	case "":
		return invalid("status", `is missing or empty; want "active" or "inactive"`)
	}
	return invalid("status", `is %s; want "active" or "inactive"`, quote(string(s)))
}

func checkGroups(groups []string) error {
	if len(groups) > MaxGroups {
		return invalid("groups", "has %d elements; want at most %d", len(groups), MaxGroups)
	}
	for i, g := range groups {
		if g == "" {
			return invalid("groups", "holds an empty name; want 1 to %d bytes in each", MaxText)
		}
		if err := checkText("groups", g); err != nil {
			return err
		}
		if slices.Contains(groups[:i], g) {
			return invalid("groups", "holds %s twice; want each once", quote(g))
		}
	}
	return nil
}

func checkIssuer(s string) error {
	if s == "" {
		return invalid("issuer", "is missing; want the name of a configured issuer")
	}
	return checkText("issuer", s)
}

func checkText(member, s string) error {
	switch {
	case len(s) > MaxText:
		return invalid(member, "has %d bytes; want at most %d", len(s), MaxText)
	case !utf8.ValidString(s):
		return invalid(member, "is %s, which is not valid UTF-8", quote(s))
	case strings.ContainsFunc(s, unicode.IsControl):
		return invalid(member, "is %s, with a control character; want none", quote(s))
	}
	return nil
}

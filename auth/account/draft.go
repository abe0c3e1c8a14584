package account

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
	"unique"

	"github.com/google/uuid"
)

// Bounds of an account.
const (
	// MaxText bounds subject, name, issuer and each group, in bytes.
	MaxText = 255
	// MaxGroups bounds the number of groups.
	MaxGroups = 100
)

// Times outside of these years are mistakes, such as milliseconds given as seconds.
const firstYear, lastYear = 2000, 9999

// Draft says how an account is to be. See [Decode] for one from JSON.
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
	// Issuer is a configured name; see [Draft.SetIssuer]. Required for a new
	// account, which is known by it as by the subject: neither ever changes.
	Issuer string
	// Identifier is the identifier of the issuer with that name. Empty: as in Issuers,
	// or else as the account has it. If it is given it must be one of these two, so
	// that an account of one issuer is not taken for another's that has its name now.
	Identifier string
	// By says whose name Subject is. Empty: as it was; for a new account
	// [ByEither].
	By By
	// ExpiresAt: zero: never. Fractions of a second are dropped.
	ExpiresAt time.Time
	// CreatedAt and UpdatedAt are kept when the account is created, so that an export
	// can be restored, unless they lie in the future. Zero: now. For an account that
	// exists they mean nothing.
	CreatedAt, UpdatedAt time.Time

	// Issuers are the configured ones, if they are known.
	Issuers Issuers

	id uuid.UUID // as a body gave it; nil: it did not
}

// Issuer is one that the configuration knows.
type Issuer struct {
	Name       string
	Identifier string // its URL
}

// Issuers are those of the configuration, in its order.
type Issuers []Issuer

// Identifier is that of the issuer with the name; empty: it is not known.
func (i Issuers) Identifier(name string) string {
	for _, known := range i {
		if known.Name == name {
			return known.Identifier
		}
	}
	return ""
}

func (i Issuers) names() string {
	names := make([]string, len(i))
	for n, known := range i {
		names[n] = known.Name
	}
	return strings.Join(names, ", ")
}

// SetIssuer checks that the issuer of a new account is a configured one. If it is
// empty it becomes the only one there is; with several that is an [*InputError].
func (d *Draft) SetIssuer(known Issuers) error {
	switch {
	case d.Issuer == "" && len(known) == 1:
		d.Issuer = known[0].Name
	case d.Issuer == "":
		return invalid("issuer", "is missing; want one of the configured: %s", known.names())
	case !slices.ContainsFunc(known, func(one Issuer) bool { return one.Name == d.Issuer }):
		return invalid("issuer", "is %s; want one of the configured: %s", quote(d.Issuer), known.names())
	}
	d.Issuers = known
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
	switch d.Status {
	case StatusActive, StatusInactive:
	case "":
		return invalid("status", `is missing or empty; want "active" or "inactive"`)
	default:
		return invalid("status", `is %s; want "active" or "inactive"`, quote(string(d.Status)))
	}
	if err := checkTraits(d.Groups, d.Issuer, d.Identifier, d.By); err != nil {
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

// validateNew is Validate, and also refuses what only older accounts may hold.
func (d *Draft) validateNew() error {
	if err := d.Validate(); err != nil {
		return err
	}
	return d.checkEnds()
}

// checkEnds is for the subject and the groups of a new account.
func (d *Draft) checkEnds() error {
	if err := checkEnds("subject", d.Subject); err != nil {
		return err
	}
	return d.checkGroupEnds(nil)
}

// checkGroupEnds looks at the groups that an account does not have yet.
func (d *Draft) checkGroupEnds(had []string) error {
	for _, g := range d.Groups {
		if slices.Contains(had, g) {
			continue
		}
		if err := checkEnds("groups", g); err != nil {
			return err
		}
	}
	return nil
}

// create makes the account; now are Unix seconds.
func (d *Draft) create(now int64, qualified bool) *Account {
	a := d.account(cmp.Or(d.Issuers.Identifier(d.Issuer), d.Identifier), cmp.Or(d.By, ByEither), qualified)
	a.created, a.updated = now, now
	if given := toUnix(d.CreatedAt); given != 0 {
		a.created = min(given, now)
	}
	if given := toUnix(d.UpdatedAt); given != 0 {
		a.updated = max(min(given, now), a.created)
	}
	return a
}

// replace makes the account that takes the place of old.
func (d *Draft) replace(old *Account, now int64) *Account {
	identifier := cmp.Or(d.Identifier, d.Issuers.Identifier(old.Issuer()), old.Identifier())
	a := d.account(identifier, cmp.Or(d.By, old.By()), old.traits.Value().qualified)
	a.created, a.updated = old.created, max(now, old.updated)
	return a
}

// account makes an account without times; the draft is valid.
func (d *Draft) account(identifier string, by By, qualified bool) *Account {
	return &Account{
		text: d.Subject + "\n" + d.Name,
		traits: unique.Make(traits{
			issuer: d.Issuer, identifier: identifier, by: by, groups: strings.Join(d.Groups, "\n"),
			qualified: qualified, inactive: d.Status == StatusInactive,
		}),
		expires: toUnix(d.ExpiresAt),
	}
}

// checkIdentifier checks that an identifier which was given is the one that the
// issuer has now, or had when old was written (nil: there is no account yet).
func (d *Draft) checkIdentifier(old *Account) error {
	now := d.Issuers.Identifier(d.Issuer)
	if d.Identifier == "" || d.Identifier == now || now == "" && old == nil || old != nil && d.Identifier == old.Identifier() {
		return nil
	}
	return invalid("issuer_identifier", "is %s, and the issuer %s is %s now; leave it out if that one is meant",
		quote(d.Identifier), quote(d.Issuer), quote(now))
}

// isFirst reports whether the issuer is the first one, as far as that is known.
func (d *Draft) isFirst() bool { return len(d.Issuers) == 0 || d.Issuers[0].Name == d.Issuer }

// chooseID tells which of its two possible ids a new account gets; taken: another
// account of that subject has the plain one. An id that is given must be one of the
// two; so an account that is exported and imported keeps its id.
func (d *Draft) chooseID(taken bool) (qualified bool, err error) {
	switch plain := plainID(d.Subject); d.id {
	case uuid.Nil:
		return taken || !d.isFirst(), nil
	case Key{d.Issuer, d.Subject}.qualifiedID():
		return true, nil
	case plain:
		if taken {
			return false, invalid("id", "is that of the same subject at another issuer; leave it out")
		}
		return false, nil
	default:
		return false, wrongID(d.id, plain)
	}
}

func wrongID(given, want uuid.UUID) error {
	return invalid("id", "is %s; want %s, which follows from the subject, or leave it out", given, want)
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

// maxIdentifier bounds an issuer's identifier, in bytes.
const maxIdentifier = 2048

// checkTraits checks what becomes the account's traits.
func checkTraits(groups []string, issuer, identifier string, by By) error {
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
	if issuer == "" {
		return invalid("issuer", "is missing; want the name of a configured issuer")
	}
	if err := checkText("issuer", issuer); err != nil {
		return err
	}
	if len(identifier) > maxIdentifier {
		return invalid("issuer_identifier", "has %d bytes; want at most %d", len(identifier), maxIdentifier)
	}
	if err := checkCharacters("issuer_identifier", identifier); err != nil {
		return err
	}
	switch by {
	case "", ByEither, BySubject, ByClient:
		return nil
	}
	return invalid("by", `is %s; want "subject", "client" or "either"`, quote(string(by)))
}

// checkEnds refuses what a header cannot carry unchanged (RFC 9110, section 5.5).
func checkEnds(member, s string) error {
	if strings.Trim(s, " \t") != s {
		return invalid(member, "is %s, with a blank at an end; want none there", quote(s))
	}
	return nil
}

func checkText(member, s string) error {
	if len(s) > MaxText {
		return invalid(member, "has %d bytes; want at most %d", len(s), MaxText)
	}
	return checkCharacters(member, s)
}

func checkCharacters(member, s string) error {
	switch {
	case !utf8.ValidString(s):
		return invalid(member, "is %s, which is not valid UTF-8", quote(s))
	case strings.ContainsFunc(s, unicode.IsControl):
		return invalid(member, "is %s, with a control character; want none", quote(s))
	}
	return nil
}

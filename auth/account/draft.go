package account

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unique"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
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

// Name is that of the issuer with the identifier; empty: it has none.
func (i Issuers) Name(identifier string) string {
	for _, known := range i {
		if known.Identifier == identifier {
			return known.Name
		}
	}
	return ""
}

// Names are all, with commas between them.
func (i Issuers) Names() string {
	names := make([]string, len(i))
	for n, known := range i {
		names[n] = known.Name
	}
	return strings.Join(names, ", ")
}

// SetIssuer checks that the issuer of a new account is a configured one. If it is
// empty it becomes the only one there is; with several that is an
// [*strictjson.InputError].
func (d *Draft) SetIssuer(known Issuers) error {
	switch {
	case d.Issuer == "" && len(known) == 1:
		d.Issuer = known[0].Name
	case d.Issuer == "":
		return strictjson.Invalid("issuer", "is missing; want one of the configured: %s", known.Names())
	case !slices.ContainsFunc(known, func(one Issuer) bool { return one.Name == d.Issuer }):
		return strictjson.Invalid("issuer", "is %s; want one of the configured: %s", quote(d.Issuer), known.Names())
	}
	d.Issuers = known
	return nil
}

// validate reports the first member that is missing or out of range, as an
// [*strictjson.InputError].
func (d *Draft) validate() error {
	if err := checkSubject(d.Subject); err != nil {
		return err
	}
	if err := strictjson.CheckText("name", d.Name, 0, MaxText); err != nil {
		return err
	}
	switch d.Status {
	case StatusActive, StatusInactive:
	case "":
		return strictjson.Invalid("status", `is missing or empty; want "active" or "inactive"`)
	default:
		return strictjson.Invalid("status", `is %s; want "active" or "inactive"`, quote(string(d.Status)))
	}
	if err := checkTraits(d.Groups, d.Issuer, d.Identifier, d.By); err != nil {
		return err
	}
	for _, t := range []struct {
		member string
		at     time.Time
	}{{"expires_at", d.ExpiresAt}, {"created_at", d.CreatedAt}, {"updated_at", d.UpdatedAt}} {
		if year := t.at.UTC().Year(); !t.at.IsZero() && (year < firstYear || year > lastYear) {
			return strictjson.Invalid(t.member, "is in the year %d; want %d to %d", year, firstYear, lastYear)
		}
	}
	return nil
}

// checkEnds refuses what a header cannot carry unchanged (RFC 9110, section 5.5): in
// the subject of a new account, and in the groups that old does not have yet.
func (d *Draft) checkEnds(old *Account) error {
	var had []string
	if old != nil {
		had = old.Groups()
	}
	isBad := func(s string) bool { return strings.Trim(s, " \t") != s }
	const want = "is %s, with a blank at an end; want none there"
	if old == nil && isBad(d.Subject) {
		return strictjson.Invalid("subject", want, quote(d.Subject))
	}
	for _, g := range d.Groups {
		if isBad(g) && !slices.Contains(had, g) {
			return strictjson.Invalid("groups", want, quote(g))
		}
	}
	return nil
}

// replace makes the account that takes the place of old; the draft is valid.
func (d *Draft) replace(old *Account, now int64) (*Account, error) {
	if d.id != uuid.Nil && d.id != old.uuid() {
		return nil, wrongID(d.id, old.uuid())
	}
	if err := d.checkIdentifier(old); err != nil {
		return nil, err
	}
	if err := d.checkEnds(old); err != nil {
		return nil, err
	}
	return d.account(old, old.Traits().qualified, now), nil
}

// account makes the account, in place of old if that is not nil; now are Unix seconds.
func (d *Draft) account(old *Account, qualified bool, now int64) *Account {
	seconds := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.Unix()
	}
	configured := d.Issuers.Identifier(d.Issuer)
	t := Traits{
		Issuer: d.Issuer, Identifier: cmp.Or(configured, d.Identifier), By: cmp.Or(d.By, ByEither),
		Inactive: d.Status == StatusInactive, qualified: qualified, groups: strings.Join(d.Groups, "\n"),
	}
	a := &Account{text: d.Subject + "\n" + d.Name, Expires: seconds(d.ExpiresAt), Created: now, Updated: now}
	if old != nil {
		was := old.Traits()
		t.Identifier, t.By = cmp.Or(d.Identifier, configured, was.Identifier), cmp.Or(d.By, was.By)
		a.Created, a.Updated = old.Created, max(now, old.Updated)
	} else {
		if given := seconds(d.CreatedAt); given != 0 {
			a.Created = min(given, now)
		}
		if given := seconds(d.UpdatedAt); given != 0 {
			a.Updated = max(min(given, now), a.Created)
		}
	}
	a.traits = unique.Make(t)
	return a
}

// checkIdentifier checks that an identifier which was given is the one that the
// issuer has now, or had when old was written (nil: there is no account yet).
func (d *Draft) checkIdentifier(old *Account) error {
	now := d.Issuers.Identifier(d.Issuer)
	if d.Identifier == "" || d.Identifier == now || now == "" && old == nil || old != nil && d.Identifier == old.Traits().Identifier {
		return nil
	}
	return strictjson.Invalid("issuer_identifier", "is %s, and the issuer %s is %s now; leave it out if that one is meant",
		quote(d.Identifier), quote(d.Issuer), quote(now))
}

// chooseID tells which of its two possible ids a new account gets; taken: another
// account of that subject has the plain one. An id that is given must be one of the
// two; so an account that is exported and imported keeps its id.
func (d *Draft) chooseID(taken bool) (qualified bool, err error) {
	key := Key{d.Issuer, d.Subject}
	switch plain := key.uuid(false); d.id {
	case uuid.Nil:
		return taken || len(d.Issuers) > 0 && d.Issuers[0].Name != d.Issuer, nil
	case key.uuid(true):
		return true, nil
	case plain:
		if taken {
			return false, strictjson.Invalid("id", "is that of the same subject at another issuer; leave it out")
		}
		return false, nil
	default:
		return false, wrongID(d.id, plain)
	}
}

func wrongID(given, want uuid.UUID) error {
	return strictjson.Invalid("id", "is %s; want %s, which follows from the subject, or leave it out", given, want)
}

func checkSubject(s string) error {
	if s == "." || s == ".." {
		return strictjson.Invalid("subject", "is %s, which no path can name; want another", quote(s))
	}
	return strictjson.CheckText("subject", s, 1, MaxText)
}

// maxIdentifier bounds an issuer's identifier, in bytes.
const maxIdentifier = 2048

// checkTraits checks what becomes the account's traits.
func checkTraits(groups []string, issuer, identifier string, by By) error {
	if len(groups) > MaxGroups {
		return strictjson.Invalid("groups", "has %d elements; want at most %d", len(groups), MaxGroups)
	}
	for i, g := range groups {
		if g == "" {
			return strictjson.Invalid("groups", "holds an empty name; want 1 to %d bytes in each", MaxText)
		}
		if err := strictjson.CheckText("groups", g, 0, MaxText); err != nil {
			return err
		}
		if slices.Contains(groups[:i], g) {
			return strictjson.Invalid("groups", "holds %s twice; want each once", quote(g))
		}
	}
	if issuer == "" {
		return strictjson.Invalid("issuer", "is missing; want the name of a configured issuer")
	}
	if err := strictjson.CheckText("issuer", issuer, 0, MaxText); err != nil {
		return err
	}
	if err := strictjson.CheckText("issuer_identifier", identifier, 0, maxIdentifier); err != nil {
		return err
	}
	switch by {
	case "", ByEither, BySubject, ByClient:
		return nil
	}
	return strictjson.Invalid("by", `is %s; want "subject", "client" or "either"`, quote(string(by)))
}

// quote shows the beginning of s in an error.
func quote(s string) string { return strictjson.Quote(s, 48) }

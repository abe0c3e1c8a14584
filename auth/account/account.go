package account

import (
	"strings"
	"time"
	"unique"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// OrgID is the organization of every account, as there is only one: the UUID
// (version 5) with the namespace URL and the name "organization/default".
const OrgID = "263f45dd-d047-5d22-abb9-516777dc63a2"

// Status is what an operator set.
type Status string

// The statuses.
const (
	StatusActive   Status = "active"
	StatusInactive Status = "inactive"
)

// State is what an account is worth at a moment.
type State uint8

// The states. The zero value is none of them.
const (
	Active State = iota + 1
	Inactive
	// Expired: the status is active, but expires_at has come.
	Expired
)

// String names the state: active, inactive or expired.
func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Inactive:
		return "inactive"
	case Expired:
		return "expired"
	}
	return "unknown"
}

// Account is one known machine. It never changes once made: a change makes
// another one in its place, so it may be kept and shared freely.
//
// A node may hold a million of them, and the collector lets memory grow to twice
// what they take. So an account is 48 bytes and one text, and the id is worked
// out when somebody asks.
type Account struct {
	text    string // the subject, a line feed and the name; neither holds another
	traits  unique.Handle[traits]
	expires int64 // Unix seconds; 0: never
	created int64 // Unix seconds; 0: not known, as of a declared account
	updated int64
}

// traits are what many accounts have alike. Each is in memory once for all of
// them: a handle takes 8 bytes, what it stands for some 80.
type traits struct {
	issuer   string
	groups   string // with a line feed between them, which none holds
	inactive bool
}

func newTraits(issuer string, groups []string, inactive bool) unique.Handle[traits] {
	return unique.Make(traits{issuer, strings.Join(groups, "\n"), inactive})
}

// ID is the UUID (RFC 9562, version 5) of the account with that subject:
// namespace URL, name "serviceaccount/" and the subject.
func ID(subject string) string { return newID(subject).String() }

func newID(subject string) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("serviceaccount/"+subject))
}

// ID is derived from the subject; see the function [ID].
func (a *Account) ID() string { return a.uuid().String() }

func (a *Account) uuid() uuid.UUID { return newID(a.Subject()) }

// Subject is the `sub` (or the client id) of the machine's tokens. It is unique
// over all issuers and never changes.
func (a *Account) Subject() string {
	subject, _, _ := strings.Cut(a.text, "\n")
	return subject
}

// is reports whether the account has that subject.
func (a *Account) is(subject string) bool {
	end := len(subject)
	return len(a.text) > end && a.text[end] == '\n' && a.text[:end] == subject
}

// Name is for people. It may be empty.
func (a *Account) Name() string {
	_, name, _ := strings.Cut(a.text, "\n")
	return name
}

// Issuer is the configured name of the issuer whose tokens are meant.
func (a *Account) Issuer() string { return a.traits.Value().issuer }

// Groups gives a list of its own with each call; nil if there are none.
func (a *Account) Groups() []string {
	groups := a.traits.Value().groups
	if groups == "" {
		return nil
	}
	return strings.Split(groups, "\n")
}

func (a *Account) inactive() bool { return a.traits.Value().inactive }

// Status is what an operator set, whether expired or not.
func (a *Account) Status() Status {
	if a.inactive() {
		return StatusInactive
	}
	return StatusActive
}

// ExpiresAt is when the account stops being good; zero: never.
func (a *Account) ExpiresAt() time.Time { return fromUnix(a.expires) }

// CreatedAt is zero for declared accounts.
func (a *Account) CreatedAt() time.Time { return fromUnix(a.created) }

// UpdatedAt is zero for declared accounts.
func (a *Account) UpdatedAt() time.Time { return fromUnix(a.updated) }

// State tells what the account is worth at that time. Only [Active] is good.
func (a *Account) State(now time.Time) State {
	switch {
	case a.inactive():
		return Inactive
	case a.expires != 0 && now.Unix() >= a.expires:
		return Expired
	}
	return Active
}

// wire is the JSON of the API; the order of members is part of it.
type wire struct {
	ID        string   `json:"id"`
	OrgID     string   `json:"org_id"`
	Subject   string   `json:"subject"`
	Name      string   `json:"name"`
	Status    Status   `json:"status"`
	Groups    []string `json:"groups"`
	Issuer    string   `json:"issuer"`
	ExpiresAt string   `json:"expires_at,omitzero"`
	CreatedAt string   `json:"created_at,omitzero"`
	UpdatedAt string   `json:"updated_at,omitzero"`
}

// MarshalJSON writes the account as the API shows it: groups is never null,
// times are RFC 3339 in UTC and left out when they are zero. [Decode] takes the
// result.
func (a *Account) MarshalJSON() ([]byte, error) {
	groups := a.Groups()
	if groups == nil {
		groups = []string{}
	}
	return json.Marshal(wire{
		ID: a.ID(), OrgID: OrgID, Subject: a.Subject(), Name: a.Name(), Status: a.Status(), Groups: groups,
		Issuer: a.Issuer(), ExpiresAt: stamp(a.expires), CreatedAt: stamp(a.created), UpdatedAt: stamp(a.updated),
	})
}

// same reports whether what an operator may set is equal.
func (a *Account) same(b *Account) bool {
	return a.text == b.text && a.traits == b.traits && a.expires == b.expires
}

// equal reports whether all is equal.
func (a *Account) equal(b *Account) bool {
	return a.same(b) && a.created == b.created && a.updated == b.updated
}

func stamp(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return fromUnix(seconds).Format(time.RFC3339)
}

func fromUnix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func toUnix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

package account

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
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

// By tells by which name of a caller an account is found. Names of clients and
// of people are two name spaces: who may choose a subject must not be taken for
// the client of that name (RFC 9068, section 5).
type By string

// The ways of finding an account.
const (
	// ByEither: by the subject or the client id of a caller that is known to be a
	// machine. This is the default.
	ByEither By = "either"
	// BySubject: by the subject, whatever the caller is.
	BySubject By = "subject"
	// ByClient: by the client id of a caller that is known to be a machine.
	ByClient By = "client"
)

// Key tells accounts apart: subjects are unique within their issuer only.
type Key struct {
	Issuer  string // its configured name
	Subject string
}

// compare orders accounts by subject, and those of one subject by issuer.
func (k Key) compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Subject, other.Subject), cmp.Compare(k.Issuer, other.Issuer))
}

// State says whether an account lets its machine in at a moment.
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
// A node may hold a million accounts, and the garbage collector lets memory grow to
// twice what they take. So an account is 48 bytes and one text, and its id is
// computed when it is asked for.
type Account struct {
	text    string // the subject, a line feed and the name; neither holds another
	traits  unique.Handle[traits]
	expires int64 // Unix seconds; 0: never
	created int64 // Unix seconds; 0: not known, as of a declared account
	updated int64
}

// traits are what many accounts have in common. Equal traits are in memory once: a
// handle takes 8 bytes, the traits some 80.
type traits struct {
	issuer     string
	identifier string // of that issuer; empty: not known, as in older records
	by         By     // never empty
	groups     string // with a line feed between them, which none holds
	qualified  bool   // the id is made of the issuer, too
	inactive   bool
}

// ID is the UUID (RFC 9562, version 5) of the account with that subject at the
// first issuer: namespace URL, name "serviceaccount/" and the subject.
func ID(subject string) string { return plainID(subject).String() }

func plainID(subject string) uuid.UUID {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("serviceaccount/"+subject))
}

// qualifiedID is that of an account at another issuer: the name holds the
// issuer's, too, and a line feed, which no subject does.
func (k Key) qualifiedID() uuid.UUID { return plainID(k.Issuer + "\n" + k.Subject) }

// ID never changes. It follows from the subject (see the function [ID]) or, if
// the account came to be as one of another issuer than the first, from the
// issuer's name and the subject.
func (a *Account) ID() string { return a.uuid().String() }

func (a *Account) uuid() uuid.UUID {
	if a.traits.Value().qualified {
		return a.Key().qualifiedID()
	}
	return plainID(a.Subject())
}

// Key is the issuer's name and the subject. It never changes.
func (a *Account) Key() Key { return Key{a.Issuer(), a.Subject()} }

// Subject is the `sub` or the client id of the machine's tokens: see [By].
func (a *Account) Subject() string {
	subject, _, _ := strings.Cut(a.text, "\n")
	return subject
}

// is reports whether the account has that subject.
func (a *Account) is(subject string) bool {
	end := len(subject)
	return len(a.text) > end && a.text[end] == '\n' && a.text[:end] == subject
}

// isKey reports whether the account has that key.
func (a *Account) isKey(k Key) bool { return a.is(k.Subject) && a.traits.Value().issuer == k.Issuer }

// Name is for people. It may be empty.
func (a *Account) Name() string {
	_, name, _ := strings.Cut(a.text, "\n")
	return name
}

// Issuer is the configured name of the issuer whose tokens are meant.
func (a *Account) Issuer() string { return a.traits.Value().issuer }

// Identifier is the identifier (a URL) that the issuer of that name had when the
// account was made or last confirmed; empty: not known. Where the name stands for
// another one now, the account is nobody's there.
func (a *Account) Identifier() string { return a.traits.Value().identifier }

// By tells by which of a caller's names the account is found.
func (a *Account) By() By { return a.traits.Value().by }

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

// ExpiresAt is when the account expires; zero: never.
func (a *Account) ExpiresAt() time.Time { return fromUnix(a.expires) }

// CreatedAt is zero for declared accounts.
func (a *Account) CreatedAt() time.Time { return fromUnix(a.created) }

// UpdatedAt is zero for declared accounts.
func (a *Account) UpdatedAt() time.Time { return fromUnix(a.updated) }

// State is the account's at that time. Only [Active] lets in.
func (a *Account) State(now time.Time) State {
	switch {
	case a.inactive():
		return Inactive
	case a.expires != 0 && now.Unix() >= a.expires:
		return Expired
	}
	return Active
}

// MarshalJSON writes the account as the API shows it: groups is never null,
// times are RFC 3339 in UTC and left out when they are zero. [Decode] takes the
// result.
func (a *Account) MarshalJSON() ([]byte, error) {
	groups := a.Groups()
	if groups == nil {
		groups = []string{}
	}
	stamp := func(seconds int64) string {
		if seconds == 0 {
			return ""
		}
		return fromUnix(seconds).Format(time.RFC3339)
	}
	return json.Marshal(struct { // the order of members is part of the API
		ID         string   `json:"id"`
		OrgID      string   `json:"org_id"`
		Subject    string   `json:"subject"`
		Name       string   `json:"name"`
		Status     Status   `json:"status"`
		Groups     []string `json:"groups"`
		Issuer     string   `json:"issuer"`
		Identifier string   `json:"issuer_identifier,omitzero"`
		By         By       `json:"by,omitzero"`
		ExpiresAt  string   `json:"expires_at,omitzero"`
		CreatedAt  string   `json:"created_at,omitzero"`
		UpdatedAt  string   `json:"updated_at,omitzero"`
	}{
		ID: a.ID(), OrgID: OrgID, Subject: a.Subject(), Name: a.Name(), Status: a.Status(), Groups: groups,
		Issuer: a.Issuer(), Identifier: a.Identifier(), By: a.By(),
		ExpiresAt: stamp(a.expires), CreatedAt: stamp(a.created), UpdatedAt: stamp(a.updated),
	})
}

// Tag is another one whenever anything of the account changes: 32 hexadecimal
// digits.
func (a *Account) Tag() string {
	text, err := a.MarshalJSON()
	if err != nil {
		panic(err) // only texts, all valid UTF-8
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// same reports whether what an operator may set is equal.
func (a *Account) same(b *Account) bool {
	return a.text == b.text && a.traits == b.traits && a.expires == b.expires
}

// equal reports whether all is equal.
func (a *Account) equal(b *Account) bool {
	return a.same(b) && a.created == b.created && a.updated == b.updated
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

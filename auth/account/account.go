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

// Status says whether an account lets its machine in.
type Status string

// The statuses. Only StatusActive lets in. An operator sets one of the first two.
const (
	StatusActive   Status = "active"
	StatusInactive Status = "inactive"
	// StatusExpired: it was set to active, but expires_at has come.
	StatusExpired Status = "expired"
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

// uuid is the id (RFC 9562, version 5) of an account with that key: namespace URL, and
// the name "serviceaccount/" and the subject. Where that is taken, or the issuer is not
// the first one, it is qualified: the issuer's name and a line feed, which none holds,
// stand before the subject.
func (k Key) uuid(qualified bool) uuid.UUID {
	name := "serviceaccount/"
	if qualified {
		name += k.Issuer + "\n"
	}
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(name+k.Subject))
}

// ID is the id of the account with that subject at the first issuer.
func ID(subject string) string { return Key{Subject: subject}.uuid(false).String() }

// Account is one known machine. It never changes once made: a change makes
// another one in its place, so it may be kept and shared freely.
//
// A node may hold a million accounts, and the garbage collector lets memory grow to
// twice what they take. So an account is 48 bytes and one text, and its id is
// computed when it is asked for.
type Account struct {
	// Expires, Created and Updated are Unix seconds. 0: it never expires; it is not
	// known when it was made, as it is declared.
	Expires, Created, Updated int64

	text   string // the subject, a line feed and the name; neither holds another
	traits unique.Handle[Traits]
}

// Traits are what many accounts have in common. Equal traits are in memory once: a
// handle takes 8 bytes, the traits some 80.
type Traits struct {
	// Issuer is the configured name of the issuer whose tokens are meant.
	Issuer string
	// Identifier is the identifier (a URL) that the issuer of that name had when the
	// account was made or last confirmed; empty: not known, as in older records. Where
	// the name stands for another one now, the account is nobody's there.
	Identifier string
	// By tells by which of a caller's names the account is found. It is never empty.
	By By
	// Inactive: an operator switched the account off.
	Inactive bool

	qualified bool   // the id is made of the issuer, too
	groups    string // with a line feed between them, which none holds
}

// Traits are those of the account.
func (a *Account) Traits() Traits { return a.traits.Value() }

// ID never changes. It follows from the subject (see the function [ID]) or, if
// the account came to be as one of another issuer than the first, from the
// issuer's name and the subject.
func (a *Account) ID() string { return a.uuid().String() }

func (a *Account) uuid() uuid.UUID { return a.Key().uuid(a.Traits().qualified) }

// Key is the issuer's name and the subject. It never changes.
func (a *Account) Key() Key { return Key{a.Traits().Issuer, a.Subject()} }

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

// Name is for people. It may be empty.
func (a *Account) Name() string {
	_, name, _ := strings.Cut(a.text, "\n")
	return name
}

// Groups gives a list of its own with each call; nil if there are none.
func (a *Account) Groups() []string {
	groups := a.Traits().groups
	if groups == "" {
		return nil
	}
	return strings.Split(groups, "\n")
}

// Status is the account's at that time.
func (a *Account) Status(now time.Time) Status {
	switch {
	case a.Traits().Inactive:
		return StatusInactive
	case a.Expires != 0 && now.Unix() >= a.Expires:
		return StatusExpired
	}
	return StatusActive
}

// MarshalJSON writes the account as the API shows it: the status is the one that was
// set, groups is never null, times are RFC 3339 in UTC and left out when they are zero.
// [Decode] takes the result.
func (a *Account) MarshalJSON() ([]byte, error) {
	t := a.Traits()
	status := StatusActive
	if t.Inactive {
		status = StatusInactive
	}
	moment := func(seconds int64) string {
		if seconds == 0 {
			return ""
		}
		return time.Unix(seconds, 0).UTC().Format(time.RFC3339)
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
		ID: a.ID(), OrgID: OrgID, Subject: a.Subject(), Name: a.Name(), Status: status, Groups: append([]string{}, a.Groups()...),
		Issuer: t.Issuer, Identifier: t.Identifier, By: t.By,
		ExpiresAt: moment(a.Expires), CreatedAt: moment(a.Created), UpdatedAt: moment(a.Updated),
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

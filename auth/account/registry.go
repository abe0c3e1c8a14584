// Package account knows service accounts: machines that an operator registered
// by the subject of their tokens, gave groups, and can switch off.
//
// A [Registry] holds the accounts that are kept in a storage which several
// nodes may share: an internal/registry, which tells how, of the kind that this
// package says. Those that a configuration declares are laid over it by
// [Registry.WithDeclared].
//
// In storage they are below gatehouse/accounts/, by a hash of the subject.
//
// # What is not here
//
// HTTP, tokens, and who may change an account.
package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unique"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// Errors that callers tell apart; others are those of internal/registry. The text of the first two is that of the API.
var (
	// ErrExists: there is an account with that issuer and subject already.
	ErrExists = errors.New("resource already exists")
	// ErrNotFound: there is no account with that subject or id.
	ErrNotFound = errors.New("resource not found")
	// ErrAmbiguous: several issuers have an account of that subject; the error
	// lists them.
	ErrAmbiguous = errors.New("several issuers have an account of that subject")
	// ErrChanged: the account was changed since whoever asks read it.
	ErrChanged = errors.New("the account was changed meanwhile; read it again")
	// ErrDeclared: the account is declared in the configuration, and can only be
	// changed there.
	ErrDeclared = errors.New("the account is declared in the configuration; change it there")
	// ErrUnread: the accounts were not read from storage yet.
	ErrUnread = errors.New("the service accounts have not been read from storage yet")
	// ErrEmptied: storage answers, and holds nothing of what it held.
	ErrEmptied = errors.New("storage holds no service accounts any more: it was emptied, or is another one; caddy gatehouse service-account repair shows what is known and writes it again")
	// ErrDiverged: storage holds accounts that were begun without those that this
	// node knows. Neither is given up until an operator decides.
	ErrDiverged = errors.New("storage holds other service accounts than this node, begun without them; caddy gatehouse service-account repair shows both and keeps the one that is named")
)

// kind is what accounts are to their registry.
var kind = registry.Kind[Key, Account]{
	Folder: "gatehouse/accounts", Lock: "gatehouse-accounts", Plural: "accounts",
	Repair: "caddy gatehouse service-account repair", Emptied: ErrEmptied, Diverged: ErrDiverged,

	Hash: func(k Key) uint64 { return hash(k.Subject) },
	Key:  (*Account).Key,
	Is:   func(a *Account, k Key) bool { return a.is(k.Subject) && a.Traits().Issuer == k.Issuer },

	Compare:   func(a, b *Account) int { return a.Key().compare(b.Key()) },
	Equal:     func(a, b *Account) bool { return *a == *b },
	ID:        (*Account).uuid,
	Updated:   func(a *Account) int64 { return a.Updated },
	Restricts: func(a *Account) bool { return a.Traits().Inactive },
	Ends: func(a *Account) int64 {
		if a.Traits().Inactive {
			return 0
		}
		return a.Expires
	},

	Append: appendLine,
	Reader: func() func([]byte) (*Account, error) {
		r := lineReader{plain: "\n", known: map[string]unique.Handle[Traits]{}}
		return r.read
	},
	Summarize: func(accounts []*Account) any {
		s := &summary{total: len(accounts), issuers: sync.OnceValue(func() map[Issuer]int {
			counts := map[Issuer]int{}
			for _, a := range accounts {
				t := a.Traits()
				counts[Issuer{t.Issuer, t.Identifier}]++
			}
			return counts
		})}
		for _, a := range accounts {
			if !a.Traits().Inactive {
				s.active++
			}
		}
		return s
	},
}

// hash is part of the stored format. Accounts of one subject are in one shard,
// whatever their issuers.
func hash(subject string) uint64 { return xxhash.Sum64String(subject) }

// summary counts the accounts of a shard.
type summary struct {
	total, active int                   // by status
	issuers       func() map[Issuer]int // made when it is asked for first: the accounts of each
}

// Registry holds the accounts of one storage and, laid over them, those that a
// configuration declares. Its methods are safe for concurrent use.
type Registry struct {
	*registry.Registry[Key, Account]
	now func() time.Time

	declared []*Account // by subject and issuer
	known    map[Key]*Account
	version  uint64 // of the declared ones
}

// New makes a registry. It starts nothing.
func New(opts registry.Options) *Registry {
	r := &Registry{Registry: registry.New(kind, opts), now: opts.Now}
	if r.now == nil {
		r.now = time.Now
	}
	return r
}

// Lookup finds the account of a subject, or of a client id, with that issuer. It
// takes no lock and allocates nothing. [Account.Status] tells whether the account
// lets in, and Loaded whether one that is not found is unknown.
func (r *Registry) Lookup(issuer, subject string) (*Account, bool) {
	key := Key{issuer, subject}
	a := r.known[key]
	if a == nil {
		a = r.Snapshot().Find(key)
	}
	return a, a != nil
}

// Find finds an account by its subject or, if no subject is that, by its id. The
// issuer, a name, may be empty where only one has an account of that subject.
// Errors are [ErrNotFound] and [ErrAmbiguous].
func (r *Registry) Find(issuer, key string) (*Account, error) {
	return choose(r.named(key), issuer, nil)
}

// named are the accounts, of all issuers, with that subject or, if there is none, the
// one with that id.
func (r *Registry) named(key string) []*Account {
	stored := r.Snapshot()
	isNamed := func(a *Account) bool { return a.is(key) }
	found := merge(only(r.declared, isNamed), stored.Like(hash(key), isNamed))
	if id, ok := parseID(key); ok && len(found) == 0 {
		found = only(r.declared, func(a *Account) bool { return a.uuid() == id })
		if a := stored.ByID(id); a != nil && r.known[a.Key()] == nil {
			found = append(found, a)
		}
	}
	return found
}

// choose picks the account that is meant among those of one subject: that of the
// issuer. If none is said, and there are several, it is that of the draft's issuer.
func choose(named []*Account, issuer string, d *Draft) (*Account, error) {
	named = only(named, func(a *Account) bool { return issuer == "" || a.Traits().Issuer == issuer })
	switch {
	case len(named) == 0:
		return nil, ErrNotFound
	case len(named) == 1:
		return named[0], nil
	case d != nil && d.Issuer != "":
		return choose(named, d.Issuer, nil)
	}
	issuers := make([]string, len(named))
	for i, a := range named {
		issuers[i] = a.Traits().Issuer
	}
	return nil, fmt.Errorf("%w: %s; say which is meant by ?issuer= or --issuer", ErrAmbiguous, strings.Join(issuers, ", "))
}

// Query asks for accounts in their order: by subject, and those of one subject by
// issuer. The zero value asks for all.
type Query struct {
	// After: the accounts after those with that subject.
	After string
	// AfterIssuer: those after the account of After with that issuer instead.
	AfterIssuer string
	// Issuer, if not empty: only accounts of that one.
	Issuer string
	// Limit is the greatest number of accounts. Zero: all.
	Limit int
}

// Page returns the accounts that are asked for, in order. It is never nil.
func (r *Registry) Page(q Query) []*Account {
	from := func(a *Account) bool {
		switch {
		case q.After == "":
			return true
		case q.AfterIssuer == "":
			return a.Subject() > q.After
		}
		return a.Key().compare(Key{q.AfterIssuer, q.After}) > 0
	}
	matches := func(a *Account) bool { return q.Issuer == "" || a.Traits().Issuer == q.Issuer }
	declared := only(r.declared, func(a *Account) bool { return from(a) && matches(a) })
	limit := q.Limit
	if limit > 0 {
		limit += len(declared) // as many may be hidden
	}
	listed := merge(declared, r.Snapshot().List(from, matches, limit))
	if q.Limit > 0 && len(listed) > q.Limit {
		listed = listed[:q.Limit]
	}
	return listed
}

// Repair is that of the registries of all kinds. Another keep than there is is an
// [*strictjson.InputError].
func (r *Registry) Repair(ctx context.Context, keep registry.Keep) (mended []string, err error) {
	if keep != registry.KeepNode && keep != registry.KeepStorage {
		return nil, strictjson.Invalid("keep", `is %s; want "node" or "storage"`, quote(string(keep)))
	}
	return r.Registry.Repair(ctx, keep)
}

// Compare is that of the registries of all kinds, with the differences by issuer and
// subject.
func (r *Registry) Compare() (*registry.Comparison[Key, Account], error) {
	c, err := r.Registry.Compare()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(c.Differences, func(a, b registry.Changed[Account]) int {
		one, other := a.Record().Key(), b.Record().Key()
		return cmp.Or(cmp.Compare(one.Issuer, other.Issuer), one.compare(other))
	})
	return c, nil
}

const storedBits = 40

// Version stands for all that look-ups answer: as long as it stays the same, so
// do their answers. Those of different registries, and with different declared
// accounts, differ too. Its upper 24 bits number the declared accounts, the others the
// stored ones: enough for a reload a second, half a year long.
func (r *Registry) Version() uint64 { return r.Registry.Version() | r.version<<storedBits }

func parseID(text string) (uuid.UUID, bool) {
	if len(text) != 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(text)
	return id, err == nil
}

// Counts are numbers of accounts by their [Status].
type Counts struct {
	Active   int `json:"active"`
	Inactive int `json:"inactive"`
	Expired  int `json:"expired"`
}

// Total is the number of all.
func (c Counts) Total() int { return c.Active + c.Inactive + c.Expired }

// Counts counts the accounts by their status now.
func (r *Registry) Counts() Counts {
	now, stored := r.now(), r.Snapshot()
	c := Count(stored, now)
	number := map[Status]*int{StatusActive: &c.Active, StatusInactive: &c.Inactive, StatusExpired: &c.Expired}
	for _, a := range r.declared {
		*number[a.Status(now)]++
		if hidden := stored.Find(a.Key()); hidden != nil {
			*number[hidden.Status(now)]--
		}
	}
	return c
}

// Count counts stored accounts by their status at that time.
func Count(s *registry.Snapshot[Key, Account], now time.Time) Counts {
	c := Counts{Expired: s.Ended(now)}
	for of := range s.Summaries() {
		of := of.(*summary)
		c.Active += of.active
		c.Inactive += of.total - of.active
	}
	c.Active -= c.Expired
	return c
}

// Unconfirmed counts, by issuer, the stored accounts that were registered for another
// issuer than the one which has its name now. They let nobody in until they are
// confirmed.
func (r *Registry) Unconfirmed(configured Issuers) map[Issuer]int {
	counts := map[Issuer]int{}
	for of := range r.Snapshot().Summaries() {
		for was, n := range of.(*summary).issuers() {
			if now := configured.Identifier(was.Name); now != "" && was.Identifier != "" && was.Identifier != now {
				counts[was] += n
			}
		}
	}
	return counts
}

// Package account knows service accounts: machines that an operator registered
// by the subject of their tokens, gave groups, and can switch off.
//
// A [Registry] holds the accounts that are kept in a storage which several
// nodes may share: an internal/registry, which tells how, of the kind that this
// package says. A [View] lays the accounts that a configuration declares over it.
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
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/internal/registry"
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
	Key:  (*Account).Key, Is: (*Account).isKey, Compare: byKey, Equal: (*Account).equal, ID: (*Account).uuid,
	Updated:   func(a *Account) int64 { return a.updated },
	Restricts: (*Account).inactive,
	Ends: func(a *Account) int64 {
		if a.inactive() {
			return 0
		}
		return a.expires
	},

	Append: appendLine, Reader: newReader, Summarize: summarize,
}

// hash is part of the stored format. Accounts of one subject are in one shard,
// whatever their issuers.
func hash(subject string) uint64 { return xxhash.Sum64String(subject) }

func byKey(a, b *Account) int { return a.Key().compare(b.Key()) }

// summary counts the accounts of a shard.
type summary struct {
	total, active int                   // by status
	issuers       func() map[Issuer]int // made when it is asked for first: the accounts of each
}

func summarize(accounts []*Account) any {
	s := &summary{total: len(accounts), issuers: sync.OnceValue(func() map[Issuer]int {
		counts := map[Issuer]int{}
		for _, a := range accounts {
			counts[Issuer{a.Issuer(), a.Identifier()}]++
		}
		return counts
	})}
	for _, a := range accounts {
		if !a.inactive() {
			s.active++
		}
	}
	return s
}

type (
	store = registry.Registry[Key, Account]
	work  = registry.Work[Key, Account]

	// Comparison is what storage holds beside what a registry knows.
	Comparison = registry.Comparison[Key, Account]
)

// Registry holds the accounts of one storage. Its methods are safe for concurrent
// use.
type Registry struct {
	*store
	now func() time.Time
}

// New makes a registry. It starts nothing.
func New(opts registry.Options) *Registry {
	r := &Registry{store: registry.New(kind, opts), now: opts.Now}
	if r.now == nil {
		r.now = time.Now
	}
	return r
}

// Lookup finds the account of a subject, or of a client id, with that issuer. It
// takes no lock and allocates nothing. [Account.State] tells whether the account
// lets in, and [Registry.Loaded] whether one that is not found is unknown.
func (r *Registry) Lookup(issuer, subject string) (*Account, bool) {
	a := r.Snapshot().Find(Key{issuer, subject})
	return a, a != nil
}

// Find finds an account by its subject or, if no subject is that, by its id. The
// issuer, a name, may be empty where only one has an account of that subject.
// Errors are [ErrNotFound] and [ErrAmbiguous].
func (r *Registry) Find(issuer, key string) (*Account, error) {
	return View{Registry: r}.Find(issuer, key)
}

// Page returns the accounts that are asked for, in order. It is never nil.
func (r *Registry) Page(q Query) []*Account { return r.Snapshot().List(q.from, q.matches, q.Limit) }

// Apply does changes, all in one revision: either all that are not refused
// happen, or none. Refused changes do not hinder the others; their results say why.
// The results are in the order of the changes.
//
// progress, if not nil, is called now and then with the number of changes that are
// written, by the caller's own goroutine.
//
// The error is [registry.ErrBusy] when storage could not be written in time (15 seconds,
// and a little more for very many changes), [registry.ErrClosed], or the context's.
func (r *Registry) Apply(ctx context.Context, changes []Change, progress func(done int)) ([]Result, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	return registry.Change(ctx, r.store, len(changes), func(w *work) []Result {
		results := make([]Result, 0, len(changes))
		for _, c := range changes {
			results = append(results, edit{w}.apply(c))
		}
		return results
	}, progress)
}

// Repair is that of the registries of all kinds. Another keep than there is is an
// [*InputError].
func (r *Registry) Repair(ctx context.Context, keep registry.Keep) (mended []string, err error) {
	if keep != registry.KeepNode && keep != registry.KeepStorage {
		return nil, invalid("keep", `is %s; want "node" or "storage"`, quote(string(keep)))
	}
	return r.store.Repair(ctx, keep)
}

// Compare is that of the registries of all kinds, with the differences by issuer and
// subject.
func (r *Registry) Compare() (*Comparison, error) {
	c, err := r.store.Compare()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(c.Differences, func(a, b registry.Changed[Account]) int {
		one, other := a.Record().Key(), b.Record().Key()
		return cmp.Or(cmp.Compare(one.Issuer, other.Issuer), one.compare(other))
	})
	return c, nil
}

// Version stands for all that look-ups answer: as long as it stays the same, so
// do their answers. Those of different registries, and of views with different
// declared accounts, differ too. Its upper 24 bits number the declared accounts,
// the others the stored ones: enough for a reload a second, half a year long.
type Version uint64

const storedBits = 40

// Version is the one of the accounts known now.
func (r *Registry) Version() Version { return Version(r.store.Version()) }

func parseID(text string) (uuid.UUID, bool) {
	if len(text) != 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(text)
	return id, err == nil
}

// Counts are numbers of accounts by their [State].
type Counts struct {
	Active, Inactive, Expired int
}

// Total is the number of all.
func (c Counts) Total() int { return c.Active + c.Inactive + c.Expired }

// Counts counts the accounts by their state now.
func (r *Registry) Counts() Counts { return Count(r.Snapshot(), r.now()) }

// Count counts accounts by their state at that time.
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

// from reports whether the account is one of those after After.
func (q Query) from(a *Account) bool {
	switch {
	case q.After == "":
		return true
	case q.AfterIssuer == "":
		return a.Subject() > q.After
	}
	return a.Key().compare(Key{q.AfterIssuer, q.After}) > 0
}

func (q Query) matches(a *Account) bool { return q.Issuer == "" || a.Issuer() == q.Issuer }

package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Declared are the accounts that a configuration declares. It never changes. The
// nil pointer holds none.
type Declared struct {
	version  uint64
	accounts []*Account // by subject and issuer
	known    *shard
}

// NewDeclared makes them of drafts. It fails if one does not hold ([*InputError])
// or two have the same issuer and subject ([ErrExists]).
func NewDeclared(drafts []Draft) (*Declared, error) {
	d := &Declared{version: declaredVersions.Add(1), accounts: make([]*Account, 0, len(drafts))}
	plain := map[string]bool{} // subjects whose plain id is taken
	for _, draft := range drafts {
		if err := draft.validateNew(); err != nil {
			return nil, fmt.Errorf("account %s: %w", quote(draft.Subject), err)
		}
		qualified := plain[draft.Subject] || !draft.isFirst()
		plain[draft.Subject] = plain[draft.Subject] || !qualified
		declared := draft.create(0, qualified)
		declared.created, declared.updated = 0, 0
		d.accounts = append(d.accounts, declared)
	}
	slices.SortFunc(d.accounts, byKey)
	for i, a := range d.accounts[min(1, len(d.accounts)):] {
		if d.accounts[i].isKey(a.Key()) {
			return nil, fmt.Errorf("account %s: %w: declared twice", quote(a.Subject()), ErrExists)
		}
	}
	d.known = newShard(d.accounts, origin{})
	return d, nil
}

func (d *Declared) find(key Key) *Account {
	if d == nil || len(d.accounts) == 0 {
		return nil
	}
	return d.known.find(hash(key.Subject), key)
}

func (d *Declared) named(subject string) []*Account {
	if d == nil {
		return nil
	}
	return d.known.named(hash(subject), subject)
}

func (d *Declared) findID(text string) *Account {
	id, ok := parseID(text)
	if d == nil || !ok {
		return nil
	}
	return d.known.findID(id)
}

// View is what one configuration sees: the accounts that it declares, laid over
// those of the registry. Declared accounts cannot be changed, and hide a stored
// one with the same issuer and subject. Both fields may be shared; Declared may
// be nil.
type View struct {
	Declared *Declared
	Registry *Registry
}

// Lookup is [Registry.Lookup], declared accounts first.
func (v View) Lookup(issuer, subject string) (*Account, bool) {
	if a := v.Declared.find(Key{issuer, subject}); a != nil {
		return a, true
	}
	return v.Registry.Lookup(issuer, subject)
}

// Loaded is [Registry.Loaded]. Until then declared accounts are known already.
func (v View) Loaded() bool { return v.Registry.Loaded() }

// AwaitReading is [Registry.AwaitReading].
func (v View) AwaitReading(ctx context.Context) bool { return v.Registry.AwaitReading(ctx) }

// Find is [Registry.Find] among both.
func (v View) Find(issuer, key string) (*Account, error) { return choose(v.matches(key), issuer) }

// matches are the accounts that a subject or an id may mean.
func (v View) matches(key string) []*Account {
	stored := v.Registry.current.Load()
	matches := merge(v.Declared.named(key), stored.named(key))
	if len(matches) > 0 {
		return matches
	}
	if a := v.Declared.findID(key); a != nil {
		matches = append(matches, a)
	}
	if a := stored.findID(key); a != nil && v.Declared.find(a.Key()) == nil {
		matches = append(matches, a)
	}
	return matches
}

// Get is Find where the issuer need not be said.
func (v View) Get(key string) (*Account, bool) {
	a, err := v.Find("", key)
	return a, err == nil
}

// Page is [Registry.Page] of both.
func (v View) Page(q Query) []*Account {
	var declared []*Account
	if v.Declared != nil {
		for run := q.begin(v.Declared.accounts); len(run) > 0; run = q.next(run[1:]) {
			declared = append(declared, run[0])
		}
	}
	stored := q
	if q.Limit > 0 {
		stored.Limit += len(declared) // as many may be hidden
	}
	listed := merge(declared, v.Registry.Page(stored))
	if q.Limit > 0 && len(listed) > q.Limit {
		listed = listed[:q.Limit]
	}
	return listed
}

// List is Page for those of all issuers after a subject.
func (v View) List(after string, limit int) []*Account {
	return v.Page(Query{After: after, Limit: limit})
}

// merge merges two sorted lists; of two with the same key the first counts.
func merge(a, b []*Account) []*Account {
	if len(a) == 0 {
		return b
	}
	merged := make([]*Account, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := byKey(a[0], b[0]); {
		case c == 0:
			b = b[1:]
		case c < 0:
			merged, a = append(merged, a[0]), a[1:]
		default:
			merged, b = append(merged, b[0]), b[1:]
		}
	}
	return append(append(merged, a...), b...)
}

// Counts is [Registry.Counts] of both.
func (v View) Counts() Counts {
	c := v.Registry.Counts()
	if v.Declared == nil {
		return c
	}
	now := v.Registry.now()
	for _, a := range v.Declared.accounts {
		c.add(a.State(now), 1)
		if hidden, ok := v.Registry.Lookup(a.Issuer(), a.Subject()); ok {
			c.add(hidden.State(now), -1)
		}
	}
	return c
}

// Unconfirmed counts the stored accounts that are for an issuer which had the name
// of a configured one. They let nobody in until they are confirmed.
func (v View) Unconfirmed(configured Issuers) map[Issuer]int {
	counts := map[Issuer]int{}
	for _, s := range v.Registry.current.Load().shards {
		if s == nil {
			continue
		}
		for was, n := range s.issuers() {
			if now := configured.Identifier(was.Name); now != "" && was.Identifier != "" && was.Identifier != now {
				counts[was] += n
			}
		}
	}
	return counts
}

func (c *Counts) add(s State, n int) {
	switch s {
	case Active:
		c.Active += n
	case Inactive:
		c.Inactive += n
	default:
		c.Expired += n
	}
}

// Apply is [Registry.Apply]; changes of declared accounts are refused with
// [ErrDeclared], or with [ErrExists] if they only create.
func (v View) Apply(ctx context.Context, changes []Change, progress func(done int)) ([]Result, error) {
	results := make([]Result, len(changes))
	var passed []Change
	var at []int
	for i, c := range changes {
		if err := v.refuse(c); err != nil {
			results[i] = refused(err)
			continue
		}
		passed, at = append(passed, c), append(at, i)
	}
	got, err := v.Registry.Apply(ctx, passed, progress)
	if err != nil {
		return nil, err
	}
	for i, r := range got {
		results[at[i]] = r
	}
	return results, nil
}

// refuse reports a change of a declared account.
func (v View) refuse(c Change) error {
	if c.Op == Create || c.Op == Upsert {
		switch {
		case c.Draft == nil || v.Declared.find(Key{c.Draft.Issuer, c.Draft.Subject}) == nil:
			return nil
		case c.Op == Create:
			return fmt.Errorf("%w: %w", ErrExists, ErrDeclared)
		}
		return ErrDeclared
	}
	if v.Declared == nil {
		return nil
	}
	found, err := v.Find(c.Issuer, c.Key)
	if errors.Is(err, ErrAmbiguous) && c.Draft != nil && c.Draft.Issuer != "" {
		found, err = v.Find(c.Draft.Issuer, c.Key)
	}
	switch {
	case errors.Is(err, ErrAmbiguous):
		return err
	case err == nil && v.Declared.find(found.Key()) == found:
		return ErrDeclared
	}
	return nil // what is not known here may be stored all the same
}

// Create is [Registry.Create]; see [View.Apply].
func (v View) Create(ctx context.Context, d *Draft) (*Account, error) {
	return single(v.Apply(ctx, []Change{{Op: Create, Draft: d}}, nil))
}

// Replace is [Registry.Replace]; see [View.Apply].
func (v View) Replace(ctx context.Context, key string, d *Draft) (*Account, error) {
	return single(v.Apply(ctx, []Change{{Op: Replace, Key: key, Draft: d}}, nil))
}

// Delete is [Registry.Delete]; see [View.Apply].
func (v View) Delete(ctx context.Context, key string) (*Account, error) {
	return single(v.Apply(ctx, []Change{{Op: Delete, Key: key}}, nil))
}

// Synced is [Registry.Synced].
func (v View) Synced() time.Time { return v.Registry.Synced() }

// Compare is [Registry.Compare].
func (v View) Compare() (*Comparison, error) { return v.Registry.Compare() }

// Repair is [Registry.Repair].
func (v View) Repair(ctx context.Context, keep Keep) (mended []string, err error) {
	return v.Registry.Repair(ctx, keep)
}

// Standing is [Registry.Standing].
func (v View) Standing() Standing { return v.Registry.Standing() }

// Unavailable is [Registry.Unavailable].
func (v View) Unavailable() bool { return v.Registry.Unavailable() }

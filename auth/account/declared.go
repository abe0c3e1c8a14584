package account

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// Declared are the accounts that a configuration declares. It never changes. The
// nil pointer holds none.
type Declared struct {
	version  uint64
	accounts []*Account // by subject
	known    *shard
}

// NewDeclared makes them of drafts. It fails if one does not hold ([*InputError])
// or two have the same subject ([ErrExists]).
func NewDeclared(drafts []Draft) (*Declared, error) {
	d := &Declared{version: declaredVersions.Add(1), accounts: make([]*Account, 0, len(drafts))}
	for _, draft := range drafts {
		if err := draft.Validate(); err != nil {
			return nil, fmt.Errorf("account %s: %w", quote(draft.Subject), err)
		}
		d.accounts = append(d.accounts, draft.account(0, 0))
	}
	slices.SortFunc(d.accounts, bySubject)
	for i, a := range d.accounts[min(1, len(d.accounts)):] {
		if d.accounts[i].is(a.Subject()) {
			return nil, fmt.Errorf("account %s: %w: declared twice", quote(a.Subject()), ErrExists)
		}
	}
	d.known = newShard(d.accounts, origin{})
	return d, nil
}

func (d *Declared) find(subject string) *Account {
	if d == nil || len(d.accounts) == 0 {
		return nil
	}
	return d.known.find(hash(subject), subject)
}

// get finds an account by subject or id.
func (d *Declared) get(key string) *Account {
	if a := d.find(key); a != nil || d == nil {
		return a
	}
	id, err := uuid.Parse(key)
	if err != nil {
		return nil
	}
	if a := d.known.findID(id); a != nil && id.String() == key {
		return a
	}
	return nil
}

// View is what one configuration sees: the accounts that it declares, laid over
// those of the registry. Declared accounts cannot be changed, and hide a stored
// one with the same subject. Both fields may be shared; Declared may be nil.
type View struct {
	Declared *Declared
	Registry *Registry
}

// Lookup is [Registry.Lookup], declared accounts first.
func (v View) Lookup(issuer, subject string) (*Account, bool) {
	a := v.Declared.find(subject)
	if a == nil {
		return v.Registry.Lookup(issuer, subject)
	}
	if a.Issuer() != issuer {
		return nil, false
	}
	return a, true
}

// Loaded is [Registry.Loaded]. Until then declared accounts are known already.
func (v View) Loaded() bool { return v.Registry.Loaded() }

// Get is [Registry.Get], declared accounts first.
func (v View) Get(key string) (*Account, bool) {
	if a := v.Declared.get(key); a != nil {
		return a, true
	}
	return v.Registry.Get(key)
}

// List is [Registry.List] of both, by subject.
func (v View) List(after string, limit int) []*Account {
	var declared []*Account
	if v.Declared != nil {
		declared = v.Declared.accounts
		at, found := slices.BinarySearchFunc(declared, after, func(a *Account, s string) int { return cmp.Compare(a.Subject(), s) })
		if found {
			at++
		}
		declared = declared[at:]
	}
	more := limit
	if limit > 0 {
		more += len(declared) // as many may be hidden
	}
	listed := merge(declared, v.Registry.List(after, more))
	if limit > 0 && len(listed) > limit {
		listed = listed[:limit]
	}
	return listed
}

// merge merges two sorted lists; of two with the same subject the first counts.
func merge(a, b []*Account) []*Account {
	if len(a) == 0 {
		return b
	}
	merged := make([]*Account, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := bySubject(a[0], b[0]); {
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
		if hidden, ok := v.Registry.Get(a.Subject()); ok && hidden.is(a.Subject()) {
			c.add(hidden.State(now), -1)
		}
	}
	return c
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
	key := c.Key
	if c.Op == Create || c.Op == Upsert {
		if c.Draft == nil {
			return nil
		}
		key = c.Draft.Subject
	}
	switch {
	case c.Op == Create && v.Declared.find(key) != nil:
		return fmt.Errorf("%w: %w", ErrExists, ErrDeclared)
	case c.Op == Upsert && v.Declared.find(key) != nil, c.Op != Create && c.Op != Upsert && v.Declared.get(key) != nil:
		return ErrDeclared
	}
	return nil
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

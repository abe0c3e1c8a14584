package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// Declared are the accounts that a configuration declares. It never changes. The
// nil pointer holds none.
type Declared struct {
	version  uint64
	accounts []*Account // by subject and issuer
	known    map[Key]*Account
}

// declaredVersions numbers the declared accounts of this process.
var declaredVersions atomic.Uint64

// NewDeclared makes them of drafts. It fails if one is not valid ([*InputError]) or
// two have the same issuer and subject ([ErrExists]).
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
	d.known = make(map[Key]*Account, len(d.accounts))
	for _, a := range d.accounts {
		d.known[a.Key()] = a
	}
	return d, nil
}

func (d *Declared) find(key Key) *Account {
	if d == nil || len(d.accounts) == 0 {
		return nil
	}
	return d.known[key]
}

// View is what one configuration sees: the accounts that it declares, laid over
// those of the registry. Declared accounts cannot be changed, and hide a stored
// one with the same issuer and subject. Both fields may be shared; Declared may
// be nil. What has nothing to do with declared accounts is the registry's own.
type View struct {
	Declared *Declared
	*Registry
}

// Lookup is [Registry.Lookup], declared accounts first.
func (v View) Lookup(issuer, subject string) (*Account, bool) {
	if a := v.Declared.find(Key{issuer, subject}); a != nil {
		return a, true
	}
	return v.Registry.Lookup(issuer, subject)
}

// Find is [Registry.Find] among both.
func (v View) Find(issuer, key string) (*Account, error) {
	var found []*Account
	stored := v.Registry.Snapshot()
	isNamed := func(a *Account) bool { return a.is(key) }
	if v.Declared != nil {
		found = only(v.Declared.accounts, isNamed)
	}
	found = merge(found, stored.Like(hash(key), isNamed))
	if id, ok := parseID(key); ok && len(found) == 0 {
		if v.Declared != nil {
			found = only(v.Declared.accounts, func(a *Account) bool { return a.uuid() == id })
		}
		if a := stored.ByID(id); a != nil && v.Declared.find(a.Key()) == nil {
			found = append(found, a)
		}
	}
	return choose(found, issuer)
}

// Page is [Registry.Page] of both.
func (v View) Page(q Query) []*Account {
	var declared []*Account
	if v.Declared != nil {
		declared = only(v.Declared.accounts, func(a *Account) bool { return q.from(a) && q.matches(a) })
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

// only are the accounts that match.
func only(accounts []*Account, match func(*Account) bool) (matching []*Account) {
	for _, a := range accounts {
		if match(a) {
			matching = append(matching, a)
		}
	}
	return matching
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
	number := map[State]*int{Active: &c.Active, Inactive: &c.Inactive, Expired: &c.Expired}
	for _, a := range v.Declared.accounts {
		*number[a.State(now)]++
		if hidden, ok := v.Registry.Lookup(a.Issuer(), a.Subject()); ok {
			*number[hidden.State(now)]--
		}
	}
	return c
}

// Apply is [Registry.Apply]; changes of declared accounts are refused with
// [ErrDeclared], or with [ErrExists] if they only create.
func (v View) Apply(ctx context.Context, changes []Change, progress func(done int)) ([]Result, error) {
	results := make([]Result, len(changes))
	var passed []Change
	var at []int
	for i, c := range changes {
		if err := v.refuse(c); err != nil {
			results[i] = Result{Outcome: Refused, Err: err}
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

// Version is [Registry.Version], and that of the declared accounts.
func (v View) Version() Version {
	version := v.Registry.Version()
	if v.Declared != nil {
		version |= Version(v.Declared.version << storedBits)
	}
	return version
}

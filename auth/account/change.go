package account

import (
	"fmt"
)

// Op is what a [Change] asks for.
type Op uint8

// The operations.
const (
	// Create makes an account; [ErrExists] if there is one with that subject.
	Create Op = iota + 1
	// Replace makes the account of Key what Draft says; [ErrNotFound] if there is
	// none.
	Replace
	// Upsert is Create or, if there is an account with that subject, Replace.
	Upsert
	// Delete removes the account of Key; [ErrNotFound] if there is none.
	Delete
)

// Change is one thing to be done to one account.
type Change struct {
	Op Op
	// Key is the subject or the id for Replace and Delete.
	Key string
	// Draft is for all but Delete. For Replace its subject may be empty; if it is
	// not, it must be the account's, which never changes.
	Draft *Draft
}

// Outcome is what came of a [Change].
type Outcome uint8

// The outcomes.
const (
	Created Outcome = iota + 1
	Replaced
	// Unchanged: the account is so already.
	Unchanged
	Deleted
	// Refused: see the result's error. Nothing was done.
	Refused
)

// String names the outcome: created, updated, unchanged, deleted or refused.
func (o Outcome) String() string {
	switch o {
	case Created:
		return "created"
	case Replaced:
		return "updated"
	case Unchanged:
		return "unchanged"
	case Deleted:
		return "deleted"
	}
	return "refused"
}

// Result is what came of one [Change].
type Result struct {
	Outcome Outcome
	// Account is what there is now or, if it was deleted, was; nil if refused.
	Account *Account
	// Err says why the change was refused: [ErrExists], [ErrNotFound],
	// [ErrDeclared], [ErrDamaged] or an [*InputError].
	Err error
}

func refused(err error) Result { return Result{Outcome: Refused, Err: err} }

// work is a change of the accounts in the making.
type work struct {
	base    *snapshot
	changed map[string]*Account // nil: deleted
	blocked map[int]string      // shards that must not be written, with the damaged record
}

func (w *work) get(subject string) *Account {
	if a, ok := w.changed[subject]; ok {
		return a
	}
	return w.base.find(subject)
}

// find is get by subject or id. An id of an account that is only in the making
// is not found.
func (w *work) find(key string) *Account {
	if a, ok := w.changed[key]; ok {
		return a
	}
	if a := w.base.get(key); a != nil {
		return w.get(a.Subject())
	}
	return nil
}

// set makes the account of a subject another one, unless its shard is damaged.
func (w *work) set(subject string, a *Account) error {
	if record := w.blocked[shardOf(subject)]; record != "" {
		return fmt.Errorf("%w: %s holds the account or would; restore the record, or repair the registry", ErrDamaged, record)
	}
	w.changed[subject] = a
	return nil
}

// apply does one change; now are Unix seconds.
func (w *work) apply(c Change, now int64) Result {
	switch {
	case c.Op == Delete:
		return w.remove(c.Key)
	case c.Draft == nil || c.Op < Create || c.Op > Delete:
		return refused(invalid("", "the change names no known operation, or has no draft"))
	case c.Op == Replace:
		return w.replace(c.Key, c.Draft, now)
	}
	if err := c.Draft.Validate(); err != nil {
		return refused(err)
	}
	if err := c.Draft.checkID(c.Draft.Subject); err != nil {
		return refused(err)
	}
	old := w.get(c.Draft.Subject)
	switch {
	case old == nil:
		return w.put(c.Draft.create(now), Created)
	case c.Op == Create:
		return refused(ErrExists)
	}
	return w.update(old, c.Draft, now)
}

func (w *work) remove(key string) Result {
	old := w.find(key)
	if old == nil {
		return refused(ErrNotFound)
	}
	if err := w.set(old.Subject(), nil); err != nil {
		return refused(err)
	}
	return Result{Outcome: Deleted, Account: old}
}

func (w *work) replace(key string, d *Draft, now int64) Result {
	old := w.find(key)
	if old == nil {
		return refused(ErrNotFound)
	}
	if d.Subject != "" && !old.is(d.Subject) {
		return refused(invalid("subject", "is %s; want %s, which never changes, or leave it out", quote(d.Subject), quote(old.Subject())))
	}
	named := *d
	named.Subject = old.Subject()
	if err := named.Validate(); err != nil {
		return refused(err)
	}
	if err := named.checkID(named.Subject); err != nil {
		return refused(err)
	}
	return w.update(old, &named, now)
}

func (w *work) update(old *Account, d *Draft, now int64) Result {
	next := d.account(old.created, max(now, old.updated))
	if next.same(old) {
		return Result{Outcome: Unchanged, Account: old}
	}
	return w.put(next, Replaced)
}

func (w *work) put(a *Account, o Outcome) Result {
	if err := w.set(a.Subject(), a); err != nil {
		return refused(err)
	}
	return Result{Outcome: o, Account: a}
}

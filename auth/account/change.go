package account

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unique"

	"github.com/google/uuid"
)

// Op is what a [Change] asks for.
type Op uint8

// The operations.
const (
	// Create makes an account; [ErrExists] if there is one with that issuer and
	// subject.
	Create Op = iota + 1
	// Replace makes the account of Key what Draft says; [ErrNotFound] if there is
	// none.
	Replace
	// Upsert is Create or, if there is such an account, Replace.
	Upsert
	// Delete removes the account of Key; [ErrNotFound] if there is none.
	Delete
	// Confirm gives the account of Key the identifier that its issuer has now, by the
	// Issuers of Draft; [ErrNotFound] if there is none.
	Confirm
)

// Change is one thing to be done to one account.
type Change struct {
	Op Op
	// Key is the subject or the id for Replace, Delete and Confirm.
	Key string
	// Issuer is the name of the account's issuer. It may be empty where only one
	// issuer has an account of that subject; else the change is [ErrAmbiguous].
	Issuer string
	// Tags, if not nil, must hold the account's [Account.Tag]; else the change is
	// [ErrChanged].
	Tags []string
	// Draft is for all but Delete. For Replace its subject and its issuer may be
	// empty; if they are not, they must be the account's, which never change.
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
	// Account is the account after the change or, if it was deleted, before; nil if
	// the change was refused.
	Account *Account
	// Err says why the change was refused: [ErrExists], [ErrNotFound],
	// [ErrAmbiguous], [ErrChanged], [ErrDeclared], [registry.ErrDamaged] or an
	// [*InputError].
	Err error
}

// edit does changes of accounts in a revision that is being made.
type edit struct{ *work }

// named are the accounts with that subject, of all issuers.
func (w edit) named(subject string) []*Account {
	return w.Like(hash(subject), func(a *Account) bool { return a.is(subject) })
}

// find finds the account that a change is about. An account that is not written yet
// is not found by its id.
func (w edit) find(c Change) (*Account, error) {
	named := w.named(c.Key)
	if id, ok := parseID(c.Key); ok && len(named) == 0 {
		if a := w.ByID(id); a != nil {
			named = append(named, a)
		}
	}
	found, err := choose(named, c.Issuer)
	if errors.Is(err, ErrAmbiguous) && c.Draft != nil && c.Draft.Issuer != "" {
		found, err = choose(named, c.Draft.Issuer)
	}
	if err == nil && c.Tags != nil && !slices.Contains(c.Tags, found.Tag()) {
		return nil, ErrChanged
	}
	return found, err
}

// choose picks the account that is meant among those of one subject.
func choose(named []*Account, issuer string) (*Account, error) {
	var issuers []string
	var chosen *Account
	for _, a := range named {
		if issuer == "" || a.Issuer() == issuer {
			chosen, issuers = a, append(issuers, a.Issuer())
		}
	}
	switch len(issuers) {
	case 0:
		return nil, ErrNotFound
	case 1:
		return chosen, nil
	}
	return nil, fmt.Errorf("%w: %s; say which is meant by ?issuer= or --issuer", ErrAmbiguous, strings.Join(issuers, ", "))
}

// apply does one change.
func (w edit) apply(c Change) Result {
	var result Result
	var err error
	switch {
	case c.Op == Delete:
		var old *Account
		if old, err = w.find(c); err == nil {
			result, err = Result{Outcome: Deleted, Account: old}, w.Delete(old.Key())
		}
	case c.Draft == nil || c.Op < Create || c.Op > Confirm:
		err = invalid("", "the change names no known operation, or has no draft")
	case c.Op == Replace:
		result, err = w.replace(c)
	case c.Op == Confirm:
		result, err = w.confirm(c)
	default:
		result, err = w.create(c)
	}
	if err != nil {
		return Result{Outcome: Refused, Err: err}
	}
	return result
}

func (w edit) create(c Change) (Result, error) {
	d := c.Draft
	if err := d.Validate(); err != nil {
		return Result{}, err
	}
	old := w.Get(Key{d.Issuer, d.Subject})
	switch {
	case old != nil && c.Op == Create:
		return Result{}, ErrExists
	case old != nil:
		return w.update(old, d)
	}
	if err := d.validateNew(); err != nil {
		return Result{}, err
	}
	if err := d.checkIdentifier(nil); err != nil {
		return Result{}, err
	}
	plain := func(a *Account) bool { return !a.traits.Value().qualified }
	qualified, err := d.chooseID(slices.ContainsFunc(w.named(d.Subject), plain))
	if err != nil {
		return Result{}, err
	}
	a := d.create(w.Now, qualified)
	return Result{Outcome: Created, Account: a}, w.Put(a)
}

func (w edit) replace(c Change) (Result, error) {
	old, err := w.find(c)
	if err != nil {
		return Result{}, err
	}
	d := *c.Draft
	if d.Subject != "" && !old.is(d.Subject) {
		return Result{}, invalid("subject", "is %s; want %s, which never changes, or leave it out", quote(d.Subject), quote(old.Subject()))
	}
	if d.Issuer != "" && d.Issuer != old.Issuer() {
		return Result{}, invalid("issuer", "is %s; want %s, which never changes, or leave it out", quote(d.Issuer), quote(old.Issuer()))
	}
	d.Subject, d.Issuer = old.Subject(), old.Issuer()
	if err := d.Validate(); err != nil {
		return Result{}, err
	}
	return w.update(old, &d)
}

func (w edit) update(old *Account, d *Draft) (Result, error) {
	if d.id != uuid.Nil && d.id != old.uuid() {
		return Result{}, wrongID(d.id, old.uuid())
	}
	if err := d.checkIdentifier(old); err != nil {
		return Result{}, err
	}
	if err := d.checkGroupEnds(old.Groups()); err != nil {
		return Result{}, err
	}
	return w.exchange(old, d.replace(old, w.Now))
}

// confirm changes nothing but the issuer's identifier.
func (w edit) confirm(c Change) (Result, error) {
	old, err := w.find(c)
	if err != nil {
		return Result{}, err
	}
	t := old.traits.Value()
	if t.identifier = c.Draft.Issuers.Identifier(t.issuer); t.identifier == "" {
		return Result{}, invalid("issuer", "is %s; want one of the configured: %s", quote(t.issuer), c.Draft.Issuers.names())
	}
	next := *old
	next.traits, next.updated = unique.Make(t), max(w.Now, old.updated)
	return w.exchange(old, &next)
}

func (w edit) exchange(old, next *Account) (Result, error) {
	if next.same(old) {
		return Result{Outcome: Unchanged, Account: old}, nil
	}
	return Result{Outcome: Replaced, Account: next}, w.Put(next)
}

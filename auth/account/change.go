package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"unique"

	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
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
type Outcome string

// The outcomes.
const (
	Created  Outcome = "created"
	Replaced Outcome = "updated"
	// Unchanged: the account is so already.
	Unchanged Outcome = "unchanged"
	Deleted   Outcome = "deleted"
	// Refused: see the result's error. Nothing was done.
	Refused Outcome = "refused"
)

// Result is what came of one [Change].
type Result struct {
	Outcome Outcome
	// Account is the account after the change or, if it was deleted, before; nil if
	// the change was refused.
	Account *Account
	// Err says why the change was refused: [ErrExists], [ErrNotFound],
	// [ErrAmbiguous], [ErrChanged], [ErrDeclared], [registry.ErrDamaged] or an
	// [*strictjson.InputError].
	Err error
}

// Apply does changes, all in one revision: either all that are not refused
// happen, or none. Refused changes do not hinder the others; their results say why.
// The results are in the order of the changes. Changes of declared accounts are refused
// with [ErrDeclared], or with [ErrExists] if they only create.
//
// progress, if not nil, is called now and then with the number of changes that are
// written, by the caller's own goroutine.
//
// The error is [registry.ErrBusy] when storage could not be written in time (15 seconds,
// and a little more for very many changes), [registry.ErrClosed], or the context's.
func (r *Registry) Apply(ctx context.Context, changes []Change, progress func(done int)) ([]Result, error) {
	results := make([]Result, len(changes))
	var passed []int
	for i, c := range changes {
		if err := r.refuse(c); err != nil {
			results[i] = Result{Outcome: Refused, Err: err}
			continue
		}
		passed = append(passed, i)
	}
	if len(passed) == 0 {
		return results, nil
	}
	done, err := registry.Change(ctx, r.Registry, len(passed), func(w *registry.Work[Key, Account]) []Result {
		done := make([]Result, len(passed))
		for i, at := range passed {
			done[i] = apply(w, changes[at])
		}
		return done
	}, progress)
	if err != nil {
		return nil, err
	}
	for i, at := range passed {
		results[at] = done[i]
	}
	return results, nil
}

// refuse reports a change of a declared account.
func (r *Registry) refuse(c Change) error {
	if c.Op == Create || c.Op == Upsert {
		switch {
		case c.Draft == nil || r.known[Key{c.Draft.Issuer, c.Draft.Subject}] == nil:
			return nil
		case c.Op == Create:
			return fmt.Errorf("%w: %w", ErrExists, ErrDeclared)
		}
		return ErrDeclared
	}
	if len(r.declared) == 0 {
		return nil
	}
	found, err := choose(r.named(c.Key), c.Issuer, c.Draft)
	switch {
	case errors.Is(err, ErrAmbiguous):
		return err
	case err == nil && r.known[found.Key()] == found:
		return ErrDeclared
	}
	return nil // what is not known here may be stored all the same
}

// apply does one change in a revision that is being made.
func apply(w *registry.Work[Key, Account], c Change) Result {
	old, next, err := judge(w, c)
	result := Result{Account: next}
	switch {
	case err != nil:
	case next == nil:
		result, err = Result{Deleted, old, nil}, w.Delete(old.Key())
	case old == nil:
		result.Outcome, err = Created, w.Put(next)
	case next.text == old.text && next.traits == old.traits && next.Expires == old.Expires:
		result = Result{Unchanged, old, nil}
	default:
		result.Outcome, err = Replaced, w.Put(next)
	}
	if err != nil {
		return Result{Outcome: Refused, Err: err}
	}
	return result
}

// judge gives the account that a change is about, nil if it makes one, and what it
// becomes, nil if it is deleted.
func judge(w *registry.Work[Key, Account], c Change) (old, next *Account, err error) {
	if c.Op != Delete && c.Draft == nil || c.Op < Create || c.Op > Confirm {
		return nil, nil, strictjson.Invalid("", "the change names no known operation, or has no draft")
	}
	if c.Op == Create || c.Op == Upsert {
		if err := c.Draft.validate(); err != nil {
			return nil, nil, err
		}
		old = w.Get(Key{c.Draft.Issuer, c.Draft.Subject})
		switch {
		case old == nil:
			next, err = create(w, c.Draft)
		case c.Op == Create:
			err = ErrExists
		default:
			next, err = c.Draft.replace(old, w.Now)
		}
		return old, next, err
	}
	if old, err = find(w, c); err != nil || c.Op == Delete {
		return old, nil, err
	}
	t := old.Traits()
	if c.Op == Confirm { // nothing but the issuer's identifier
		if t.Identifier = c.Draft.Issuers.Identifier(t.Issuer); t.Identifier == "" {
			return nil, nil, strictjson.Invalid("issuer", "is %s; want one of the configured: %s", quote(t.Issuer), c.Draft.Issuers.Names())
		}
		confirmed := *old
		confirmed.traits, confirmed.Updated = unique.Make(t), max(w.Now, old.Updated)
		return old, &confirmed, nil
	}
	d := *c.Draft
	if d.Subject != "" && !old.is(d.Subject) {
		return nil, nil, strictjson.Invalid("subject", "is %s; want %s, which never changes, or leave it out", quote(d.Subject), quote(old.Subject()))
	}
	if d.Issuer != "" && d.Issuer != t.Issuer {
		return nil, nil, strictjson.Invalid("issuer", "is %s; want %s, which never changes, or leave it out", quote(d.Issuer), quote(t.Issuer))
	}
	d.Subject, d.Issuer = old.Subject(), t.Issuer
	if err = d.validate(); err == nil {
		next, err = d.replace(old, w.Now)
	}
	return old, next, err
}

// find finds the account that a change is about. An account that is not written yet
// is not found by its id.
func find(w *registry.Work[Key, Account], c Change) (*Account, error) {
	named := w.Like(hash(c.Key), func(a *Account) bool { return a.is(c.Key) })
	if id, ok := parseID(c.Key); ok && len(named) == 0 {
		if a := w.ByID(id); a != nil {
			named = append(named, a)
		}
	}
	found, err := choose(named, c.Issuer, c.Draft)
	if err == nil && c.Tags != nil && !slices.Contains(c.Tags, found.Tag()) {
		return nil, ErrChanged
	}
	return found, err
}

// create makes a new account of a valid draft.
func create(w *registry.Work[Key, Account], d *Draft) (*Account, error) {
	if err := d.checkEnds(nil); err != nil {
		return nil, err
	}
	if err := d.checkIdentifier(nil); err != nil {
		return nil, err
	}
	plain := w.Like(hash(d.Subject), func(a *Account) bool { return a.is(d.Subject) && !a.Traits().qualified })
	qualified, err := d.chooseID(len(plain) > 0)
	if err != nil {
		return nil, err
	}
	return d.account(nil, qualified, w.Now), nil
}

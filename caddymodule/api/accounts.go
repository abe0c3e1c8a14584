package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// Accounts are the known service accounts, declared and stored ones alike.
type Accounts interface {
	Get(key string) (*account.Account, bool)
	List(after string, limit int) []*account.Account
	Create(ctx context.Context, d *account.Draft) (*account.Account, error)
	Replace(ctx context.Context, key string, d *account.Draft) (*account.Account, error)
	Delete(ctx context.Context, key string) (*account.Account, error)
	Apply(ctx context.Context, changes []account.Change, progress func(done int)) ([]account.Result, error)
}

// maxPage is the most that ?limit= may ask for.
const maxPage = 1000

// listAccounts answers with all accounts by subject, or a page of them.
func (a *API) listAccounts(c *call) error {
	limit, err := c.limit(maxPage)
	if err != nil {
		return err
	}
	writeList(c.w, a.services.Accounts.List(c.r.URL.Query().Get("after"), limit))
	return nil
}

func (a *API) createAccount(c *call) error {
	draft, err := a.readDraft(c, account.Decode)
	if err != nil {
		return err
	}
	made, err := a.services.Accounts.Create(c.toTheEnd(), draft)
	if err != nil {
		return a.accountFailed(c, "create", draft.Subject, err)
	}
	a.audit(c, "service_account.create", made.Subject())
	writeJSON(c.w, http.StatusCreated, made)
	return nil
}

func (a *API) getAccount(c *call) error {
	key, err := c.accountKey()
	if err != nil {
		return err
	}
	found, ok := a.services.Accounts.Get(key)
	if !ok {
		return accountProblem(account.ErrNotFound)
	}
	writeJSON(c.w, http.StatusOK, found)
	return nil
}

func (a *API) putAccount(c *call) error {
	key, err := c.accountKey()
	if err != nil {
		return err
	}
	draft, err := a.readDraft(c, account.DecodeReplacement)
	if err != nil {
		return err
	}
	made, err := a.services.Accounts.Replace(c.toTheEnd(), key, draft)
	if err != nil {
		return a.accountFailed(c, "update", key, err)
	}
	a.audit(c, "service_account.update", made.Subject())
	writeJSON(c.w, http.StatusOK, made)
	return nil
}

func (a *API) deleteAccount(c *call) error {
	key, err := c.accountKey()
	if err != nil {
		return err
	}
	gone, err := a.services.Accounts.Delete(c.toTheEnd(), key)
	if err != nil {
		return a.accountFailed(c, "delete", key, err)
	}
	a.audit(c, "service_account.delete", gone.Subject())
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// accountKey is the subject or id in the path: all that follows the prefix, as
// a subject may hold slashes, percent-decoded once.
func (c *call) accountKey() (string, error) {
	key, err := url.PathUnescape(c.rest)
	if err != nil {
		return "", problem(http.StatusBadRequest, "the subject in the path is not percent-encoded well")
	}
	if len(key) > account.MaxText {
		return "", accountProblem(account.ErrNotFound) // nobody's, and too long for the audit log
	}
	return key, nil
}

// readDraft reads an account from the body. An issuer that is left out is the
// only one.
func (a *API) readDraft(c *call, decode func([]byte) (*account.Draft, error)) (*account.Draft, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	draft, err := decode(body)
	if err != nil {
		return nil, accountProblem(err)
	}
	if err := draft.SetIssuer(a.services.Issuers); err != nil {
		return nil, accountProblem(err)
	}
	return draft, nil
}

// accountFailed records an attempt that came to nothing, and words its error.
func (a *API) accountFailed(c *call, action, subject string, err error) error {
	worded := accountProblem(err)
	outcome := outcomeFailed
	var p *Problem
	if errors.As(worded, &p) && p.Status < http.StatusInternalServerError {
		outcome = outcomeRefused
	}
	a.auditOutcome(c, "service_account."+action, subject, outcome)
	return worded
}

// toTheEnd is the context of a change. A caller who goes away does not stop it
// half-way, so that the audit log can tell what came of it; storage bounds it.
func (c *call) toTheEnd() context.Context { return context.WithoutCancel(c.r.Context()) }

// storageRetry is when a storage that could not be written may be asked again.
const storageRetry = 5 * time.Second

// accountProblem turns an error of the package account into an answer.
func accountProblem(err error) error {
	var input *account.InputError
	switch {
	case errors.As(err, &input) && input.Class == account.Malformed:
		return problem(http.StatusBadRequest, input.Error())
	case errors.As(err, &input):
		return problem(http.StatusUnprocessableEntity, input.Error())
	case errors.Is(err, account.ErrExists):
		return problem(http.StatusConflict, account.ErrExists.Error())
	case errors.Is(err, account.ErrNotFound):
		return problem(http.StatusNotFound, account.ErrNotFound.Error())
	case errors.Is(err, account.ErrDeclared):
		return problem(http.StatusConflict, account.ErrDeclared.Error())
	case errors.Is(err, account.ErrDamaged):
		return &Problem{Status: http.StatusInternalServerError, Message: err.Error(), Cause: err}
	case errors.Is(err, account.ErrBusy), errors.Is(err, account.ErrClosed):
		return &Problem{Status: http.StatusServiceUnavailable, Message: account.ErrBusy.Error(), RetryAfter: storageRetry, Cause: err}
	}
	return err
}

package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// Accounts are the known service accounts, declared and stored ones alike.
type Accounts interface {
	Find(issuer, key string) (*account.Account, error)
	Loaded() bool
	AwaitReading(ctx context.Context) bool
	Page(q account.Query) []*account.Account
	Apply(ctx context.Context, changes []account.Change, progress func(done int)) ([]account.Result, error)
}

// maxPage is the most that ?limit= may ask for.
const maxPage = 1000

// listAccounts answers with all accounts by subject and issuer, or a page of
// them.
func (a *API) listAccounts(c *call) error {
	limit, err := c.limit(maxPage)
	if err != nil {
		return err
	}
	issuer, err := c.issuer()
	if err != nil {
		return err
	}
	if err := a.awaitAccounts(c); err != nil {
		return err
	}
	given := c.r.URL.Query()
	writeList(c.w, a.services.Accounts.Page(account.Query{
		After: given.Get("after"), AfterIssuer: given.Get("after_issuer"), Issuer: issuer, Limit: limit,
	}))
	return nil
}

func (a *API) createAccount(c *call) error {
	draft, err := c.readDraft(account.Decode)
	if err != nil {
		return err
	}
	if err := draft.SetIssuer(a.services.Issuers); err != nil {
		return accountProblem(err)
	}
	made, err := a.change(c, "create", draft.Subject, account.Change{Op: account.Create, Draft: draft})
	if err != nil {
		return err
	}
	writeAccount(c.w, http.StatusCreated, made)
	return nil
}

func (a *API) getAccount(c *call) error {
	key, err := c.accountKey()
	if err != nil {
		return err
	}
	issuer, err := c.issuer()
	if err != nil {
		return err
	}
	found, err := a.services.Accounts.Find(issuer, key)
	if errors.Is(err, account.ErrNotFound) && !a.services.Accounts.Loaded() {
		if err := a.awaitAccounts(c); err != nil {
			return err
		}
		found, err = a.services.Accounts.Find(issuer, key)
	}
	if err != nil {
		return accountProblem(err)
	}
	writeAccount(c.w, http.StatusOK, found)
	return nil
}

// awaitAccounts waits for the first reading of the accounts. Without it, what is
// stored would seem not to be there.
func (a *API) awaitAccounts(c *call) error {
	if a.services.Accounts.AwaitReading(c.r.Context()) {
		return nil
	}
	unread := problem(auth.ErrAccountsUnavailable.Status, auth.ErrAccountsUnavailable.Message)
	unread.RetryAfter = auth.ErrAccountsUnavailable.RetryAfter
	return unread
}

func (a *API) putAccount(c *call) error {
	asked, err := c.named(account.Replace)
	if err != nil {
		return err
	}
	if asked.Draft, err = c.readDraft(account.DecodeReplacement); err != nil {
		return err
	}
	asked.Draft.Issuers = a.services.Issuers
	made, err := a.change(c, "update", asked.Key, asked)
	if err != nil {
		return err
	}
	writeAccount(c.w, http.StatusOK, made)
	return nil
}

func (a *API) deleteAccount(c *call) error {
	asked, err := c.named(account.Delete)
	if err != nil {
		return err
	}
	if _, err := a.change(c, "delete", asked.Key, asked); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// change does one change and records what came of it. key is what the caller
// called the account.
func (a *API) change(c *call, action, key string, asked account.Change) (*account.Account, error) {
	results, err := a.services.Accounts.Apply(c.toTheEnd(), []account.Change{asked}, nil)
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return nil, a.accountFailed(c, action, key, err)
	}
	done := results[0].Account
	a.audit(c, "service_account."+action, a.target(done.Key()))
	return done, nil
}

// target names an account in the audit log.
func (a *API) target(key account.Key) string {
	if len(a.services.Issuers) > 1 {
		return key.Issuer + "/" + key.Subject
	}
	return key.Subject
}

// writeAccount answers with an account, and with the tag that a change may ask
// for (RFC 9110, section 13.1.1).
func writeAccount(w http.ResponseWriter, status int, shown *account.Account) {
	w.Header().Set("ETag", `"`+shown.Tag()+`"`)
	writeJSON(w, status, shown)
}

// named is a change of the account that path, ?issuer= and If-Match name.
func (c *call) named(op account.Op) (asked account.Change, err error) {
	asked.Op, asked.Tags = op, ifMatch(c.r.Header)
	if asked.Key, err = c.accountKey(); err == nil {
		asked.Issuer, err = c.issuer()
	}
	return asked, err
}

// ifMatch lists the tags of If-Match; nil: any will do. What is no strong tag
// matches nothing. Whoever compresses an answer puts the way behind its tag.
func ifMatch(header http.Header) []string {
	given := header.Values("If-Match")
	if len(given) == 0 {
		return nil
	}
	tags := []string{}
	for tag := range strings.SplitSeq(strings.Join(given, ","), ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" {
			return nil
		}
		if tag, ok := strings.CutPrefix(tag, `"`); ok {
			tag, _, _ = strings.Cut(strings.TrimSuffix(tag, `"`), "-")
			tags = append(tags, tag)
		}
	}
	return tags
}

// issuer reads ?issuer=, the name of the issuer that is meant; empty: not said.
func (c *call) issuer() (string, error) {
	given := c.r.URL.Query()["issuer"]
	if len(given) > 1 {
		return "", problem(http.StatusBadRequest, "issuer: expected one name")
	}
	return strings.Join(given, ""), nil
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

// readDraft reads an account from the body.
func (c *call) readDraft(decode func([]byte) (*account.Draft, error)) (*account.Draft, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	draft, err := decode(body)
	if err != nil {
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
	case errors.Is(err, account.ErrAmbiguous):
		return problem(http.StatusConflict, err.Error())
	case errors.Is(err, account.ErrChanged):
		return problem(http.StatusPreconditionFailed, account.ErrChanged.Error())
	case errors.Is(err, account.ErrDamaged):
		return &Problem{Status: http.StatusInternalServerError, Message: err.Error(), Cause: err}
	case errors.Is(err, account.ErrBusy), errors.Is(err, account.ErrClosed):
		return &Problem{Status: http.StatusServiceUnavailable, Message: whyBusy(err).Error(), RetryAfter: storageRetry, Cause: err}
	}
	return err
}

// whyBusy is what callers are told of the reason: nothing that is storage's own.
func whyBusy(err error) error {
	for _, known := range []error{account.ErrDiverged, account.ErrEmptied, account.ErrUnread} {
		if errors.Is(err, known) {
			return known
		}
	}
	return account.ErrBusy
}

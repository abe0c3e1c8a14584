package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// Accounts are the known service accounts, declared and stored ones alike: an
// [account.Registry].
type Accounts interface {
	Find(issuer, key string) (*account.Account, error)
	Page(q account.Query) []*account.Account
	Apply(ctx context.Context, changes []account.Change, progress func(done int)) ([]account.Result, error)

	Loaded() bool
	AwaitReading(ctx context.Context) bool

	Counts() account.Counts
	Unconfirmed(configured account.Issuers) map[account.Issuer]int
	Synced() time.Time
	Unavailable() bool
	StorageState() registry.StorageState
	Compare() (*registry.Comparison[account.Key, account.Account], error)
	Repair(ctx context.Context, keep registry.Keep) (mended []string, err error)
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
	if err := a.awaitAccounts(c); err != nil {
		return err
	}
	given := c.r.URL.Query()
	query := account.Query{After: given.Get("after"), AfterIssuer: given.Get("after_issuer"), Issuer: given.Get("issuer"), Limit: limit}
	if search := given.Get("search"); search != "" {
		writeList(c.w, slices.Values(a.search(query, search)))
		return nil
	}
	writeList(c.w, slices.Values(a.services.Accounts.Page(query)))
	return nil
}

// search gives the accounts of a query of which the subject, the name, the id or a
// group holds the text, in any case.
func (a *API) search(query account.Query, text string) (found []*account.Account) {
	text = strings.ToLower(text)
	holds := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	limit := query.Limit
	query.Limit = maxPage
	for {
		page := a.services.Accounts.Page(query)
		for _, one := range page {
			if holds(one.Subject()) || holds(one.Name()) || len(text) == 36 && one.ID() == text || slices.ContainsFunc(one.Groups(), holds) {
				found = append(found, one)
			}
			if limit > 0 && len(found) == limit {
				return found
			}
		}
		if len(page) < maxPage {
			return found
		}
		last := page[len(page)-1].Key()
		query.After, query.AfterIssuer = last.Subject, last.Issuer
	}
}

// awaitAccounts waits for the first reading of the accounts. Without it, what is
// stored would seem not to be there.
func (a *API) awaitAccounts(c *call) error {
	if a.services.Accounts.AwaitReading(c.r.Context()) {
		return nil
	}
	return refused(auth.ErrAccountsUnavailable)
}

func (a *API) getAccount(c *call) error {
	key, issuer, err := c.named()
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
		return err
	}
	writeAccount(c.w, http.StatusOK, found)
	return nil
}

func (a *API) createAccount(c *call) error {
	body, err := c.readBody(typeJSON)
	if err != nil {
		return err
	}
	draft, err := account.Decode(body)
	if err == nil {
		err = draft.SetIssuer(a.services.Issuers)
	}
	if err != nil {
		return err
	}
	return a.change(c, "service_account.create", account.Change{Op: account.Create, Draft: draft})
}

func (a *API) putAccount(c *call) error {
	key, issuer, err := c.named()
	if err != nil {
		return err
	}
	body, err := c.readBody(typeJSON)
	if err != nil {
		return err
	}
	draft, err := account.DecodeReplacement(body)
	if err != nil {
		return err
	}
	draft.Issuers = a.services.Issuers
	return a.change(c, "service_account.update", account.Change{
		Op: account.Replace, Key: key, Issuer: issuer, Tags: ifMatch(c.r.Header), Draft: draft,
	})
}

func (a *API) deleteAccount(c *call) error {
	key, issuer, err := c.named()
	if err != nil {
		return err
	}
	return a.change(c, "service_account.delete", account.Change{
		Op: account.Delete, Key: key, Issuer: issuer, Tags: ifMatch(c.r.Header),
	})
}

// change does one change, records its outcome, and answers.
func (a *API) change(c *call, action string, asked account.Change) error {
	changes := []account.Change{asked}
	var results []account.Result
	err := a.room(changes)
	if err == nil {
		results, err = a.services.Accounts.Apply(c.toTheEnd(), changes, nil)
	}
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		called := asked.Key
		if asked.Op == account.Create {
			called = asked.Draft.Subject
		}
		return a.failed(c, action, called, err)
	}
	done := results[0].Account
	entry := AuditEntry{Actor: c.actor(), Action: action, Target: a.target(done.Key()), Outcome: outcomeDone}
	if asked.Op != account.Delete {
		entry.Status = done.Status(time.Now())
	}
	a.services.Audit(entry)
	switch asked.Op {
	case account.Create:
		writeAccount(c.w, http.StatusCreated, done)
	case account.Delete:
		c.w.WriteHeader(http.StatusNoContent)
	default:
		writeAccount(c.w, http.StatusOK, done)
	}
	return nil
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

// named reads which account is meant, by ?issuer= and its subject or id. The latter is
// all of the path behind the prefix, as a subject may hold slashes, and is
// percent-decoded once.
func (c *call) named() (key, issuer string, err error) {
	key, err = url.PathUnescape(c.rest)
	if err != nil {
		return "", "", problem(http.StatusBadRequest, "the subject in the path is not percent-encoded well")
	}
	if len(key) > account.MaxText {
		return "", "", account.ErrNotFound // nobody's, and too long for the audit log
	}
	return key, c.r.URL.Query().Get("issuer"), nil
}

// ifMatch lists the tags of If-Match; nil: any will do. A weak tag matches nothing.
// Handlers that compress an answer append the encoding to its tag, as in "a-gzip".
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

// room refuses changes that make more service accounts than the license is for, if it
// says so.
func (a *API) room(changes []account.Change) error {
	if a.services.Room == nil {
		return nil
	}
	more := 0
	for i := range changes {
		if changes[i].Op != account.Create && changes[i].Op != account.Upsert {
			continue
		}
		if _, err := a.services.Accounts.Find(changes[i].Draft.Issuer, changes[i].Draft.Subject); err != nil {
			more++
		}
	}
	return a.services.Room(more)
}

package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
)

// Revocation is a revocation as the API shows it. Exactly one of its targets is there.
type Revocation struct {
	ID           string `json:"id"`
	Issuer       string `json:"issuer"` // its configured name; empty: it has none any more
	Identifier   string `json:"issuer_identifier"`
	Subject      string `json:"subject,omitzero"`
	Session      string `json:"session,omitzero"`
	Client       string `json:"client,omitzero"`
	TokenID      string `json:"token_id,omitzero"`
	IssuedBefore int64  `json:"issued_before"` // Unix seconds
	Reason       string `json:"reason"`
	By           string `json:"by"`
	CreatedAt    Moment `json:"created_at"`
	ExpiresAt    Moment `json:"expires_at"`
}

func (a *API) shown(r *revocation.Revocation) Revocation {
	key := r.Key()
	s := Revocation{
		ID: r.ID(), Issuer: a.services.Issuers.Name(key.Issuer), Identifier: key.Issuer, IssuedBefore: r.IssuedBefore,
		Reason: r.Reason(), By: r.By(), CreatedAt: Moment{time.Unix(r.Created, 0).UTC()}, ExpiresAt: Moment{time.Unix(r.Expires, 0).UTC()},
	}
	*map[revocation.Target]*string{
		revocation.Subject: &s.Subject, revocation.Session: &s.Session, revocation.Client: &s.Client, revocation.TokenID: &s.TokenID,
	}[key.Target] = key.Name
	return s
}

// identifierOf gives the identifier of an issuer by its configured name or its
// identifier; if called is empty, that of the only issuer.
func (a *API) identifierOf(called string) (string, error) {
	known := a.services.Issuers
	for _, one := range known {
		if called == one.Name || called == one.Identifier && called != "" {
			return one.Identifier, nil
		}
	}
	switch {
	case called == "" && len(known) == 1:
		return known[0].Identifier, nil
	case called == "":
		return "", strictjson.Invalid("issuer", "is missing; want one of the configured: %s", known.Names())
	}
	return "", strictjson.Invalid("issuer", "is %s; want one of the configured: %s", strictjson.Quote(called, 48), known.Names())
}

// revoke revokes what the body says.
func (a *API) revoke(c *call) error {
	draft, err := c.readRevocation()
	if err != nil {
		return err
	}
	if draft.Issuer, err = a.identifierOf(draft.Issuer); err != nil {
		return err
	}
	draft.Lifetime, draft.By = a.services.Lifetime(draft.Issuer), legible(c.actor())
	made, err := a.services.Revocations.Revoke(c.toTheEnd(), []revocation.Draft{*draft})
	if err == nil && made[0] == nil {
		err = problem(http.StatusUnprocessableEntity, "issued_before is so long ago that no token of then can be alive; want a later time, or leave it out")
	}
	if wrong := (*revocation.InputError)(nil); errors.As(err, &wrong) {
		return err // what it names may be too odd for the audit log
	}
	target := a.revoked(revocation.Key{Issuer: draft.Issuer, Target: draft.Target, Name: draft.Name})
	if err != nil {
		return a.failed(c, "revocation.create", target, err)
	}
	a.audit(c, "revocation.create", target)
	writeJSON(c.w, http.StatusCreated, a.shown(made[0]))
	return nil
}

// readRevocation reads the body, whose issuer is as it is called there.
func (c *call) readRevocation() (*revocation.Draft, error) {
	d := &revocation.Draft{}
	members := strictjson.Fields{
		"issuer": text(&d.Issuer), "reason": text(&d.Reason),
		"issued_before": func(v strictjson.Value) error {
			seconds, err := v.Integer()
			if err == nil && seconds <= 0 {
				return problem(http.StatusUnprocessableEntity, "issued_before is not a time; want Unix seconds, or leave it out")
			}
			d.IssuedBefore = time.Unix(seconds, 0)
			return err
		},
		"expires_at": func(v strictjson.Value) error {
			given, err := v.Text()
			if err == nil {
				if d.Until, err = time.Parse(time.RFC3339, given); err != nil {
					return problem(http.StatusUnprocessableEntity, "expires_at is no time of RFC 3339, like 2027-01-31T00:00:00Z")
				}
			}
			return err
		},
	}
	var targets []string
	for _, target := range revocation.Targets {
		members[string(target)] = func(v strictjson.Value) error {
			d.Target, targets = target, append(targets, string(target))
			return text(&d.Name)(v)
		}
	}
	const want = "want an object with exactly one of subject, session, client and token_id, and if need be issuer, issued_before, expires_at and reason"
	if err := c.readMembers(members); err != nil {
		return nil, expected("the body is not a revocation: "+want, err)
	}
	if len(targets) != 1 {
		slices.Sort(targets)
		return nil, problem(http.StatusUnprocessableEntity, fmt.Sprintf("the body has %d of the targets [%s]; %s", len(targets), strings.Join(targets, " "), want))
	}
	return d, nil
}

// legible is a caller's name as a revocation may hold it.
func legible(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return '?'
		}
		return r
	}, name)
	for len(name) > revocation.MaxText {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name
}

// revoked names what is revoked in the audit log.
func (a *API) revoked(key revocation.Key) string {
	name := string(key.Target) + " " + key.Name
	if len(a.services.Issuers) > 1 {
		name = a.services.Issuers.Name(key.Issuer) + "/" + name
	}
	return name
}

// listRevocations answers with the revocations by name, or a page of them.
func (a *API) listRevocations(c *call) error {
	limit, err := c.limit(maxPage)
	if err != nil {
		return err
	}
	given := c.r.URL.Query()
	q := revocation.Query{After: given.Get("after"), AfterID: given.Get("after_id"), Limit: limit}
	called := given.Get("issuer")
	if called != "" {
		if called, err = a.identifierOf(called); err != nil {
			return err
		}
	}
	if err := a.awaitRevocations(c); err != nil {
		return err
	}
	search := strings.ToLower(given.Get("search"))
	holds := func(s string) bool { return strings.Contains(strings.ToLower(s), search) }
	q.Matches = func(r *revocation.Revocation) bool {
		return (called == "" || r.Key().Issuer == called) && (search == "" || holds(r.Name()) || holds(r.Reason()) || holds(r.By()))
	}
	page := a.services.Revocations.Page(q)
	writeList(c.w, func(yield func(Revocation) bool) { // one at a time: there may be a million
		for _, r := range page {
			if !yield(a.shown(r)) {
				return
			}
		}
	})
	return nil
}

// awaitRevocations waits for their first reading. Without it, what is stored would
// seem not to be there.
func (a *API) awaitRevocations(c *call) error {
	if a.services.Revocations.AwaitReading(c.r.Context()) {
		return nil
	}
	return refused(auth.ErrRevocationsUnavailable)
}

// deleteRevocation takes a revocation back: the tokens that it refuses are let in again.
func (a *API) deleteRevocation(c *call) error {
	id, err := url.PathUnescape(c.rest)
	if err != nil || len(id) != 36 {
		return revocation.ErrNotFound // and too odd for the audit log
	}
	was, err := a.services.Revocations.Delete(c.toTheEnd(), id)
	if err != nil {
		return a.failed(c, "revocation.delete", id, err)
	}
	a.audit(c, "revocation.delete", a.revoked(was.Key()))
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

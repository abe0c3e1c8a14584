package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/activation"
)

// ssoURL answers with the address of an account's login page. Its errors have the
// form that its clients know.
func (a *API) ssoURL(c *call) error {
	if a.services.SSO == nil {
		return problem(http.StatusNotFound, "single sign-on is not configured: add the option `sso { … }`")
	}
	answer := a.services.SSO.Answer(c.r.Context(), sso.Request{
		Header:       c.r.Header,
		RawQuery:     c.r.URL.RawQuery,
		Authenticate: func(context.Context) *sso.Refusal { return a.judge(c) },
	})
	a.logSSO(answer)
	if a.services.CountSSO != nil {
		var code sso.Code
		if answer.Refusal != nil {
			code = answer.Refusal.Code
		}
		a.services.CountSSO(answer.ResponseType, code)
	}
	writeSSO(c.w, answer)
	return nil
}

func writeSSO(w http.ResponseWriter, answer sso.Response) {
	header := w.Header()
	for name, values := range answer.Header {
		header[name] = slices.Clone(values)
	}
	w.WriteHeader(answer.Status)
	_, _ = w.Write(answer.Body) // an error means that the caller is gone
}

// licenseAPI begins the paths of LicenseSpring's API. All are ours: its clients
// send their credentials to whatever answers there.
const licenseAPI = "/api/v4/"

// failAsSSO answers a problem in the form that clients of that API know.
func failAsSSO(w http.ResponseWriter, p *Problem) {
	code := sso.CodeInternal
	switch p.Status {
	case http.StatusNotFound:
		code = sso.CodeNotFound
	case http.StatusMethodNotAllowed:
		code = sso.CodeMethodNotAllowed
	}
	writeSSO(w, sso.Refused(&sso.Refusal{Code: code, Message: p.Message}))
}

// logSSO logs why there is no address. A provider that is down fails every request,
// so there is one line a minute.
func (a *API) logSSO(answer sso.Response) {
	if answer.Refusal == nil || answer.Refusal.Cause == nil {
		return
	}
	a.ssoLines.Do(func() {
		a.services.LogError(&Problem{Status: answer.Status, Message: answer.Refusal.Message, Cause: answer.Refusal.Cause})
	})
}

// judge decides about a caller who sends no HMAC.
func (a *API) judge(c *call) *sso.Refusal {
	if c.mayDoAll() {
		return nil
	}
	if a.services.Authenticate == nil {
		return &sso.Refusal{Code: sso.CodeInsufficientScope, Message: a.noIssuer()}
	}
	_, refusal := a.services.Authenticate(c.r, a.services.SSOGroup)
	if refusal == nil {
		return nil
	}
	return &sso.Refusal{
		Code:       ssoCodes[refusal.Status],
		Message:    refusal.Message,
		Challenge:  auth.Challenge{Realm: realm}.Header(auth.Bearer, refusal),
		RetryAfter: refusal.RetryAfter,
	}
}

// ssoCodes gives the statuses of our refusals the codes that clients of that API
// expect.
var ssoCodes = map[int]sso.Code{
	http.StatusBadRequest:         sso.CodeInvalidHeaders,
	http.StatusUnauthorized:       sso.CodeInvalidToken,
	http.StatusForbidden:          sso.CodeInsufficientScope,
	http.StatusServiceUnavailable: sso.CodeTemporarilyUnavailable,
}

// Seats are the instances that have a license in exchange for a login.
type Seats interface {
	List(ctx context.Context, q activation.Query) ([]*activation.Record, error)
	Free(ctx context.Context, id uuid.UUID) (*activation.Record, error)
}

const noActivation = "no login brings a license here: add `license { … }` to an account of `sso`"

// activation answers one of the requests of licensed applications for a license. Its
// errors have the form that its clients know.
func (a *API) activation(op activation.Operation) func(*call) error {
	return func(c *call) error {
		if a.services.Activate == nil {
			return problem(http.StatusNotFound, noActivation)
		}
		body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, activation.MaxBody))
		if err != nil {
			writeSSO(c.w, sso.Refused(&sso.Refusal{Code: sso.CodeValidation, Message: "Validation failed: " + unread(err, "64 KiB").Error()}))
			return nil
		}
		c.arriveWithin(0)
		answer := a.services.Activate(c.r.Context(), op, sso.Request{
			Header: c.r.Header, RawQuery: c.r.URL.RawQuery,
			Authenticate: func(context.Context) *sso.Refusal { return a.judge(c) },
		}, c.r.Header.Get("Content-Type"), body)
		a.logSSO(answer)
		writeSSO(c.w, answer)
		return nil
	}
}

// listActivations answers with the seats that are taken, or a page of them.
func (a *API) listActivations(c *call) error {
	if a.services.Seats == nil {
		return problem(http.StatusNotFound, noActivation)
	}
	limit, err := c.limit(maxPage)
	if err != nil {
		return err
	}
	given := c.r.URL.Query()
	query := activation.Query{Account: given.Get("account"), Product: given.Get("product"), Limit: limit}
	if after := given.Get("after"); after != "" {
		if query.After, err = uuid.Parse(after); err != nil {
			return problem(http.StatusUnprocessableEntity, "after: expected the id of an activation")
		}
	}
	found, err := a.services.Seats.List(c.r.Context(), query)
	switch {
	case errors.Is(err, activation.ErrUnknownID):
		return problem(http.StatusUnprocessableEntity, "after: "+err.Error())
	case err != nil:
		return &Problem{Status: http.StatusServiceUnavailable, Message: err.Error(), RetryAfter: storageRetry}
	}
	type seat struct { // times are RFC 3339
		ID         string   `json:"id"`
		Account    string   `json:"account"`
		Product    string   `json:"product"`
		HardwareID string   `json:"hardware_id"`
		Subject    string   `json:"subject"`
		Email      string   `json:"email"`
		Hosts      []string `json:"hosts"` // null: the account's own
		Offline    bool     `json:"offline"`
		CreatedAt  string   `json:"created_at"`
		CheckedAt  string   `json:"checked_at"`
		ExpiresAt  string   `json:"expires_at"` // of its license
		EndsAt     string   `json:"ends_at"`    // when the seat is free
	}
	stamp := func(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }
	list := make([]seat, 0, len(found))
	for _, r := range found {
		list = append(list, seat{
			r.ID.String(), r.Account, r.Product, r.Name, r.Subject, r.Email, r.Hosts, r.Offline,
			stamp(r.Created), stamp(r.Checked), stamp(r.Expires), stamp(r.Ends),
		})
	}
	writeList(c.w, slices.Values(list))
	return nil
}

// deleteActivation frees a seat. The license that was handed out for it stays good
// until its end and its grace.
func (a *API) deleteActivation(c *call) error {
	const action = "activation.delete"
	if a.services.Seats == nil {
		return problem(http.StatusNotFound, noActivation)
	}
	name, err := url.PathUnescape(c.rest)
	id, wrong := uuid.Parse(name)
	if err != nil || wrong != nil || id.String() != name {
		return problem(http.StatusNotFound, activation.ErrUnknownID.Error())
	}
	if _, err := a.services.Seats.Free(c.toTheEnd(), id); err != nil {
		if errors.Is(err, activation.ErrUnknownID) {
			err = problem(http.StatusNotFound, err.Error())
		}
		return a.failed(c, action, id.String(), err)
	}
	a.audit(c, action, id.String())
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

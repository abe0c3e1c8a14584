package api

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
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
	if answer.Refusal == nil || answer.Refusal.Cause == nil || !onceAMinute(&a.nextSSO, time.Now()) {
		return
	}
	a.services.LogError(&Problem{Status: answer.Status, Message: answer.Refusal.Message, Cause: answer.Refusal.Cause})
}

// onceAMinute is true once a minute; next is when it may be true again, in Unix
// nanoseconds.
func onceAMinute(next *atomic.Int64, now time.Time) bool {
	at := next.Load()
	return now.UnixNano() >= at && next.CompareAndSwap(at, now.Add(time.Minute).UnixNano())
}

// judge decides about a caller without an HMAC.
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
		Challenge:  auth.Challenge{Realm: realm}.Header(refusal),
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

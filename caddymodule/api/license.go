package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// Licensing is the license in force.
type Licensing interface {
	// Standing is where the deployment stands with it, never nil.
	Standing() *license.Standing

	// Host is the host that a status is about where none is asked for, empty
	// if none is known.
	Host() string

	// Install makes a license the one in force. host is one that it must cover;
	// if that is empty, it must cover any of the sites that need a license.
	// Errors are those of [active.Keeper.Install], and a [*license.Error] with
	// the reason host.
	Install(ctx context.Context, data []byte, host string) error
}

const noLicense = "no license is asked for: the option `license { trusted_key … }` is not configured"

// standing is never nil.
func (a *API) standing() *license.Standing {
	if a.services.License == nil {
		return license.Missing(noLicense)
	}
	return a.services.License.Standing()
}

// hostAsked is ?host=, or else the deployment's own.
func (a *API) hostAsked(query url.Values) string {
	if host := query.Get("host"); host != "" || a.services.License == nil {
		return host
	}
	return a.services.License.Host()
}

// licenseStatus answers how the license in force stands.
func (a *API) licenseStatus(c *call) error {
	writeJSON(c.w, http.StatusOK, a.standing().Status(a.hostAsked(c.r.URL.Query())))
	return nil
}

// putLicense installs a license.
func (a *API) putLicense(c *call) error {
	body, err := c.readBody()
	if err != nil {
		return err
	}
	if a.services.License == nil {
		return problem(http.StatusConflict, noLicense)
	}
	err = a.services.License.Install(c.r.Context(), body, c.r.URL.Query().Get("host"))
	target := licenseTarget(body)
	if err != nil {
		p := licenseProblem(err)
		a.auditOutcome(c, "license.install", target, outcomeOf(p))
		return p
	}
	a.audit(c, "license.install", target)
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// licenseTarget names a license in the audit log: by its id, or else by whom it
// is for.
func licenseTarget(data []byte) string {
	l, err := license.Decode(data)
	if err != nil {
		return "unreadable"
	}
	return licenseName(&l.Payload)
}

func licenseName(p *license.Payload) string {
	if p.ID != "" {
		return p.ID
	}
	return p.Description
}

func outcomeOf(p *Problem) string {
	if p.Status >= http.StatusInternalServerError {
		return outcomeFailed
	}
	return outcomeRefused
}

// licenseProblem turns an error of the packages about licenses into an answer.
func licenseProblem(err error) *Problem {
	var fault *license.Error
	switch {
	case errors.As(err, &fault):
		return problem(http.StatusBadRequest, fault.Error())
	case errors.Is(err, license.ErrMissingKey):
		return problem(http.StatusBadRequest, license.ErrMissingKey.Error())
	case errors.Is(err, active.ErrConfigured):
		return problem(http.StatusConflict, active.ErrConfigured.Error())
	case errors.Is(err, active.ErrAfter):
		return problem(http.StatusUnprocessableEntity, "after: "+active.ErrAfter.Error())
	case errors.Is(err, active.ErrBusy), errors.Is(err, active.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		return &Problem{Status: http.StatusServiceUnavailable, Message: active.ErrBusy.Error(), RetryAfter: storageRetry, Cause: err}
	case errors.Is(err, context.Canceled): // nobody is there to read it
		return &Problem{Status: http.StatusServiceUnavailable, Message: "the request was given up", RetryAfter: storageRetry}
	}
	return &Problem{Status: http.StatusInternalServerError, Message: "internal error", Cause: err}
}

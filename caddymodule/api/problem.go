package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// Problem is an error with an HTTP status and a message for the caller.
type Problem struct {
	Status     int
	Message    string
	RetryAfter time.Duration // zero: not said
	Cause      error         // for the operator's log; never for the caller
}

// Error is the message.
func (p *Problem) Error() string { return p.Message }

// Unwrap gives the cause, nil if there is none.
func (p *Problem) Unwrap() error { return p.Cause }

func problem(status int, message string) *Problem {
	return &Problem{Status: status, Message: message}
}

// storageRetry is when a storage that could not be written may be asked again.
const storageRetry = 5 * time.Second

// plainErrors are the errors whose own words are meant for callers.
var plainErrors = []struct {
	err    error
	status int
}{
	{account.ErrExists, http.StatusConflict},
	{account.ErrNotFound, http.StatusNotFound},
	{revocation.ErrNotFound, http.StatusNotFound},
	{account.ErrDeclared, http.StatusConflict},
	{account.ErrChanged, http.StatusPreconditionFailed},
	{license.ErrMissingKey, http.StatusBadRequest},
	{active.ErrConfigured, http.StatusConflict},
}

// problemOf turns any error into an answer. What is not for callers, such as the
// words of storage, stays in its cause.
func problemOf(err error) *Problem {
	var found *Problem
	if errors.As(err, &found) {
		return found
	}
	var input *account.InputError
	var revoked *revocation.InputError
	var fault *license.Error
	switch {
	case errors.As(err, &input) && input.Class == account.Malformed:
		return problem(http.StatusBadRequest, input.Error())
	case errors.As(err, &input):
		return problem(http.StatusUnprocessableEntity, input.Error())
	case errors.As(err, &revoked):
		return problem(http.StatusUnprocessableEntity, revoked.Error())
	case errors.As(err, &fault):
		return problem(http.StatusBadRequest, fault.Error())
	}
	for _, known := range plainErrors {
		if errors.Is(err, known.err) {
			return problem(known.status, known.err.Error())
		}
	}
	switch {
	case errors.Is(err, account.ErrAmbiguous):
		return problem(http.StatusConflict, err.Error())
	case errors.Is(err, account.ErrDamaged):
		return &Problem{Status: http.StatusInternalServerError, Message: err.Error(), Cause: err}
	case errors.Is(err, account.ErrBusy), errors.Is(err, account.ErrClosed):
		busy := &Problem{Status: http.StatusServiceUnavailable, Message: account.ErrBusy.Error(), RetryAfter: storageRetry, Cause: err}
		for _, why := range []error{account.ErrDiverged, account.ErrEmptied, account.ErrUnread, revocation.ErrUnread} {
			if errors.Is(err, why) {
				busy.Message = why.Error()
			}
		}
		return busy
	case errors.Is(err, active.ErrAfter):
		return problem(http.StatusUnprocessableEntity, "after: "+active.ErrAfter.Error())
	case errors.Is(err, active.ErrBusy), errors.Is(err, active.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		return &Problem{Status: http.StatusServiceUnavailable, Message: active.ErrBusy.Error(), RetryAfter: storageRetry, Cause: err}
	case errors.Is(err, context.Canceled): // nobody is there to read it
		return &Problem{Status: http.StatusServiceUnavailable, Message: "the request was given up", RetryAfter: storageRetry}
	}
	return &Problem{Status: http.StatusInternalServerError, Message: "internal error", Cause: err}
}

// fail answers an error.
func (a *API) fail(w http.ResponseWriter, path string, err error) {
	p := problemOf(err)
	// A refusal because an issuer's keys are missing has no cause: it is logged
	// once, where they were lost, and not with every request.
	if p.Status >= http.StatusInternalServerError && p.Cause != nil {
		a.services.LogError(p)
	}
	if strings.HasPrefix(path, licenseAPI) {
		failAsSSO(w, p)
		return
	}
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	Fail(w, p.Status, p.Message)
}

// Fail answers with an error, in the form that all errors of the API have.
func Fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, map[string]string{"message": message})
}

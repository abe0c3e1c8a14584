package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
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

// failure is the body of every error.
type failure struct {
	Message string `json:"message"`
}

func problem(status int, message string) *Problem {
	return &Problem{Status: status, Message: message}
}

// fail answers an error: a problem with its own words, anything else as an
// internal error whose details stay in the log.
func (a *API) fail(w http.ResponseWriter, path string, err error) {
	var p *Problem
	if !errors.As(err, &p) {
		p = &Problem{Status: http.StatusInternalServerError, Message: "internal error", Cause: err}
	}
	// A refusal for want of an issuer's keys has no cause: who lost them logs
	// that once, and not with every request.
	if p.Status >= http.StatusInternalServerError && p.Cause != nil {
		a.services.logError(p)
	}
	if strings.HasPrefix(path, licenseAPI) {
		failAsSSO(w, p)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter.Seconds()))))
	}
	writeJSON(w, p.Status, failure{p.Message})
}

// writeJSON answers with a JSON document. An error of writing means that the
// caller is gone; there is nobody left to tell.
func writeJSON(w http.ResponseWriter, status int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"message":"internal error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// writeList answers with an array that may be long: it is written piece by piece.
func writeList[T any](w http.ResponseWriter, list []T) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	out := bufio.NewWriterSize(w, 32<<10)
	_ = out.WriteByte('[')
	for i, element := range list {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		body, err := json.Marshal(element)
		if err != nil {
			panic(http.ErrAbortHandler) // a list that is cut short must not look whole
		}
		if _, err := out.Write(body); err != nil {
			return // the caller is gone
		}
	}
	_, _ = out.WriteString("]\n")
	_ = out.Flush()
}

// Fail answers with an error, in the form that all errors of the API have.
func Fail(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, failure{message})
}

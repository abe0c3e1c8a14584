package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// The most that a body may hold, and how long it may take to arrive. An import
// is bounded in lines as well: a short one takes more memory than it has bytes.
const (
	maxBody    = 64 << 10
	maxImport  = 64 << 20
	maxLines   = 1_000_000
	bodyTime   = 30 * time.Second
	importTime = 10 * time.Minute
)

// typeJSON is the media type of most bodies.
const typeJSON = "application/json"

// readBody reads a body of at most 64 KiB and of that media type.
func (c *call) readBody(mediaType string) ([]byte, error) {
	if err := checkContentType(c.r, mediaType); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		return nil, unread(err, "64 KiB")
	}
	c.arriveWithin(0)
	return body, nil
}

// readMembers reads a body that is an object; a member that is null counts as left
// out. If the body is anything else, the error is a [*strictjson.Error].
func (c *call) readMembers(members strictjson.Fields) error {
	body, err := c.readBody(typeJSON)
	if err != nil {
		return err
	}
	for name, read := range members {
		members[name] = func(v strictjson.Value) error {
			if v.JSON.Kind() == 'n' {
				return nil
			}
			return read(v)
		}
	}
	object, err := strictjson.Parse(body)
	if err != nil {
		return err
	}
	return object.Read(members)
}

// expected says what the body should be, if it is anything else.
func expected(message string, err error) error {
	if wrong := (*strictjson.Error)(nil); errors.As(err, &wrong) {
		return problem(http.StatusBadRequest, message)
	}
	return err
}

func text[T ~string](to *T) func(strictjson.Value) error {
	return func(v strictjson.Value) error {
		read, err := v.Text()
		*to = T(read)
		return err
	}
}

// arriveWithin limits how long the body may take to arrive, where that can be set;
// 0 lifts the limit. A server goes on counting while the request is worked on, and
// then takes it for abandoned; so lift the limit once all has arrived.
func (c *call) arriveWithin(d time.Duration) {
	var end time.Time
	if d > 0 {
		end = time.Now().Add(d)
	}
	_ = http.NewResponseController(c.w).SetReadDeadline(end)
}

// unread is the answer to a body that could not be read; most is its bound, in words.
func unread(err error, most string) error {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return problem(http.StatusRequestEntityTooLarge, "the body is larger than "+most)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problem(http.StatusRequestTimeout, "the body took too long to arrive")
	}
	return problem(http.StatusBadRequest, "the body could not be read")
}

// checkContentType wants one of the media types, in UTF-8. Several types could be
// read in several ways. A page of another site can make a browser send a body
// without a type, or as text/plain, but none of these types unasked.
func checkContentType(r *http.Request, want ...string) error {
	if types := r.Header["Content-Type"]; len(types) == 1 {
		mediaType, params, err := mime.ParseMediaType(types[0])
		charset, named := params["charset"]
		if err == nil && slices.Contains(want, mediaType) && (!named || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return problem(http.StatusBadRequest, "wrong content type: expected "+want[0])
}

// limit reads ?limit= from 1 to most; 0 means that it was not given.
func (c *call) limit(most int) (int, error) {
	query := c.r.URL.Query()
	if !query.Has("limit") {
		return 0, nil
	}
	expected := "limit: expected one number from 1 to " + strconv.Itoa(most)
	n, err := strconv.Atoi(query.Get("limit"))
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, problem(http.StatusBadRequest, expected)
	}
	if err != nil || n < 1 || n > most {
		return 0, problem(http.StatusUnprocessableEntity, expected)
	}
	return n, nil
}

// Moment is a time in an answer: RFC 3339 in UTC, in whole seconds. The zero time, which
// means never, is null.
type Moment struct{ time.Time }

// MarshalJSON writes it.
func (m Moment) MarshalJSON() ([]byte, error) {
	if m.IsZero() {
		return []byte("null"), nil
	}
	return m.UTC().Truncate(time.Second).MarshalJSON()
}

// UnmarshalJSON reads what a server of any version may answer: RFC 3339 or Unix seconds.
// Anything else is the zero time.
func (m *Moment) UnmarshalJSON(data []byte) error {
	m.Time = time.Time{}
	if seconds, err := strconv.ParseInt(string(data), 10, 64); err == nil && seconds != 0 {
		m.Time = time.Unix(seconds, 0).UTC()
		return nil
	}
	var text string
	if json.Unmarshal(data, &text) != nil {
		return nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		m.Time = t.UTC()
	}
	return nil
}

// writeJSON answers with a JSON document. If writing fails, the caller is gone,
// and nobody is left to read an error.
func writeJSON(w http.ResponseWriter, status int, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"message":"internal error"}`)
	}
	start(w, status, "application/json")
	_, _ = w.Write(append(body, '\n'))
}

// start sends the status and the header of an answer that is JSON.
func start(w http.ResponseWriter, status int, mediaType string) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
}

// writeList answers with an array that may be long: it is written piece by piece.
func writeList[T any](w http.ResponseWriter, list iter.Seq[T]) {
	start(w, http.StatusOK, "application/json")
	out := bufio.NewWriterSize(w, 32<<10)
	separator := "["
	for element := range list {
		_, _ = out.WriteString(separator)
		separator = ","
		body, err := json.Marshal(element)
		if err != nil {
			panic(http.ErrAbortHandler) // a list that is cut short must not look whole
		}
		if _, err := out.Write(body); err != nil {
			return // the caller is gone
		}
	}
	if separator == "[" {
		_ = out.WriteByte('[')
	}
	_, _ = out.WriteString("]\n")
	_ = out.Flush()
}

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

// refused is the answer that a refusal of package auth becomes.
func refused(r *auth.Refusal) *Problem {
	return &Problem{Status: r.Status, Message: r.Message, RetryAfter: r.RetryAfter}
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
	var input *strictjson.InputError
	var fault *license.Error
	switch {
	case errors.As(err, &input) && input.Malformed:
		return problem(http.StatusBadRequest, input.Error())
	case errors.As(err, &input):
		return problem(http.StatusUnprocessableEntity, input.Error())
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
	case errors.Is(err, registry.ErrDamaged):
		return &Problem{Status: http.StatusInternalServerError, Message: err.Error(), Cause: err}
	case errors.Is(err, registry.ErrBusy), errors.Is(err, registry.ErrClosed):
		busy := &Problem{Status: http.StatusServiceUnavailable, Message: registry.ErrBusy.Error(), RetryAfter: storageRetry, Cause: err}
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

package api

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/strictjson"
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

// readBody reads a JSON body of at most 64 KiB.
func (c *call) readBody() ([]byte, error) {
	if err := checkContentType(c.r, "application/json"); err != nil {
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
	body, err := c.readBody()
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

// unread words why a body of at most so much could not be read.
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

// writeJSON answers with a JSON document. If writing fails, the caller is gone,
// and there is nobody left to tell.
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
func writeList[T any](w http.ResponseWriter, list []T) {
	start(w, http.StatusOK, "application/json")
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

package api

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
)

// The most that a body may hold.
const (
	maxBody   = 64 << 10
	maxImport = 64 << 20
)

// readBody reads a JSON body of at most 64 KiB.
func (c *call) readBody() ([]byte, error) {
	if err := checkContentType(c.r, "application/json"); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, problem(http.StatusRequestEntityTooLarge, "the body is larger than 64 KiB")
	}
	if err != nil {
		return nil, problem(http.StatusBadRequest, "the body could not be read")
	}
	return body, nil
}

// checkContentType wants one of the media types. A body without a type is taken
// for what is wanted.
func checkContentType(r *http.Request, want ...string) error {
	found := r.Header.Get("Content-Type")
	if found == "" {
		return nil
	}
	mediaType, _, err := mime.ParseMediaType(found)
	for _, one := range want {
		if err == nil && mediaType == one {
			return nil
		}
	}
	return problem(http.StatusBadRequest, "wrong content type: expected "+want[0])
}

// limit reads ?limit= from 1 to most; 0 means that it was not given.
func (c *call) limit(most int) (int, error) {
	if !c.r.URL.Query().Has("limit") {
		return 0, nil
	}
	text := c.r.URL.Query().Get("limit")
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, problem(http.StatusBadRequest, "limit: expected a number from 1 to "+strconv.Itoa(most))
	}
	return n, nil
}

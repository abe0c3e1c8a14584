package issuer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/bom"
)

const (
	fetchLimit    = 5 * time.Second // one exchange, body included
	maxTokenBytes = 64 << 10
)

// document is the body of one good answer.
type document struct {
	body []byte
	// maxAge is what the issuer's Cache-Control allows, negative if it says
	// nothing.
	maxAge time.Duration
}

// statusError is an answer other than 200.
type statusError struct {
	place      string
	status     int
	withheld   bool          // the fetch token was not sent
	retryAfter time.Duration // what the answer asks for
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%s answered with status %d, not 200", e.place, e.status)
	if e.withheld && (e.status == http.StatusUnauthorized || e.status == http.StatusForbidden) {
		text += "; the fetch token was not sent, as this host is not the issuer's: name it with fetch_token_host if it may have it"
	}
	return text
}

// retryAfter is how long a failed fetch asks to be left alone, at most a minute.
func retryAfter(err error) time.Duration {
	answer, ok := errors.AsType[*statusError](err)
	if !ok || answer.status != http.StatusTooManyRequests && answer.status != http.StatusServiceUnavailable {
		return 0
	}
	return min(answer.retryAfter, maxRetryAfter)
}

// askedWait reads Retry-After (RFC 9110 §10.2.3): seconds, or a date.
func askedWait(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}

// get fetches one document: status 200 only, at most 1 MiB, 5 seconds in all.
// Its errors hold nothing that the other side sent but the status.
func (e *Engine) get(ctx context.Context, u *url.URL) (*document, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: not an address that can be asked", place(u))
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json;q=0.9, */*;q=0.1")
	req.Header.Set("User-Agent", "gatehouse")
	withheld := e.cfg.FetchTokenFile != "" && !e.cfg.takesFetchToken(u)
	if e.cfg.FetchTokenFile != "" && !withheld {
		token, err := fetchToken(e.cfg.FetchTokenFile)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", place(u), ours(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &statusError{place: place(u), status: resp.StatusCode, withheld: withheld, retryAfter: askedWait(resp.Header, e.now())}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", place(u), ours(err))
	}
	if len(body) > maxBodyBytes {
		return nil, fmt.Errorf("the answer of %s has more than %d bytes", place(u), maxBodyBytes)
	}
	if body, err = bom.Skip(body); err != nil {
		return nil, fmt.Errorf("the answer of %s: %w", place(u), err)
	}
	return &document{body: body, maxAge: maxAge(resp.Header)}, nil
}

// place names an address in errors: without the query, which may be secret.
func place(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

// fetchToken reads the bearer token to send. It is read at each fetch, because
// such files are renewed in place.
func fetchToken(path string) (string, error) {
	data, _, err := readSmall(path, maxTokenBytes)
	if err != nil {
		return "", fmt.Errorf("reading fetch_token_file: %w", err)
	}
	if data, err = bom.Skip(data); err != nil {
		return "", fmt.Errorf("fetch_token_file %s: %w", path, err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", fmt.Errorf("fetch_token_file %s is empty: it must hold a token", path)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("fetch_token_file %s holds more than one token", path)
	}
	return token, nil
}

// maxAge is the life that Cache-Control gives an answer (RFC 9111 §5.2.2), less
// its Age. An answer not to be kept at all says nothing about how soon the next
// will differ, and counts as silent.
func maxAge(h http.Header) time.Duration {
	age := time.Duration(-1)
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			return -1
		case "max-age":
			if seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31); err == nil {
				age = time.Duration(seconds) * time.Second
			}
		}
	}
	if spent, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil && age > 0 {
		age = max(age-time.Duration(spent)*time.Second, 0)
	}
	return age
}

// errNotHTTP stands for every error that might quote the other side.
var errNotHTTP = errors.New("no valid HTTP answer, or none from the proxy")

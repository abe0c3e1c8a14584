package issuer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/bom"
)

const (
	maxRedirects   = 3
	maxCABytes     = 1 << 20
	maxHeaderBytes = 64 << 10
)

// newClient is the client of an engine that was given none.
func newClient(caFile string) (*http.Client, error) {
	roots, err := loadCA(caFile)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    fetchLimit,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        10 * time.Second,
		ForceAttemptHTTP2:      true,
	}}, nil
}

// loadCA reads the roots to trust; nil, the system's, if no file is named.
func loadCA(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	data, _, err := readSmall(path, maxCABytes)
	if err != nil {
		return nil, fmt.Errorf("reading ca: %w", err)
	}
	if data, err = bom.Skip(data); err != nil {
		return nil, fmt.Errorf("ca %s: %w", path, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("ca %s holds no certificate: it must be PEM with at least one", path)
	}
	return roots, nil
}

// harden returns a copy of the client with our bounds: no cookies, no endless
// wait, few redirects.
func harden(client *http.Client, cfg Config) *http.Client {
	c := *client
	c.Jar = nil
	if c.Timeout <= 0 || c.Timeout > fetchLimit {
		c.Timeout = fetchLimit
	}
	c.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		return checkRedirect(cfg, next, via)
	}
	return &c
}

// redirectError is a redirect not followed. It does not say where to, because
// that is the other side's text.
type redirectError string

func (e redirectError) Error() string { return "redirect refused: " + string(e) }

// checkRedirect lets a fetch be sent on to https on the same host, and where it
// was plain http already, to http on the same host and port.
func checkRedirect(cfg Config, next *http.Request, via []*http.Request) error {
	from, to := via[len(via)-1].URL, next.URL
	switch {
	case len(via) > maxRedirects:
		return redirectError(fmt.Sprintf("more than %d in a row", maxRedirects))
	case !strings.EqualFold(from.Hostname(), to.Hostname()):
		return redirectError("to another host")
	case to.User != nil:
		return redirectError("to an address with user information")
	case to.Scheme != "https" && from.Scheme == "https":
		return redirectError("from https to something else")
	case to.Scheme != "https" && (to.Scheme != "http" || !cfg.httpAllowed(to) || !strings.EqualFold(from.Host, to.Host)):
		return redirectError("to something other than https, or http on the same port")
	}
	if !strings.EqualFold(from.Host, to.Host) {
		next.Header.Del("Authorization") // another port may be another's
	}
	return nil
}

// ours reduces an error of net/http to what is known to hold no remote text.
func ours(err error) error {
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // it names the last address, which a redirect chose
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		return fmt.Errorf("no answer within %s: %w", fetchLimit, context.DeadlineExceeded)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the connection was closed before the end of the answer")
	}
	if isLocal(err) {
		return err
	}
	return errNotHTTP
}

func isTimeout(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}

// isLocal reports whether the error was worded on this side of the connection.
func isLocal(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, http.ErrSchemeMismatch) {
		return true
	}
	if _, ok := errors.AsType[redirectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return true
	}
	return strings.HasPrefix(err.Error(), "tls: ") // certificates and handshakes
}

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

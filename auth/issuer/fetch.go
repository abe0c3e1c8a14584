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
	fetchLimit     = 5 * time.Second // one exchange, body included
	maxRedirects   = 3
	maxRetryAfter  = time.Minute // the longest that an issuer may ask to be left alone
	maxHeaderBytes = 64 << 10
	maxBodyBytes   = 1 << 20
	maxCABytes     = 1 << 20
	maxTokenBytes  = 64 << 10
)

// statusError is an answer other than 200.
type statusError struct {
	place      string
	status     int
	withheld   bool          // the fetch token was not sent
	retryAfter time.Duration // for how long the issuer asks to be left alone
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%s answered with status %d, not 200", e.place, e.status)
	if e.withheld && (e.status == http.StatusUnauthorized || e.status == http.StatusForbidden) {
		text += "; the fetch token was not sent, as this host is not the issuer's: name it with fetch_token_host if it may have it"
	}
	return text
}

var (
	errRedirect = errors.New("redirect refused")
	// errNotHTTP stands for every error that might quote the other side.
	errNotHTTP = errors.New("no valid HTTP answer, or none from the proxy")
)

// NewTransport is how an issuer is reached: over TLS that trusts the roots in a PEM
// file, or the system's if no file is named, and by the proxy that the environment
// names. The headers of an answer are bounded; its body and time are the caller's to
// bound.
func NewTransport(caFile string) (*http.Transport, error) {
	var roots *x509.CertPool
	if caFile != "" {
		data, _, err := readSmall(caFile, maxCABytes)
		if err != nil {
			return nil, fmt.Errorf("reading ca: %w", err)
		}
		if data, err = bom.Skip(data); err != nil {
			return nil, fmt.Errorf("ca %s: %w", caFile, err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("ca %s holds no certificate: it must be PEM with at least one", caFile)
		}
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    fetchLimit,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        10 * time.Second,
		ForceAttemptHTTP2:      true,
	}, nil
}

// checkRedirect lets a fetch be sent on to https on the same host, and where it
// was plain http already, to http on the same host and port. Its errors do not
// say where to, because that is the other side's text.
func (c Config) checkRedirect(next *http.Request, via []*http.Request) error {
	from, to := via[len(via)-1].URL, next.URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("%w: more than %d in a row", errRedirect, maxRedirects)
	case !strings.EqualFold(from.Hostname(), to.Hostname()):
		return fmt.Errorf("%w: to another host", errRedirect)
	case to.User != nil:
		return fmt.Errorf("%w: to an address with user information", errRedirect)
	case to.Scheme != "https" && from.Scheme == "https":
		return fmt.Errorf("%w: from https to something else", errRedirect)
	case to.Scheme != "https" && (to.Scheme != "http" || !c.httpAllowed(to) || !strings.EqualFold(from.Host, to.Host)):
		return fmt.Errorf("%w: to something other than https, or http on the same port", errRedirect)
	}
	if !strings.EqualFold(from.Host, to.Host) {
		next.Header.Del("Authorization") // another port may be another's
	}
	return nil
}

// fetchKeys gets the key set from wherever the configuration says.
func (e *Engine) fetchKeys(ctx context.Context, f *fetch) error {
	if e.cfg.JWKSFile != "" {
		return e.readJWKSFile(f)
	}
	address := e.cfg.JWKSURI
	if e.cfg.discovers() {
		if known := e.KnownMetadata(); known == nil || known.JWKSURI == "" {
			if err := e.fetchMetadata(ctx); err != nil {
				return err
			}
		}
		address = e.KnownMetadata().JWKSURI
	}
	if address == "" && e.cfg.KeysOptional {
		f.jwks = &JWKS{}
		return nil
	}
	u, err := e.cfg.parseURL(address)
	if err == nil && e.cfg.discovers() {
		err = e.cfg.checkNamed(address) // one that was kept may be of another version
	}
	if err != nil {
		return fmt.Errorf("the address of the key set %w", err)
	}
	body, maxAge, err := e.get(ctx, u)
	if err != nil {
		return err
	}
	if f.jwks, f.warnings, err = e.cfg.parseUsable(body); err != nil {
		return fmt.Errorf("key set of %s: %w", place(u), err)
	}
	f.maxAge = maxAge
	return nil
}

// get fetches one document: status 200 only, at most 1 MiB, 5 seconds in all.
// maxAge is what Cache-Control allows, negative if it says nothing. The errors hold
// nothing that the other side sent but the status.
func (e *Engine) get(ctx context.Context, u *url.URL) (body []byte, maxAge time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, fmt.Errorf("asking %s: not an address that can be asked", place(u))
	}
	req.Header.Set("Accept", "application/json, application/jwk-set+json;q=0.9, */*;q=0.1")
	req.Header.Set("User-Agent", "gatehouse")
	withheld := e.cfg.FetchTokenFile != "" && !e.cfg.takesFetchToken(u)
	if e.cfg.FetchTokenFile != "" && !withheld {
		token, err := fetchToken(e.cfg.FetchTokenFile)
		if err != nil {
			return nil, 0, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("asking %s: %w", place(u), WithoutRemoteText(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, 0, &statusError{place: place(u), status: resp.StatusCode, withheld: withheld, retryAfter: RetryAfter(resp, e.now())}
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxBodyBytes+1))
	if err != nil {
		return nil, 0, fmt.Errorf("reading the answer of %s: %w", place(u), WithoutRemoteText(err))
	}
	if len(body) > maxBodyBytes {
		return nil, 0, fmt.Errorf("the answer of %s has more than %d bytes", place(u), maxBodyBytes)
	}
	if body, err = bom.Skip(body); err != nil {
		return nil, 0, fmt.Errorf("the answer of %s: %w", place(u), err)
	}
	return body, cacheControlAge(resp.Header), nil
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

// RetryAfter reads Retry-After (RFC 9110 §10.2.3), seconds or a date, of an answer
// with a status that it goes with: a minute at most.
func RetryAfter(resp *http.Response, now time.Time) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	value := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(max(date.Sub(now), 0), maxRetryAfter)
	}
	return 0
}

// cacheControlAge is the life that Cache-Control gives an answer (RFC 9111
// §5.2.2), less its Age; negative if it says nothing. An answer that must not be
// kept says nothing about how soon the next will differ.
func cacheControlAge(h http.Header) time.Duration {
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

// WithoutRemoteText reduces an error of net/http to what holds no text of the
// other side. It takes a time-out for the one of 5 seconds.
func WithoutRemoteText(err error) error {
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err // it names the last address, which a redirect chose
	}
	netErr, isNet := errors.AsType[net.Error](err)
	_, isOp := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), isNet && netErr.Timeout():
		return fmt.Errorf("no answer within %s: %w", fetchLimit, context.DeadlineExceeded)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed before the end of the answer")
	case errors.Is(err, context.Canceled), errors.Is(err, http.ErrSchemeMismatch), errors.Is(err, errRedirect), isOp,
		strings.HasPrefix(err.Error(), "tls: "): // certificates and handshakes
		return err // worded on this side of the connection
	}
	return errNotHTTP
}

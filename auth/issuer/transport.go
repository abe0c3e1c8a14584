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

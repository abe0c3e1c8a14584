package issuer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// ErrNoMetadata: the configuration leaves no way to the issuer's metadata,
// because it has jwks_file (no network) or an issuer that is no URL.
var ErrNoMetadata = errors.New("the issuer's metadata cannot be fetched")

// Metadata returns the issuer's metadata: at once if it is known, and it is then
// renewed in the background if it is older than the refresh interval; else what
// the first fetch brings, within 5 seconds. If there is none it returns an
// [*UnavailableError], or an error that wraps [ErrNoMetadata].
func (e *Engine) Metadata(ctx context.Context) (*Metadata, error) {
	if e.cfg.JWKSFile != "" {
		return nil, fmt.Errorf("%w: jwks_file means no network", ErrNoMetadata)
	}
	if _, err := e.cfg.wellKnown(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoMetadata, err)
	}
	known, f, err := e.knownOrFetch()
	if known != nil || errors.Is(err, errClosed) {
		return known, err
	}
	if e.waiters.Add(1) > maxWaiters {
		e.waiters.Add(-1)
		return nil, unavailable(time.Second, errTooMany)
	}
	defer e.waiters.Add(-1)
	ctx, cancel := context.WithTimeoutCause(ctx, waitLimit, errNoAnswer)
	defer cancel()
	if err == nil {
		select {
		case <-f.done:
			err = f.err
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			err = unavailable(holdOff, err)
		}
	}
	if err != nil {
		e.mu.Lock()
		kept := e.restoring
		e.mu.Unlock()
		if kept != nil { // what storage holds may still do
			select {
			case <-kept:
			case <-ctx.Done():
			}
		}
	}
	if known := e.KnownMetadata(); known != nil {
		return known, nil
	}
	return nil, err
}

// knownOrFetch returns the metadata, or the fetch of it to wait for.
func (e *Engine) knownOrFetch() (*Metadata, *fetch, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	at, m := e.now(), &e.metadata
	held := m.failure != nil && at.Sub(m.failedAt) < holdOff
	switch {
	case e.closed:
		return nil, nil, unavailable(time.Second, errClosed)
	case m.known != nil:
		if !held && m.fetching == nil && at.Sub(m.at) > e.cfg.Refresh {
			e.startDiscovery()
		}
		return m.known, nil, nil
	case m.fetching != nil:
		return nil, m.fetching, nil
	case held:
		return nil, nil, unavailable(holdOff-at.Sub(m.failedAt), m.failure)
	}
	return nil, e.startDiscovery(), nil
}

// KnownMetadata returns the issuer's metadata if they are known, else nil. It never
// waits.
func (e *Engine) KnownMetadata() *Metadata {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.metadata.known
}

// renewMetadata fetches the metadata again where the address of the key set comes
// from it, so that a moved key set is followed. Where nothing is known yet, the
// fetch of the keys will see to it, as it does where there is no key set.
func (e *Engine) renewMetadata(ctx context.Context) error {
	if known := e.KnownMetadata(); !e.cfg.discovers() || known == nil || known.JWKSURI == "" {
		return nil
	}
	return e.fetchMetadata(ctx)
}

// fetchMetadata joins the fetch of metadata under way or starts one, and waits for
// it.
func (e *Engine) fetchMetadata(ctx context.Context) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return errClosed
	}
	f := e.metadata.fetching
	if f == nil {
		f = e.startDiscovery()
	}
	e.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for the issuer's metadata: %w", context.Cause(ctx))
	}
}

// startDiscovery starts a fetch of metadata; e.mu is held, none is under way, the
// engine is open. What was known stays if it fails.
func (e *Engine) startDiscovery() *fetch {
	f := &fetch{done: make(chan struct{})}
	m := &e.metadata
	m.fetching = f
	e.work.Go(func() {
		found, err := e.discover(e.ctx)
		e.mu.Lock()
		m.fetching = nil
		if err == nil && e.cfg.KeysOptional && found.JWKSURI == "" && m.known != nil && m.known.JWKSURI != "" {
			err = errKeysGone
		}
		switch {
		case e.closed:
			f.err = errClosed
		case err != nil:
			f.err, m.failure, m.failedAt = err, err, e.now()
		default:
			e.record.changed = e.record.changed || !reflect.DeepEqual(m.known, found)
			m.known, m.at, m.failure, m.failedAt = found, e.now(), nil, time.Time{}
		}
		e.mu.Unlock()
		close(f.done)
		e.deliver()
		e.poke()
	})
	return f
}

// errKeysGone: an issuer that had keys has more likely a fault than none any more.
var errKeysGone = errors.New("its metadata has no jwks_uri, and had one before")

// discover asks each address where the metadata may be. It goes on to the next
// only if the issuer answered that there is none.
func (e *Engine) discover(ctx context.Context) (*Metadata, error) {
	places, err := e.cfg.wellKnown()
	if err != nil {
		return nil, err
	}
	var failures []error
	for _, u := range places {
		body, _, err := e.get(ctx, u)
		if err == nil {
			found, wrong := parseMetadata(e.cfg, body)
			if wrong == nil {
				return found, nil
			}
			err = fmt.Errorf("discovery at %s: %w", place(u), wrong)
		}
		failures = append(failures, err)
		answer, answered := errors.AsType[*statusError](err)
		isAbsent := answered && answer.status >= 400 && answer.status < 500 &&
			answer.status != http.StatusUnauthorized && answer.status != http.StatusTooManyRequests
		if !isAbsent && !errors.Is(err, errNotMetadata) {
			break
		}
	}
	return nil, errors.Join(failures...)
}

// Metadata is what an issuer publishes about itself: OpenID Connect Discovery 1.0
// §3, RFC 8414 §2, RFC 8705 §5, and OpenID Connect RP-Initiated Logout 1.0 §2.1. It
// must not be changed.
type Metadata struct {
	// Issuer is exactly the configured one.
	Issuer string `json:"issuer"`
	// JWKSURI is where the keys are; only an address that may be fetched. It may
	// be empty only where the configuration has its own, or says that an issuer
	// without keys will do.
	JWKSURI string `json:"jwks_uri"`
	// The endpoints are empty if the issuer has none, or names one that is not
	// https (http on loopback, or with insecure_http).
	AuthorizationEndpoint string `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string `json:"token_endpoint,omitempty"`
	EndSessionEndpoint    string `json:"end_session_endpoint,omitempty"`
	IntrospectionEndpoint string `json:"introspection_endpoint,omitempty"`
	// MTLS are the endpoints for clients with a certificate.
	MTLS struct {
		IntrospectionEndpoint string `json:"introspection_endpoint,omitempty"`
	} `json:"mtls_endpoint_aliases,omitzero"`
	// The lists are nil if the issuer does not publish them.
	ResponseTypesSupported []string `json:"response_types_supported,omitempty"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
	// IntrospectionAuthMethods are how clients may authenticate at the introspection
	// endpoint.
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
}

// errNotMetadata: the document is no metadata at all, so that another place may
// be tried.
var errNotMetadata = errors.New("it is not metadata: a JSON object with strings `issuer` and `jwks_uri`, neither twice")

// parseMetadata reads metadata and checks it against the configuration. Faults in
// members that nobody needs must not cost the key set.
func parseMetadata(cfg Config, data []byte) (*Metadata, error) {
	if len(data) > maxBodyBytes {
		return nil, errNotMetadata
	}
	found, err := pick(data, "issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "end_session_endpoint",
		"introspection_endpoint", "introspection_endpoint_auth_methods_supported", "mtls_endpoint_aliases",
		"response_types_supported", "scopes_supported")
	if err != nil {
		return nil, fmt.Errorf("%w; it %w", errNotMetadata, err)
	}
	issuer, ok1 := textIn(found["issuer"])
	keys, ok2 := textIn(found["jwks_uri"])
	if !ok1 || !ok2 || issuer == "" {
		return nil, errNotMetadata
	}
	if issuer != cfg.Issuer {
		return nil, wrongIssuer(cfg.Issuer, issuer)
	}
	err = cfg.checkNamed(keys)
	switch {
	case err == nil:
	case !cfg.discovers():
		keys = "" // nobody needs it
	case cfg.KeysOptional && !present(found["jwks_uri"]):
	case keys == "":
		return nil, errors.New("its metadata has no jwks_uri: set jwks_uri in the configuration")
	default:
		return nil, fmt.Errorf("the jwks_uri of its metadata %w", err)
	}
	m := &Metadata{
		Issuer:                   issuer,
		JWKSURI:                  keys,
		AuthorizationEndpoint:    cfg.endpoint(found["authorization_endpoint"]),
		TokenEndpoint:            cfg.endpoint(found["token_endpoint"]),
		EndSessionEndpoint:       cfg.endpoint(found["end_session_endpoint"]),
		IntrospectionEndpoint:    cfg.endpoint(found["introspection_endpoint"]),
		ResponseTypesSupported:   texts(found["response_types_supported"]),
		ScopesSupported:          texts(found["scopes_supported"]),
		IntrospectionAuthMethods: texts(found["introspection_endpoint_auth_methods_supported"]),
	}
	aliases, _ := pick(found["mtls_endpoint_aliases"], "introspection_endpoint") // nil if it is absent or no object
	m.MTLS.IntrospectionEndpoint = cfg.endpoint(aliases["introspection_endpoint"])
	return m, nil
}

// checkNamed checks an address that the metadata names against the configuration.
// An issuer at https must not name plain http, not even on this machine: what
// listens there is not the issuer's.
func (c Config) checkNamed(address string) error {
	scheme := func(of string) string { before, _, _ := strings.Cut(of, ":"); return strings.ToLower(before) }
	if scheme(c.Issuer) == "https" && scheme(address) == "http" {
		return errors.New("is http, while the issuer is https: tell the issuer its public https address, or set an https jwks_uri in the configuration")
	}
	_, err := c.parseURL(address)
	return err
}

// textIn is the string in v; one that is absent or null is empty.
func textIn(v jsontext.Value) (text string, ok bool) {
	if !present(v) {
		return "", true
	}
	return text, json.Unmarshal(v, &text) == nil
}

// wrongIssuer explains a mismatch. The other name is quoted only if it has the form
// of an address, so that no arbitrary text of the other side gets into a log.
func wrongIssuer(want, got string) error {
	if strings.TrimSuffix(want, "/") == strings.TrimSuffix(got, "/") {
		return fmt.Errorf("its metadata names issuer %q, configured is %q: they differ only by a trailing slash, and must be equal", got, want)
	}
	u, err := url.Parse(got)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || len(got) > 200 {
		return fmt.Errorf("its metadata names another issuer than the configured %q", want)
	}
	return fmt.Errorf("its metadata names issuer %q, configured is %q: they must be equal", got, want)
}

// endpoint is the address in v, empty unless it may be used.
func (c Config) endpoint(v jsontext.Value) string {
	address, ok := textIn(v)
	if !ok || c.checkNamed(address) != nil {
		return ""
	}
	return address
}

// texts is the list of strings in v, nil if it is something else.
func texts(v jsontext.Value) []string {
	var list []string
	if len(v) == 0 || json.Unmarshal(v, &list) != nil {
		return nil
	}
	return list
}

// wellKnown lists where the metadata may be, in the order in which to ask: OpenID
// Connect Discovery 1.0 §4.1 appends to the issuer, RFC 8414 §3.1 inserts
// between host and path, and some insert the name of the former (RFC 8414 §5).
func (c Config) wellKnown() ([]*url.URL, error) {
	u, err := c.parseURL(strings.Replace(c.Issuer, TenantPlaceholder, commonTenant, 1))
	if err != nil {
		return nil, fmt.Errorf("issuer %q %w: it has no metadata", c.Issuer, err)
	}
	base := url.URL{Scheme: u.Scheme, Host: u.Host}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	places := []string{
		base.String() + path + "/.well-known/openid-configuration",
		base.String() + "/.well-known/oauth-authorization-server" + path,
	}
	if path != "" {
		places = append(places, base.String()+"/.well-known/openid-configuration"+path)
	}
	var urls []*url.URL
	for _, p := range places {
		parsed, err := url.Parse(p)
		if err != nil {
			return nil, fmt.Errorf("issuer %q has no address of metadata: %w", c.Issuer, err)
		}
		urls = append(urls, parsed)
	}
	return urls, nil
}

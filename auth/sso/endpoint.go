package sso

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/loopback"
)

// metadataWait bounds how long a request waits for metadata that was never known.
const metadataWait = 5 * time.Second

// MetadataSource gives what an issuer publishes about itself. It answers from
// memory once it knows, and is safe for concurrent use. *issuer.Engine is one; an
// engine configured with JWKSFile never has metadata.
type MetadataSource interface {
	Metadata(ctx context.Context) (*issuer.Metadata, error)
}

var errNoEndpoint = errors.New("the issuer's metadata has no authorization_endpoint: set it in the configuration")

// endpoint is where an account's provider takes authorization requests.
type endpoint struct {
	fixed  string // of the configuration
	source MetadataSource
	taken  []string // names that the parameters in its query must not have

	good atomic.Pointer[string] // the last usable endpoint of source
}

// set takes the account's endpoint, or where to learn it.
func (e *endpoint) set(a Account) error {
	e.taken = slices.Concat(ownParams, slices.Collect(maps.Keys(a.Params)))
	e.fixed, e.source = a.AuthorizationEndpoint, a.Metadata
	switch {
	case e.fixed == "" && e.source == nil:
		return errors.New("neither issuer nor authorization_endpoint is set: give one")
	case e.fixed != "" && e.source != nil:
		return errors.New("issuer and authorization_endpoint are both set: give one")
	case e.source != nil:
		return nil
	}
	u, err := e.check(e.fixed)
	if err == nil && u.Scheme == "http" && !loopback.Host(u.Hostname()) {
		err = errors.New("is http to another machine: use https")
	}
	if err != nil {
		return fmt.Errorf(endpointField+" %q %w", e.fixed, err)
	}
	return nil
}

// check takes an address only if an authorization request can be appended to it.
// Its errors go on from the address and do not repeat it.
func (e *endpoint) check(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || !isPlainURL(address):
		return nil, errors.New("is not a URL of printable ASCII: percent-encode the rest")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return nil, errors.New("is not an absolute URL, like https://login.example.com/authorize")
	case u.User != nil:
		return nil, errors.New("holds user information: it must not")
	case strings.Contains(address, "#"):
		return nil, errors.New("has a fragment: it must not") // RFC 6749, section 3.1
	}
	own, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("has a query that cannot be read: write it as name=value, joined by &")
	}
	for _, name := range e.taken {
		if own.Has(name) {
			return nil, fmt.Errorf("has a parameter %q, which would be there twice: remove it", name)
		}
	}
	return u, nil
}

// get is the endpoint to use now. It waits only if none was ever known.
func (e *endpoint) get(ctx context.Context) (string, error) {
	if e.fixed != "" {
		return e.fixed, nil
	}
	ctx, cancel := context.WithTimeout(ctx, metadataWait)
	defer cancel()
	good := e.good.Load()
	address, err := e.discover(ctx, good)
	if err != nil && good != nil {
		return *good, nil
	}
	return address, err
}

// discover takes the endpoint out of the issuer's metadata, and remembers it if it
// has changed.
func (e *endpoint) discover(ctx context.Context, good *string) (string, error) {
	known, err := e.source.Metadata(ctx)
	switch {
	case err != nil:
		return "", err
	case known == nil || known.AuthorizationEndpoint == "":
		return "", errNoEndpoint
	case good != nil && *good == known.AuthorizationEndpoint:
		return *good, nil
	}
	address := known.AuthorizationEndpoint
	if _, err := e.check(address); err != nil {
		return "", fmt.Errorf("the authorization_endpoint of the issuer's metadata %w", err)
	}
	e.good.Store(&address)
	return address, nil
}

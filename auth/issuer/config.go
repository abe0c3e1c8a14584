package issuer

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/loopback"
)

// Defaults and bounds of a [Config].
const (
	// DefaultRefresh is the time between background refreshes.
	DefaultRefresh = 15 * time.Minute
	// MinRefresh is the floor of that time, whatever the configuration or the
	// issuer's Cache-Control says.
	MinRefresh = 10 * time.Second
	// DefaultMaxStale is how long the last good keys serve.
	DefaultMaxStale = 24 * time.Hour

	maxIssuerBytes = 2048
)

// TenantPlaceholder stands in an identifier for the tenant, as it does in the metadata
// that all tenants of Microsoft Entra share: these are where commonTenant stands for
// it (https://learn.microsoft.com/entra/identity-platform/v2-protocols-oidc).
const (
	TenantPlaceholder = "{tenantid}"
	commonTenant      = "common"
)

// Config says where an issuer's metadata and keys come from.
type Config struct {
	// Issuer is the exact issuer identifier, as in a token's `iss`. It is
	// compared byte for byte and never normalized. It may hold one
	// [TenantPlaceholder]. Required.
	Issuer string
	// SPIFFE: the key set may be the bundle of a SPIFFE trust domain, of which only
	// the keys for JWT-SVIDs count.
	SPIFFE bool
	// JWKSURI is the address of the key set. Empty: it is discovered.
	JWKSURI string
	// JWKSFile is a file with the key set: no network at all. It excludes
	// JWKSURI, and CA, FetchTokenFile and InsecureHTTP mean nothing with it.
	JWKSFile string
	// CA is a PEM file of certificates trusted for discovery and key set,
	// instead of the system's roots. It is read once, by [New].
	CA string
	// FetchTokenFile holds a bearer token sent with those fetches. It is read
	// anew at each one: at most 64 KiB, surrounding space is cut off.
	FetchTokenFile string
	// FetchTokenHosts are hosts, without a port, that it is sent to besides the
	// issuer's own and the one of JWKSURI. The issuer's metadata may name another
	// host for its keys, and that one is not sent the token.
	FetchTokenHosts []string
	// KeysOptional: the issuer may have no key set, as it is asked about its tokens
	// instead. Metadata without `jwks_uri` then mean that it has no keys.
	KeysOptional bool
	// InsecureHTTP allows http to more than loopback.
	InsecureHTTP bool
	// Refresh is the time between background refreshes. Zero: 15 minutes; less
	// than 10 seconds counts as 10 seconds; more than half of MaxStale as half.
	Refresh time.Duration
	// MaxStale is how long the last good keys serve while the issuer cannot be
	// reached. Zero: 24 hours.
	MaxStale time.Duration
}

// Validate reports what is wrong with the configuration. It does no I/O: that
// a file exists is found out when it is read.
func (c Config) Validate() error {
	switch {
	case c.Issuer == "":
		return errors.New("issuer is empty: the identifier that tokens carry in `iss` is required")
	case len(c.Issuer) > maxIssuerBytes:
		return fmt.Errorf("issuer has %d bytes: at most %d", len(c.Issuer), maxIssuerBytes)
	case strings.ContainsFunc(c.Issuer, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("issuer %q holds control characters", c.Issuer)
	case c.JWKSURI != "" && c.JWKSFile != "":
		return errors.New("jwks_uri and jwks_file are both set: give one")
	case c.discovers() && strings.Contains(c.Issuer, "/.well-known/"):
		// The usual mistake: the address of the metadata instead of the identifier.
		front, document, _ := strings.Cut(c.Issuer, "/.well-known/")
		if _, path, inserted := strings.Cut(document, "/"); inserted { // RFC 8414 §3.1
			front += "/" + path
		}
		return fmt.Errorf("issuer %q is where the metadata is: give the identifier, which is the metadata's `issuer` and the `iss` of tokens, most likely %q", c.Issuer, front)
	case len(c.FetchTokenHosts) > 0 && c.FetchTokenFile == "":
		return errors.New("fetch_token_host is set without a fetch_token_file")
	case slices.ContainsFunc(c.FetchTokenHosts, func(host string) bool {
		_, err := netip.ParseAddr(host)
		return err != nil && (host == "" || strings.ContainsAny(host, ":/?#@[], "))
	}):
		return fmt.Errorf("fetch_token_host %q: expected host names or addresses, without scheme, port and path", c.FetchTokenHosts)
	case c.Refresh < 0:
		return fmt.Errorf("refresh is %s: it must be positive", c.Refresh)
	case c.MaxStale < 0:
		return fmt.Errorf("max_stale is %s: it must be positive", c.MaxStale)
	case c.JWKSFile != "":
		return nil
	case c.discovers() && strings.HasPrefix(c.Issuer, "spiffe://"):
		return fmt.Errorf("issuer %q is a trust domain, which has no metadata: set jwks_uri to where its bundle is, or jwks_file", c.Issuer)
	}
	name, address := "jwks_uri", c.JWKSURI
	if c.JWKSURI == "" {
		name, address = "issuer", c.Issuer
	}
	u, err := c.parseURL(address)
	if err != nil {
		return fmt.Errorf("%s %q %w", name, address, err)
	}
	if c.JWKSURI == "" && (u.RawQuery != "" || u.ForceQuery) {
		return fmt.Errorf("issuer %q has a query: discovery needs a URL without one, or jwks_uri", address)
	}
	return nil
}

// ID is a canonical form of the configuration: equal for two exactly if they
// mean the same, with defaults applied. It is fit as the key of a pool.
func (c Config) ID() string {
	c = c.withDefaults()
	parts := []string{
		c.Issuer, c.JWKSURI, c.JWKSFile, c.CA, c.FetchTokenFile,
		strings.Join(c.FetchTokenHosts, ","), strconv.FormatBool(c.InsecureHTTP), c.Refresh.String(), c.MaxStale.String(),
		strconv.FormatBool(c.SPIFFE), strconv.FormatBool(c.KeysOptional),
	}
	for i, p := range parts {
		parts[i] = strconv.Quote(p)
	}
	return strings.Join(parts, " ")
}

// withDefaults fills in what was left out and drops what has no meaning with the
// rest.
func (c Config) withDefaults() Config {
	if c.JWKSFile != "" {
		c.CA, c.FetchTokenFile, c.FetchTokenHosts, c.InsecureHTTP = "", "", nil, false
	}
	if c.Refresh == 0 {
		c.Refresh = DefaultRefresh
	}
	if c.MaxStale == 0 {
		c.MaxStale = DefaultMaxStale
	}
	c.KeysOptional = c.KeysOptional && c.discovers()
	// Keys that go stale between two refreshes would fail requests for nothing.
	c.Refresh = max(min(c.Refresh, c.MaxStale/2), MinRefresh)
	return c
}

// discovers reports whether the key set's address comes from metadata.
func (c Config) discovers() bool { return c.JWKSURI == "" && c.JWKSFile == "" }

// source says where the keys come from.
func (c Config) source() string {
	switch {
	case c.JWKSFile != "":
		return "file " + c.JWKSFile
	case c.JWKSURI != "":
		return "url " + c.JWKSURI
	}
	return "discovery"
}

// shown is the source for people and records: without the query of an address,
// which may be secret.
func (c Config) shown() string {
	if c.JWKSURI == "" {
		return c.source()
	}
	return "url " + ShownURL(c.JWKSURI)
}

// ShownURL is an address for people, without its query and user information, which
// may be secret; empty if it is none.
func ShownURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return place(u)
}

// parseURL takes an address only if it may be fetched. Its errors go on from
// the address ("… is not absolute") and do not repeat it.
func (c Config) parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || len(address) > maxIssuerBytes:
		return nil, errors.New("is not a URL")
	case u.Scheme == "" || u.Hostname() == "":
		return nil, errors.New("is not an absolute URL, like https://login.example.com")
	case u.User != nil:
		return nil, errors.New("holds user information: it must not")
	case strings.Contains(address, "#"):
		return nil, errors.New("has a fragment: it must not")
	case u.Scheme == "https", u.Scheme == "http" && c.httpAllowed(u):
		return u, nil
	case u.Scheme == "http":
		return nil, errors.New("is http to another machine: use https, or allow it with insecure_http")
	}
	return nil, errors.New("is neither https nor http")
}

// CheckURL says why an address may not be asked: it must be https, or http to
// loopback, or with insecureHTTP to anywhere. Its errors go on from the address.
func CheckURL(address string, insecureHTTP bool) error {
	_, err := Config{InsecureHTTP: insecureHTTP}.parseURL(address)
	return err
}

// httpAllowed reports whether u's host may be asked over plain http.
func (c Config) httpAllowed(u *url.URL) bool {
	return c.InsecureHTTP || loopback.Host(u.Hostname())
}

// takesFetchToken reports whether the fetch token may be sent to a host: the
// issuer's own, the one of a configured jwks_uri, and those that are named.
func (c Config) takesFetchToken(u *url.URL) bool {
	for _, address := range []string{c.Issuer, c.JWKSURI} {
		if own, err := url.Parse(address); err == nil && own.Hostname() != "" && strings.EqualFold(own.Hostname(), u.Hostname()) {
			return true
		}
	}
	return slices.ContainsFunc(c.FetchTokenHosts, func(host string) bool { return strings.EqualFold(host, u.Hostname()) })
}

// Package idp is a throw-away OpenID provider on loopback, over real HTTP. The
// demo command gets its tokens from it, and tests use it as the issuer that they
// rotate, break, stop and start again.
//
// It signs with the standard library alone, so that a test which verifies its
// tokens with the product's JOSE library compares two implementations.
//
// Applications (see Client) can send people to its login page: an HTML form for
// a browser, the authorization code grant with PKCE and the implicit one.
//
// Its keys live in memory, and whoever reaches it gets tokens for the asking.
// It never belongs into a build that serves anybody.
package idp

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
)

// DefaultAudience is the `aud` of tokens for which nobody named another.
const DefaultAudience = "https://gateway.example.com"

// Issuer is a running provider. All methods are safe for concurrent use.
type Issuer struct {
	// URL is the issuer identifier, exactly as tokens and metadata carry it.
	URL string

	base string // scheme and host, no path
	path string // of URL, without a trailing slash

	opts   options
	ring   *keyring
	faults *faults
	line   *line
	counts counters

	mu      sync.Mutex
	clients map[string]Client
	codes   codes
	known   map[string]map[string]any // what is said of a token at the introspection endpoint
}

// Option changes how New builds an Issuer.
type Option func(*options)

type options struct {
	addr       string
	path       string
	jwksPath   string
	audience   []string
	algorithms []string
	clients    []Client
	people     map[string]account
	tls        bool
	stopped    bool
	now        func() time.Time
}

// WithAddress listens on host:port instead of a free port on 127.0.0.1.
func WithAddress(hostport string) Option { return func(o *options) { o.addr = hostport } }

// WithPath appends a path to the issuer identifier, such as "/realms/acme". A
// trailing slash, "/" alone included, stays part of the identifier.
func WithPath(path string) Option { return func(o *options) { o.path = path } }

// WithJWKSPath sets the path of `jwks_uri`, taken as it is; "//keys" shows
// whether a client bears a double slash. Default: the issuer's path + "/jwks".
func WithJWKSPath(path string) Option { return func(o *options) { o.jwksPath = path } }

// WithAudience replaces DefaultAudience.
func WithAudience(aud ...string) Option { return func(o *options) { o.audience = aud } }

// WithAlgorithms makes one key for each named algorithm; the first signs what
// asks for no other. Default: ES256. Known: RS256, RS384, RS512, PS256, PS384,
// PS512, ES256, ES384, ES512, EdDSA.
func WithAlgorithms(algs ...string) Option { return func(o *options) { o.algorithms = algs } }

// WithClient registers a client of the token endpoint. Repeatable.
func WithClient(c Client) Option {
	return func(o *options) { o.clients = append(o.clients, c) }
}

// WithPerson lets somebody log in under a name with a password. Repeatable.
func WithPerson(name, password string, p Person) Option {
	return func(o *options) {
		if o.people == nil {
			o.people = make(map[string]account)
		}
		o.people[name] = account{password, p}
	}
}

// account is what a person logs in with, and who that is.
type account struct {
	password string
	person   Person
}

// WithTLS serves https with a certificate of its own; see CAPEM and HTTPClient.
func WithTLS() Option { return func(o *options) { o.tls = true } }

// WithStopped listens only from Start on.
func WithStopped() Option { return func(o *options) { o.stopped = true } }

// WithNow injects the clock that tokens are dated by. Default: time.Now.
func WithNow(now func() time.Time) Option { return func(o *options) { o.now = now } }

// New starts an Issuer. The caller closes it.
func New(opts ...Option) (*Issuer, error) {
	o := options{
		audience:   []string{DefaultAudience},
		algorithms: []string{"ES256"},
		now:        time.Now,
	}
	for _, opt := range opts {
		opt(&o)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	iss := &Issuer{opts: o, faults: newFaults(), clients: make(map[string]Client), known: make(map[string]map[string]any)}
	for _, c := range o.clients {
		iss.clients[c.ID] = c
	}
	ring, err := newKeyring(o.algorithms)
	if err != nil {
		return nil, err
	}
	iss.ring = ring
	if err := iss.open(); err != nil {
		ring.close()
		return nil, err
	}
	return iss, nil
}

func (o *options) check() error {
	if len(o.algorithms) == 0 {
		return fmt.Errorf("no algorithm named, want at least one of %s", strings.Join(Algorithms(), " "))
	}
	if o.path != "" && !strings.HasPrefix(o.path, "/") {
		return fmt.Errorf("issuer path %q does not begin with a slash", o.path)
	}
	for _, c := range o.clients {
		if c.ID == "" || c.Secret == "" && len(c.RedirectURIs) == 0 {
			return fmt.Errorf("client %q needs an id and a secret", c.ID)
		}
	}
	return nil
}

// open listens. An address that was not asked for may be taken by another process
// right after it was found: then it takes the next one.
func (i *Issuer) open() (err error) {
	if i.opts.addr != "" {
		return i.openAt(i.opts.addr)
	}
	for range 3 {
		var address string
		if address, err = freeport.Address(); err != nil {
			return err
		}
		if err = i.openAt(address); !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return err
}

func (i *Issuer) openAt(address string) error {
	l, err := newLine(address, i.opts.tls, i.handler())
	if err != nil {
		return err
	}
	i.line = l
	i.base = l.base()
	i.URL = i.base + i.opts.path
	i.path = strings.TrimSuffix(i.opts.path, "/")
	if i.opts.jwksPath == "" {
		i.opts.jwksPath = i.path + "/jwks"
	}
	if i.opts.stopped {
		return nil
	}
	return l.start()
}

// Close ends the server, its connections and every request still hanging, and
// waits for them. A second call does nothing.
func (i *Issuer) Close() error {
	err := i.line.stop()
	i.ring.close()
	return err
}

// Stop closes the listener and all connections: callers meet a refused
// connection until Start. Keys, clients and faults stay.
func (i *Issuer) Stop() error { return i.line.stop() }

// Start listens again on the address that the Issuer had from the beginning. It
// fails when something else took the port meanwhile. A running Issuer is left
// alone.
func (i *Issuer) Start() error { return i.line.start() }

// JWKSURL is where the key set is served.
func (i *Issuer) JWKSURL() string { return i.base + i.opts.jwksPath }

// TokenURL is the token endpoint.
func (i *Issuer) TokenURL() string { return i.base + i.path + "/token" }

// IntrospectionURL is where clients ask about tokens.
func (i *Issuer) IntrospectionURL() string { return i.base + i.path + "/introspect" }

// LoginURL is the authorization endpoint, where the login page is.
func (i *Issuer) LoginURL() string { return i.base + i.path + "/authorize" }

// Host is the host:port that the Issuer listens on.
func (i *Issuer) Host() string {
	u, err := url.Parse(i.base)
	if err != nil {
		return ""
	}
	return u.Host
}

// AddClient registers a client, or replaces the one of the same ID.
func (i *Issuer) AddClient(c Client) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.clients[c.ID] = c
}

func (i *Issuer) client(id string) (Client, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	c, ok := i.clients[id]
	return c, ok
}

// hasApplication reports whether anybody could log in to anything.
func (i *Issuer) hasApplication() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range i.clients {
		if len(c.RedirectURIs) > 0 {
			return true
		}
	}
	return false
}

// Algorithms lists every JWS algorithm that an Issuer can sign with, sorted.
func Algorithms() []string { return slices.Sorted(maps.Keys(algorithms)) }

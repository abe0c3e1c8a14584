// Package demo is all of the demo command but Caddy: the throw-away issuer and
// upstream, the environment that Caddyfile.example reads, and the lines to paste.
package demo

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/internal/upstream"
)

// Clients of the issuer. Each Stage makes a new secret for them.
const (
	clientRobot = "robot" // a machine that may read
	clientAdmin = "boss"  // one in the group admins
	clientLate  = "late"  // one whose tokens have expired when it gets them
	clientNew   = "rover" // one that nobody has registered
)

// What the login page is tried with. The password is the clients' secret.
const (
	application = "license-users" // what people log in to
	guest       = "guest"         // who logs in
	apiKey      = "demo"          // who may ask where
)

// Options of a Stage. The zero value takes free ports.
type Options struct {
	// Port of the gateway; 0 takes a free one.
	Port int
}

// Stage is everything around the gateway. Close removes it.
type Stage struct {
	// Site is the gateway's address as a URL, without a trailing slash.
	Site string

	// Admin is the host:port of Caddy's admin endpoint.
	Admin string

	// Dir is a temporary folder, for Caddy's storage and whatever else it writes.
	Dir string

	issuer   *idp.Issuer
	upstream *upstream.Upstream
	app      *app
	secret   string
	shared   string // key of the signatures
	bound    string // a token that is bound to a key
}

// New starts issuer, upstream and application on loopback, and finds ports for the
// gateway. A taken port is an error that names it.
func New(o Options) (*Stage, error) {
	s := &Stage{secret: rand.Text()[:10], shared: rand.Text()}
	if err := s.start(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Stage) start(o Options) (err error) {
	// Both are kept open until issuer and upstream have ports of their own.
	site, err := reserve(o.Port)
	if err != nil {
		return err
	}
	defer site.Close()
	admin, err := reserve(0)
	if err != nil {
		return err
	}
	defer admin.Close()
	s.Site = "http://" + site.Addr().String()
	s.Admin = admin.Addr().String()
	if s.Dir, err = os.MkdirTemp("", "gatehouse-demo-"); err != nil {
		return fmt.Errorf("making a folder for the demo: %w", err)
	}
	if err = errors.Join(s.makeLicense(), s.makeBrowser()); err != nil {
		return err
	}
	if s.upstream, err = upstream.Start("127.0.0.1:0"); err != nil {
		return err
	}
	listener, err := reserve(0)
	if err != nil {
		return err
	}
	callback := "http://" + listener.Addr().String() + callbackPath
	if s.issuer, err = newIssuer(s.Site, s.secret, callback); err != nil {
		return errors.Join(err, listener.Close())
	}
	s.bound = s.boundToken()
	s.app = startApp(listener, s.Site)
	return nil
}

func newIssuer(audience, secret, callback string) (*idp.Issuer, error) {
	return idp.New(
		idp.WithAudience(audience),
		idp.WithClient(idp.Client{
			ID: clientRobot, Secret: secret, Groups: []string{"deployers"},
			Scopes: []string{"gateway.read", "gateway.write"},
		}),
		idp.WithClient(idp.Client{
			ID: clientAdmin, Secret: secret, Groups: []string{"admins"},
			Scopes: []string{"gateway.read"},
		}),
		idp.WithClient(idp.Client{
			ID: clientLate, Secret: secret, Lifetime: -time.Hour,
			Scopes: []string{"gateway.read"},
		}),
		idp.WithClient(idp.Client{ID: clientNew, Secret: secret, Scopes: []string{"gateway.read"}}),
		idp.WithClient(idp.Client{
			ID: application, RedirectURIs: []string{callback}, Scopes: []string{"gateway.read"},
		}),
		idp.WithPerson(guest, secret, idp.Person{Subject: guest, Name: "Guest", Email: "guest@example.com"}),
	)
}

// reserve holds a port of 127.0.0.1: the wanted one, or for 0 a free one.
func reserve(port int) (net.Listener, error) {
	if port == 0 {
		address, err := freeport.Address()
		if err != nil {
			return nil, err
		}
		return net.Listen("tcp", address)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("port %d cannot be had: %w: name another with --port, or none to have a free one taken", port, err)
	}
	return ln, nil
}

// Close ends application, issuer and upstream, and removes the folder. The gateway
// must have stopped.
func (s *Stage) Close() error {
	var errs []error
	if s.app != nil {
		errs = append(errs, s.app.close())
	}
	if s.issuer != nil {
		errs = append(errs, s.issuer.Close())
	}
	if s.upstream != nil {
		errs = append(errs, s.upstream.Close())
	}
	if s.Dir != "" {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	return errors.Join(errs...)
}

// Environment is what Caddyfile.example reads, and where Caddy is to write.
func (s *Stage) Environment() map[string]string {
	return s.licenseEnvironment(map[string]string{
		"GATEHOUSE_SITE":     s.Site,
		"GATEHOUSE_BIND":     "127.0.0.1",
		"GATEHOUSE_ADMIN":    s.Admin,
		"GATEHOUSE_ISSUER":   s.issuer.URL,
		"GATEHOUSE_AUDIENCE": s.Site,
		"GATEHOUSE_UPSTREAM": s.upstream.URL,
		"GATEHOUSE_REDIRECT": s.app.url + callbackPath,

		"GATEHOUSE_SSO_API_KEY":    apiKey,
		"GATEHOUSE_SSO_SHARED_KEY": s.shared,
		// Storage is configured; this is for what Caddy writes beside it.
		"XDG_DATA_HOME": filepath.Join(s.Dir, "data"),
	})
}

// Token is one that the gateway lets in.
func (s *Stage) Token() string {
	return s.issuer.Mint(map[string]any{"sub": clientRobot, "azp": clientRobot, "scope": "gateway.read"})
}

// boundToken is one that is bound to the key of a client (RFC 9449, section 6.1), of
// which nobody has the private half: the thumbprint is that of RFC 7638, section 3.1.
func (s *Stage) boundToken() string {
	return s.issuer.Mint(map[string]any{
		"sub": clientRobot, "azp": clientRobot, "scope": "gateway.read", "exp": time.Now().Add(24 * time.Hour).Unix(),
		"cnf": map[string]any{"jkt": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
	})
}

// StrangerToken is of a machine that nobody has registered.
func (s *Stage) StrangerToken() string {
	return s.issuer.Mint(map[string]any{"sub": clientNew, "azp": clientNew, "scope": "gateway.read"})
}

// AdminToken is one that may use the API, too.
func (s *Stage) AdminToken() string {
	return s.issuer.Mint(map[string]any{"sub": clientAdmin, "azp": clientAdmin, "scope": "gateway.read"})
}

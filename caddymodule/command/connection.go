package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-proxy/gatehouse/internal/loopback"
)

// connection says where the running server is and who is asking.
type connection struct {
	address, config, adapter, tokenFile string
}

func (c *connection) flags(f *pflag.FlagSet) {
	f.StringVar(&c.address, "address", "", "The address of Caddy's admin endpoint, if not the default; or the URL of a site with gatehouse_api")
	f.StringVarP(&c.config, "config", "c", "", "Configuration file to read the admin endpoint's address from, if --address is not used")
	f.StringVarP(&c.adapter, "adapter", "a", "", "Name of config adapter to apply (when --config is used)")
	f.StringVar(&c.tokenFile, "token-file", "", "File that holds the bearer token to send (default: the environment variable GATEHOUSE_TOKEN)")
}

// server is a running Gatehouse.
type server struct {
	name        string // in messages
	base        string // scheme, host and prefix of the path, no slash behind
	origin      string // for Caddy's enforce_origin; empty: not sent
	unencrypted bool   // requests go over a network as they are
	token       credential
	client      *http.Client

	explained string // the token being explained, which no error may show
}

// withServer makes the function of a command that asks a running server.
func (p *program) withServer(c *connection, do func(context.Context, *cobra.Command, *server, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := p.connect(cmd, c)
		if err != nil {
			return err
		}
		defer s.client.CloseIdleConnections()
		return do(cmd.Context(), cmd, s, args)
	}
}

// connect finds the server and the token. It sends nothing yet.
func (p *program) connect(cmd *cobra.Command, c *connection) (*server, error) {
	address, err := caddycmd.DetermineAdminAPIAddress(c.address, nil, c.config, c.adapter)
	if err != nil {
		return nil, fmt.Errorf("finding the admin endpoint: %w", err)
	}
	s, err := newServer(address)
	if err != nil {
		return nil, err
	}
	if s.token, err = p.credential(cmd, c.tokenFile); err != nil {
		return nil, err
	}
	if s.unencrypted && s.token.text != "" {
		note(cmd.ErrOrStderr(), "warning: the token goes to %s unencrypted; a site with gatehouse_api takes it over https", s.name)
	}
	return s, nil
}

func newServer(address string) (*server, error) {
	if strings.HasPrefix(address, "http://") || strings.HasPrefix(address, "https://") {
		return siteServer(address)
	}
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 || parsed.IsFdNetwork() {
		return nil, fmt.Errorf("%.200q is no address of an admin endpoint; want one such as localhost:2019 or unix//run/caddy.sock", address)
	}
	s := &server{name: address, client: &http.Client{CheckRedirect: noRedirect}}
	dialed := parsed.JoinHostPort(0)
	if parsed.IsUnixNetwork() {
		// Caddy writes the socket's mode behind its path.
		dialed, _, _ = strings.Cut(parsed.Host, "|")
		s.base = "http://127.0.0.1"
	} else {
		s.base = "http://" + dialed
		s.origin = s.base
		s.unencrypted = !isLocal(parsed.Host)
	}
	s.client.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, parsed.Network, dialed)
		},
		ExpectContinueTimeout: expectContinue,
	}
	return s, nil
}

// siteServer is a site, or a path on one, where gatehouse_api stands.
func siteServer(address string) (*server, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("--address is no URL of a site; want one such as https://admin.example.com or https://example.com/gatehouse")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // It is one.
	transport.ExpectContinueTimeout = expectContinue
	return &server{
		name:        address,
		base:        strings.TrimRight(u.Scheme+"://"+u.Host+u.EscapedPath(), "/"),
		unencrypted: u.Scheme == "http" && !isLocal(u.Hostname()),
		client:      &http.Client{CheckRedirect: noRedirect, Transport: transport},
	}, nil
}

// noRedirect keeps the token from being sent elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// isLocal tells whether a host is this machine. The unspecified address, dialed,
// is.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || loopback.Host(host) || err == nil && ip.IsUnspecified()
}

// tokenVariable is the environment variable that holds a bearer token.
const tokenVariable = "GATEHOUSE_TOKEN"

// credential is a bearer token and where it came from. However it is printed, only
// the latter is shown.
type credential struct {
	text   string
	source string
}

// Format keeps the token out of whatever a credential is printed to.
func (c credential) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "token of "+c.source) }

// bearerToken is the b64token of RFC 6750, section 2.1.
var bearerToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// maxToken is the longest token that the server takes, in bytes.
const maxToken = 16 << 10

// credential reads the token of a file or else of the environment. There may be
// none; where the admin endpoint is trusted, none is needed.
func (p *program) credential(cmd *cobra.Command, file string) (credential, error) {
	c := credential{text: p.getenv(tokenVariable), source: "the environment variable " + tokenVariable}
	if cmd.Flags().Changed("token-file") {
		text, err := readSecretFile(cmd, file)
		if err != nil {
			return credential{}, fmt.Errorf("reading the token: %w", err)
		}
		c = credential{text: text, source: file}
		if strings.TrimSpace(text) == "" {
			return credential{}, errors.New(file + " holds no token; want a bearer token and nothing else")
		}
	}
	c.text = strings.TrimSpace(c.text)
	if c.text == "" {
		return credential{}, nil
	}
	if len(c.text) > maxToken || !bearerToken.MatchString(c.text) {
		return credential{}, fmt.Errorf("%s holds no bearer token; want one (RFC 6750, section 2.1) of at most %d bytes and nothing else", c.source, maxToken)
	}
	return c, nil
}

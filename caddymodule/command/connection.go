package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

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

// isLocal reports whether a host is this machine. The unspecified address is,
// when it is dialed.
func isLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || loopback.Host(host) || err == nil && ip.IsUnspecified()
}

const (
	// answerWait is how long an answer may take. The server itself gives up on
	// its storage after 15 seconds.
	answerWait = time.Minute
	// expectContinue is how long a large body waits for the server to ask for
	// it, so that a refusal comes before the body and not while it is sent.
	expectContinue = 2 * time.Second
	// largeBody is the size from which a body waits.
	largeBody = 256 << 10
	// maxAnswer bounds an answer that is read as a whole, in bytes: a page of
	// a thousand large accounts fits.
	maxAnswer = 64 << 20
)

// request is one to the API.
type request struct {
	method string
	path   string // escaped
	query  url.Values
	body   []byte        // nil for none
	lines  bool          // the body is JSON lines
	wait   time.Duration // 0: answerWait
	match  string        // the tag that the account must still have; empty: any
	tag    *string       // where to put the answer's tag; nil: nowhere
}

// exchange sends a request and hands the body of a good answer to read. Any
// other answer is a [*refusal].
func (s *server) exchange(ctx context.Context, a request, read func(io.Reader) error) error {
	if a.wait == 0 {
		a.wait = answerWait
	}
	ctx, cancel := context.WithTimeout(ctx, a.wait)
	defer cancel()
	req, err := s.newRequest(ctx, a)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req) //nolint:gosec // The user names the server.
	if err != nil {
		return s.unanswered(err, a.wait)
	}
	defer resp.Body.Close() //nolint:errcheck // Only read.
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return s.refused(resp)
	}
	if a.tag != nil {
		*a.tag = resp.Header.Get("ETag")
	}
	return read(resp.Body)
}

func (s *server) newRequest(ctx context.Context, a request) (*http.Request, error) {
	address := s.base + a.path
	if len(a.query) > 0 {
		address += "?" + a.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, a.method, address, bytes.NewReader(a.body))
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if a.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.lines {
		req.Header.Set("Content-Type", "application/x-ndjson")
	}
	if len(a.body) >= largeBody {
		req.Header.Set("Expect", "100-continue")
	}
	if a.match != "" {
		req.Header.Set("If-Match", a.match)
	}
	if s.origin != "" {
		req.Header.Set("Origin", s.origin)
	}
	if s.token.text != "" {
		req.Header.Set("Authorization", "Bearer "+s.token.text)
	}
	return req, nil
}

// unanswered says why there is no answer. It leaves out the address of the request,
// whose query may be private.
func (s *server) unanswered(err error, wait time.Duration) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s did not answer within %s", s.name, wait)
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("no Caddy answers at %s: %w\nStart it, or name another with --address or --config", s.name, err)
	}
	return fmt.Errorf("asking %s: %w", s.name, err)
}

// fetch reads an answer as a whole.
func (s *server) fetch(ctx context.Context, a request) (body []byte, err error) {
	err = s.exchange(ctx, a, func(r io.Reader) error {
		body, err = readBounded(r, "the answer of "+s.name, maxAnswer)
		return err
	})
	return body, err
}

// get reads an answer into a document, and gives its text as well.
func (s *server) get(ctx context.Context, a request, document any) ([]byte, error) {
	body, err := s.fetch(ctx, a)
	if err != nil {
		return nil, err
	}
	return body, s.read(body, document)
}

func (s *server) read(body []byte, document any) error {
	err := json.Unmarshal(body, document)
	if err == nil && isNull(body) {
		err = errors.New("it is null")
	}
	if err != nil {
		return fmt.Errorf("the answer of %s is not what Gatehouse answers (%w); is it Caddy's admin endpoint?", s.name, err)
	}
	return nil
}

func isNull(body []byte) bool { return string(bytes.TrimSpace(body)) == "null" }

// refusal is an answer with a status that is not 2xx.
type refusal struct {
	status  int
	code    string // of the SSO route; empty elsewhere
	message string
	hint    string // what to do about it; may be empty
}

// Error is the status, the server's own words, and a hint.
func (r *refusal) Error() string {
	text := fmt.Sprintf("HTTP %d %s", r.status, http.StatusText(r.status))
	for _, more := range []string{r.code, r.message} {
		if more != "" {
			text += ": " + more
		}
	}
	if r.hint != "" {
		text += "\n" + r.hint
	}
	return text
}

const (
	maxProblem = 64 << 10 // of the body of an error that is read, in bytes
	maxMessage = 2000     // of a message that is shown, in bytes
)

// refused reads the server's error. Gatehouse puts it in message, Caddy itself in
// error.
func (s *server) refused(resp *http.Response) error {
	var said struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Caddy   string `json:"error"`
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	ours := json.Unmarshal(body, &said) == nil && said.Message != ""
	r := &refusal{status: resp.StatusCode, code: s.sanitize(said.Code), message: s.sanitize(said.Message)}
	if !ours {
		r.message = s.sanitize(said.Caddy)
	}
	r.hint = s.hint(resp, ours)
	return r
}

// sanitize makes a text of the server fit to be shown: short, without control
// characters, and without the token, in case it holds it.
func (s *server) sanitize(text string) string {
	for _, secret := range []string{s.token.text, s.explained} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(the token)")
		}
	}
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
	}
	return plain(oneLine(text))
}

func (s *server) hint(resp *http.Response, ours bool) string {
	switch status := resp.StatusCode; {
	case status == http.StatusNotFound && !ours:
		return "Is Gatehouse built into the Caddy at " + s.name + ", and configured?"
	case status < http.StatusBadRequest:
		return s.name + " sends requests elsewhere; name the right address with --address"
	case status == http.StatusNotFound && resp.Request.Method != http.MethodPost && strings.HasPrefix(resp.Request.URL.Path, accountsPath+"/"):
		return "No service account has this subject or id; `caddy gatehouse service-account list` shows those that there are"
	case status == http.StatusConflict && resp.Request.Method == http.MethodPost && resp.Request.URL.Path == accountsPath:
		return "There is a service account of this subject; `caddy gatehouse service-account show` shows it, and `set` changes it"
	case resp.Header.Get("Retry-After") != "":
		return "Try again in " + plain(clip(resp.Header.Get("Retry-After"))) + " s"
	case !ours:
		return ""
	case status != http.StatusUnauthorized && status != http.StatusForbidden:
		return ""
	case s.token.text == "":
		return "No token was sent: give one with --token-file FILE or in " + tokenVariable + ", or let whoever reaches Caddy's admin endpoint do without (api, trust_admin_endpoint)"
	case status == http.StatusUnauthorized:
		return fmt.Sprintf("The %v is not accepted: give a valid one with --token-file FILE or in %s", s.token, tokenVariable)
	}
	return fmt.Sprintf("The %v may not do this: give one of the group that may with --token-file FILE or in %s", s.token, tokenVariable)
}

// isStatus reports whether an error is the server's answer with that status.
func isStatus(err error, status int) bool {
	var r *refusal
	return errors.As(err, &r) && r.status == status
}

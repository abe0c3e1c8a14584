package command

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/oauth2"

	"github.com/gatehouse-proxy/gatehouse/internal/loopback"
)

const (
	// loginWait is how long a person may take to log in.
	loginWait = 10 * time.Minute
	// maxCallback bounds what the browser brings back, in bytes.
	maxCallback = 64 << 10
)

// login is one person's login in a browser: it ends at an address of this machine
// (RFC 8252, section 7.3), or with the address that the person pastes.
type login struct {
	state    string
	verifier string // RFC 7636, section 4.1
	redirect *url.URL
	listener net.Listener
	answers  chan callback
}

// callback is what a login ended with: exactly one of code, idToken and fault.
type callback struct {
	code, idToken string
	fault         string // of the provider: RFC 6749, section 4.1.2.1
}

// newLogin listens at a redirect address on loopback. Its port 0, or none, is any.
func newLogin(redirect string) (*login, error) {
	u, err := url.Parse(redirect)
	if err != nil || u.Scheme != "http" || !loopback.Host(u.Hostname()) || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("--redirect-uri: want an http address on loopback, such as http://127.0.0.1/callback")
	}
	port := u.Port()
	if port == "" {
		port = "0"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(u.Hostname(), port)) //nolint:noctx // ends with the command
	if err != nil {
		return nil, fmt.Errorf("listening for the end of the login: %w", err)
	}
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	u.Host = net.JoinHostPort(u.Hostname(), port)
	if u.Path == "" {
		u.Path = "/"
	}
	return &login{state: rand.Text(), verifier: oauth2.GenerateVerifier(), redirect: u, listener: listener, answers: make(chan callback, 1)}, nil
}

// await serves the redirect address until the login has ended there, or reads it from
// pasted, if that is not nil.
func (l *login) await(ctx context.Context, pasted io.Reader, complain func(error)) (callback, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loginWait, fmt.Errorf("nobody logged in within %s", loginWait))
	defer cancel()
	server := &http.Server{Handler: l, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, MaxHeaderBytes: maxCallback}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l.listener)
	}()
	defer func() {
		// The browser gets its page before the command ends.
		late, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if server.Shutdown(late) != nil {
			_ = server.Close()
		}
		<-served
	}()
	if pasted != nil {
		go l.readPasted(pasted, complain) // ends with the input, or with the process
	}
	select {
	case answer := <-l.answers:
		if answer.fault != "" {
			return callback{}, errors.New("the login failed: " + answer.fault)
		}
		return answer, nil
	case <-ctx.Done():
		return callback{}, context.Cause(ctx)
	}
}

// readPasted takes the first pasted address that is of this login.
func (l *login) readPasted(pasted io.Reader, complain func(error)) {
	lines := bufio.NewScanner(pasted)
	lines.Buffer(nil, maxCallback)
	for lines.Scan() {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		u, err := url.Parse(text)
		if err != nil {
			complain(errors.New("this is no address; paste the whole one at which the login ended"))
			continue
		}
		values, err := url.ParseQuery(strings.TrimPrefix(u.RawQuery+"&"+u.EscapedFragment(), "&"))
		if err == nil {
			err = l.take(values)
		}
		if err == nil {
			return
		}
		complain(err)
	}
}

var errForeign = errors.New("this is not the end of the login that was begun here")

// take accepts what a login ended with if it has the state of this one.
func (l *login) take(values url.Values) error {
	if subtle.ConstantTimeCompare([]byte(values.Get("state")), []byte(l.state)) != 1 {
		return errForeign
	}
	answer := callback{code: values.Get("code"), idToken: values.Get("id_token")}
	if fault := values.Get("error"); fault != "" {
		answer = callback{fault: plain(clip(strings.TrimSpace(fault + " " + values.Get("error_description"))))}
	}
	if answer.fault == "" && (answer.code == "") == (answer.idToken == "") {
		return errors.New("the login ended with neither a code nor an ID token, or with both")
	}
	select {
	case l.answers <- answer:
	default: // once more: the page was loaded again
	}
	return nil
}

// callbackScript hands on what stands behind the # of the address, which browsers do
// not send by themselves.
const callbackScript = `
const send = async () => {
	const said = location.hash.slice(1);
	history.replaceState(null, "", location.pathname);
	const answer = await fetch(location.pathname, {method: "POST", headers: {"Content-Type": "application/x-www-form-urlencoded"}, body: said});
	document.querySelector("p").textContent = await answer.text();
};
send();
`

// ServeHTTP is where the browser ends: with the answer in the query, or behind the #.
func (l *login) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	digest := sha256.Sum256([]byte(callbackScript))
	header.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; frame-ancestors 'none'; script-src 'sha256-"+base64.StdEncoding.EncodeToString(digest[:])+"'")
	host, _, _ := net.SplitHostPort(r.Host)
	switch {
	case r.URL.Path != l.redirect.Path:
		http.NotFound(w, r)
	case !loopback.Host(host): // another name for this machine: DNS rebinding
		http.Error(w, "not here", http.StatusMisdirectedRequest)
	case r.Method == http.MethodGet && r.URL.RawQuery == "":
		header.Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, page("One moment…", callbackScript))
	case r.Method == http.MethodGet:
		words, status := l.end(r.URL.Query())
		header.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, page(words, ""))
	case r.Method == http.MethodPost:
		r.Body = http.MaxBytesReader(w, r.Body, maxCallback)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "what the login ended with cannot be read", http.StatusBadRequest)
			return
		}
		words, status := l.end(r.PostForm)
		header.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, words)
	default:
		header.Set("Allow", "GET, POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

// end says what became of a login.
func (l *login) end(values url.Values) (words string, status int) {
	if err := l.take(values); err != nil {
		return "Error: " + err.Error() + ".", http.StatusBadRequest
	}
	if values.Get("error") != "" {
		return "The login failed. The terminal says why.", http.StatusOK
	}
	return "You are logged in. Go back to the terminal; this page can be closed.", http.StatusOK
}

func page(words, script string) string {
	text := "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Gatehouse</title><p>" + html.EscapeString(words) + "</p>"
	if script != "" {
		text += "<script>" + script + "</script>"
	}
	return text + "</html>\n"
}

// browserVariable names the program that shows an address, as other programs know it.
const browserVariable = "BROWSER"

// openBrowser shows an address, which begins with http, to the person at this machine.
func openBrowser(getenv func(string) string, address string) error {
	name, args := "xdg-open", []string{address}
	own := getenv(browserVariable)
	switch {
	case own != "":
		name = own
	case runtime.GOOS == "darwin":
		name = "open"
	case runtime.GOOS == "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", address}
	default: // a browser of the terminal would hide what the command says
		if getenv("DISPLAY") == "" && getenv("WAYLAND_DISPLAY") == "" {
			return errors.New("there is no screen")
		}
	}
	cmd := exec.Command(name, args...) //nolint:gosec,noctx // the caller's own program; it outlives the login
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

// ssoFlags are the flags of sso-url, and the parameters of the API they become.
var ssoFlags = []struct{ flag, parameter, usage string }{
	{"product", "product", "Code of the product (required)"},
	{"account", "customer_account_code", "Code of the customer account (required)"},
	{"response-type", "response_type", "What the provider is to answer with: code or token (default: the account's)"},
	{"redirect-uri", "redirect_uri", "Where it sends the browser back, one of the account's list (default: its first)"},
	{"state", "state", "State to carry along (default: a random one)"},
	{"nonce", "nonce", "Nonce of the ID token (default: a random one)"},
}

func (p *program) ssoURL() *cobra.Command {
	var c connection
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sso-url --product PRODUCT --account ACCOUNT",
		Short: "Prints the address of a customer account's login page",
		Long: `
Asks a running server for the address of a customer account's login page, and prints it
and nothing else.

It needs a token of the group that may ask for it, by default the admin group.
`,
		Example: `  caddy gatehouse sso-url --product my-product --account acme
  caddy gatehouse sso-url --product my-product --account acme --response-type code --redirect-uri http://127.0.0.1/callback --state xyz --nonce n-0S6 --json`,
		Args: cobra.NoArgs,
	}
	c.flags(cmd.Flags())
	for _, f := range ssoFlags {
		cmd.Flags().String(f.flag, "", f.usage)
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	suggest(cmd, "response-type", "code", "token")
	require(cmd, "product", "account")
	cmd.RunE = p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		var answer struct {
			URL string `json:"url"`
		}
		query, err := ssoQuery(cmd)
		if err != nil {
			return err
		}
		text, err := s.get(ctx, request{method: http.MethodGet, path: "/api/v4/sso_url", query: query}, &answer)
		if err != nil {
			return err
		}
		if answer.URL == "" {
			return errors.New("the answer of " + s.name + " holds no url; is it Caddy's admin endpoint?")
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), json.RawMessage(text))
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), plain(answer.URL))
		return err
	})
	return cmd
}

// ssoQuery holds the flags that were given. An empty one is refused: it is mostly an
// unset variable of a script.
func ssoQuery(cmd *cobra.Command) (url.Values, error) {
	query := url.Values{}
	for _, f := range ssoFlags {
		flag := cmd.Flags().Lookup(f.flag)
		if !flag.Changed {
			continue
		}
		if flag.Value.String() == "" {
			return nil, fmt.Errorf("--%s is empty; want a value, or leave it out if it is optional", f.flag)
		}
		query.Set(f.parameter, flag.Value.String())
	}
	return query, nil
}

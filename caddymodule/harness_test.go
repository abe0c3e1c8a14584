package caddymodule_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/gatehouse-proxy/gatehouse/caddymodule"
	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/internal/upstream"
	"github.com/gatehouse-proxy/gatehouse/internal/upstream/wsecho"
)

// gateway is a real Caddy in this process. Caddy has one configuration at a
// time, so no test that uses it is parallel.
type gateway struct {
	t       *testing.T
	dir     string
	vars    []string
	site    string // host:port
	second  string // host:port of another site, if the Caddyfile has one
	running bool

	client *http.Client // HTTP/1.1
	h2c    *http.Client // HTTP/2 without TLS
}

// globals are the options that every test needs. Query parameters reach Caddy's
// own request log before any handler runs, so the format takes the token out.
const globals = `
	admin off
	persist_config off
	auto_https off
	grace_period 5s
	storage file_system DIR/storage
	log {
		output file DIR/caddy.log {
			roll_disabled
		}
		level DEBUG
		format filter {
			wrap json
			fields {
				request>uri query {
					replace access_token REDACTED
				}
			}
		}
	}`

// start runs a Caddyfile. In it, GLOBALS stands for the options above, SITE and
// SECOND for free addresses, DIR for a fresh folder, and the first of each pair
// of vars for the second.
func start(t *testing.T, caddyfile string, vars ...string) *gateway {
	t.Helper()
	g := prepare(t, vars...)
	if err := g.load(caddyfile); err != nil {
		t.Fatalf("loading the configuration: %v", err)
	}
	return g
}

// prepare makes everything but the running Caddy, for tests whose configuration
// may not load.
func prepare(t *testing.T, vars ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, dir: t.TempDir(), site: freeAddress(t), second: freeAddress(t)}
	g.vars = append([]string{"GLOBALS", globals}, vars...)
	g.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, CheckRedirect: noRedirect}
	g.h2c = &http.Client{Transport: &http.Transport{Protocols: unencryptedHTTP2()}, CheckRedirect: noRedirect}
	t.Cleanup(func() {
		g.client.CloseIdleConnections()
		g.h2c.CloseIdleConnections()
		g.stop()
		g.checkLog()
	})
	return g
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func unencryptedHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// load makes the running Caddy use a Caddyfile.
func (g *gateway) load(caddyfile string) error {
	g.t.Helper()
	adapted, err := g.adapted(caddyfile)
	if err != nil {
		return err
	}
	return g.loadJSON(adapted)
}

// adapted is a Caddyfile as Caddy's own JSON, with everything filled in.
func (g *gateway) adapted(caddyfile string) ([]byte, error) {
	g.t.Helper()
	text := strings.NewReplacer(g.vars...).Replace(caddyfile)
	text = strings.NewReplacer("SITE", g.site, "SECOND", g.second, "DIR", g.dir).Replace(text)
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	for _, warning := range warnings {
		if !strings.Contains(warning.Message, "not formatted") {
			g.t.Logf("adapting: %s", warning)
		}
	}
	return adapted, err
}

func (g *gateway) loadJSON(config []byte) error {
	err := caddy.Load(config, true)
	g.running = g.running || err == nil
	g.awaitSole()
	// Caddy does not wait for the old server's connections to end, and a request
	// on one of them would be answered by the old configuration.
	g.client.CloseIdleConnections()
	g.h2c.CloseIdleConnections()
	return err
}

// awaitSole waits until one server alone listens on each site. Caddy says that it
// loaded, or failed to, when the server that has to go has heard of it: until it
// has closed its listener, it takes new connections, too.
func (g *gateway) awaitSole() {
	g.t.Helper()
	eventually(g.t, "one server alone listens on each address", func() bool {
		return caddy.ListenerUsage("tcp", g.site) < 2 && caddy.ListenerUsage("tcp", g.second) < 2
	})
	time.Sleep(time.Millisecond) // it is counted out just before it closes
}

func (g *gateway) stop() {
	if !g.running {
		return
	}
	g.running = false
	g.awaitTunnels()
	if err := caddy.Stop(); err != nil {
		g.t.Errorf("stopping: %v", err)
	}
}

// awaitTunnels waits, not for ever, until Caddy's reverse proxy has let go of the
// connections that were upgraded: stopping while it does is a data race of its
// own (the counters of a hijacked connection).
func (g *gateway) awaitTunnels() {
	for range 500 {
		log := g.log()
		if strings.Count(log, `"msg":"connection closed"`) >= strings.Count(log, `"msg":"upgrading connection"`) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// log is what Caddy has logged so far, at DEBUG.
func (g *gateway) log() string {
	data, err := os.ReadFile(filepath.Join(g.dir, "caddy.log"))
	if err != nil {
		g.t.Errorf("reading the log: %v", err)
	}
	return string(data)
}

// checkLog makes sure that no token that was used is in the log.
func (g *gateway) checkLog() {
	if _, err := os.Stat(filepath.Join(g.dir, "caddy.log")); err != nil {
		return // it never ran
	}
	if leak := leaked(g.log()); leak != "" {
		g.t.Errorf("the log holds a token: %s", leak)
	}
}

// used are the tokens of all tests so far.
var used = struct {
	sync.Mutex
	tokens map[string]bool
}{tokens: make(map[string]bool)}

// secret notes a token, so that it is looked for in the log, and gives it back.
func secret(token string) string {
	used.Lock()
	defer used.Unlock()
	used.tokens[token] = true
	return token
}

// leaked gives the first line that holds a used token's payload or signature.
func leaked(log string) string {
	used.Lock()
	defer used.Unlock()
	for token := range used.tokens {
		for part := range strings.SplitSeq(token, ".") {
			at := strings.Index(log, part)
			if len(part) < 40 || at < 0 || strings.HasPrefix(part, "eyJhbGci") {
				continue
			}
			line := log[strings.LastIndexByte(log[:at], '\n')+1:]
			line, _, _ = strings.Cut(line, "\n")
			return line
		}
	}
	return ""
}

func freeAddress(t testing.TB) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// newIssuer starts an issuer that is closed when the test ends.
func newIssuer(t *testing.T, options ...idp.Option) *idp.Issuer {
	t.Helper()
	issuer, err := idp.New(options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	return issuer
}

// newUpstream starts an upstream that is closed when the test ends.
func newUpstream(t *testing.T) *upstream.Upstream {
	t.Helper()
	u, err := upstream.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	u.HandleFunc("/ws", wsecho.Serve)
	return u
}

type claims = map[string]any

// mint makes a token that is looked for in the log.
func mint(issuer *idp.Issuer, c claims, options ...idp.MintOption) string {
	return secret(issuer.Mint(c, options...))
}

// answer is a response, read to its end.
type answer struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
}

type edit = func(*http.Request)

// send makes a request over HTTP/1.1 to a path of the first site.
func (g *gateway) send(method, path string, edits ...edit) answer {
	g.t.Helper()
	return g.do(g.client, method, "http://"+g.site+path, edits...)
}

func (g *gateway) get(path string, edits ...edit) answer {
	g.t.Helper()
	return g.send(http.MethodGet, path, edits...)
}

func (g *gateway) do(client *http.Client, method, url string, edits ...edit) answer {
	g.t.Helper()
	got, err := try(client, method, url, edits...)
	if err != nil {
		g.t.Fatal(err)
	}
	return got
}

// try is do for other goroutines than the test's. While it reloads, Caddy closes
// connections that it has not begun to serve yet, whatever the modules in it; who
// sends what can be repeated tries again then.
func try(client *http.Client, method, url string, edits ...edit) (got answer, err error) {
	for range 5 {
		if got, err = tryOnce(client, method, url, edits); err == nil {
			return got, nil
		}
	}
	return answer{}, err
}

func tryOnce(client *http.Client, method, url string, edits []edit) (answer, error) {
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		return answer{}, err
	}
	for _, edit := range edits {
		edit(request)
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, response.Trailer, string(body)}, err
}

func bearer(token string) edit { return header("Authorization", "Bearer "+secret(token)) }

// header sets a header under exactly this name.
func header(name string, values ...string) edit {
	return func(r *http.Request) { r.Header[name] = values }
}

// seen is the request as the upstream saw it.
func (a answer) seen(t *testing.T) upstream.Seen {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("got status %d (%s, %q), want 200 of the upstream", a.status, a.header.Get("WWW-Authenticate"), a.body)
	}
	var seen upstream.Seen
	if err := json.Unmarshal([]byte(a.body), &seen); err != nil {
		t.Fatalf("the upstream's answer is %q: %v", a.body, err)
	}
	return seen
}

// refused is what a refusal must look like.
type refused struct {
	status    int
	challenge string // exactly; "" for none
	message   string
}

func invalidToken(message string) refused {
	return refused{401, `Bearer realm="gatehouse", error="invalid_token", error_description="` + message + `"`, message}
}

func invalidRequest(message string) refused {
	return refused{400, `Bearer realm="gatehouse", error="invalid_request", error_description="` + message + `"`, message}
}

func forbidden(message string) refused {
	return refused{403, `Bearer realm="gatehouse", error_description="` + message + `"`, message}
}

// check holds an answer against a refusal: status, challenge, no-store, body.
func (want refused) check(t *testing.T, got answer, body string) {
	t.Helper()
	if got.status != want.status {
		t.Errorf("got status %d, want %d", got.status, want.status)
	}
	if all := got.header.Values("WWW-Authenticate"); strings.Join(all, "|") != want.challenge {
		t.Errorf("got WWW-Authenticate %q, want %q", all, want.challenge)
	}
	if control := got.header.Values("Cache-Control"); fmt.Sprint(control) != "[no-store]" {
		t.Errorf("got Cache-Control %q, want no-store", control)
	}
	if got.body != body {
		t.Errorf("got the body %q, want %q", got.body, body)
	}
}

// jsonBody is the body of a refusal with `error_body json`.
func (want refused) jsonBody() string { return fmt.Sprintf("{\"message\":%q}\n", want.message) }

// eventually waits until what it asks about has come true. It is for what shows
// itself nowhere but in a state, never for what can be waited for.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("still not so after 15s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestLeakedFindsATokenInALog(t *testing.T) {
	token := secret("eyJhbGciOiJFUzI1NiJ9." + rand.Text() + rand.Text() + "." + rand.Text() + rand.Text())
	if leak := leaked("a\nb " + token + " c\nd"); leak != "b "+token+" c" {
		t.Errorf("got %q, want the line with the token", leak)
	}
	if leak := leaked("nothing\n"); leak != "" {
		t.Errorf("got %q, want nothing", leak)
	}
}

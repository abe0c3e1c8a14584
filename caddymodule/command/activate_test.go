package command

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// exchange is a vendor and a deployment, as far as a command sees them.
type exchange struct {
	*httptest.Server
	license string // what the vendor hands out

	mu     sync.Mutex
	asked  map[string]string // the last body or query of each path
	status map[string]int    // of a path, if not 200
	begun  chan url.Values   // of each login, if somebody waits for it
}

const fingerprint = "5f2c5f2c5f2c5f2c5f2c5f2c5f2c5f2c5f2c5f2c5f2c5f2c5f2c5f2c5f2c5f2c"

func newExchange(t *testing.T, license string) *exchange {
	t.Helper()
	x := &exchange{license: license, asked: map[string]string{}, status: map[string]int{}, begun: make(chan url.Values, 1)}
	x.Server = httptest.NewServer(x)
	t.Cleanup(x.Close)
	return x
}

func (x *exchange) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asked[r.URL.Path] = string(body) + r.URL.RawQuery
	if status := x.status[r.URL.Path]; status != 0 {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"status":400,"code":"user_not_allowed","message":"no"}`)
		return
	}
	q := r.URL.Query()
	switch r.URL.Path {
	case "/api/orgs/license/instance":
		_, _ = io.WriteString(w, `{"fingerprint":"`+fingerprint+`","public_key":"AA=="}`)
	case "/api/orgs/license":
		w.WriteHeader(http.StatusNoContent)
	case "/api/v4/sso_url":
		login := x.URL + "/authorize?" + url.Values{"redirect_uri": q["redirect_uri"], "state": q["state"], "type": q["response_type"]}.Encode()
		_ = json.NewEncoder(w).Encode(map[string]string{"url": login})
		select {
		case x.begun <- q:
		default:
		}
	case "/api/v4/activate_license":
		_, _ = io.WriteString(w, `{"license":`+x.license+`}`)
	}
}

func (x *exchange) got(path string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.asked[path]
}

// browser ends a login as a provider does, with more parameters of the end.
func browser(more string) func(address string) error {
	return func(address string) error {
		u, err := url.Parse(address)
		if err != nil {
			return err
		}
		q := u.Query()
		end := q.Get("redirect_uri") + "?state=" + q.Get("state") + more
		go func() {
			if resp, err := http.Get(end); err == nil { //nolint:gosec,noctx // the test's own
				_ = resp.Body.Close()
			}
		}()
		return nil
	}
}

func (x *exchange) activates(s *shell, more ...string) []string {
	s.env["GATEHOUSE_VENDOR_TOKEN"] = "vendor-token-1"
	return append([]string{"license", "activate", "--address", x.URL, "--server", x.URL, "--product", "p", "--account", "acme"}, more...)
}

// TestActivate: the code of the login goes to the vendor with its verifier, and the
// license to the server.
func TestActivate(t *testing.T) {
	s := newShell(t)
	x := newExchange(t, s.license())
	s.program.open = browser("&code=c-1")
	r := s.must(x.activates(s, "--host", "a.example,b.example")...)
	if !strings.Contains(r.stdout, "Acme Corp") || !strings.Contains(r.stdout, "5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11") {
		t.Error(r.stdout)
	}
	var asked map[string]any
	if err := json.Unmarshal([]byte(x.got("/api/v4/activate_license")), &asked); err != nil {
		t.Fatal(err)
	}
	verifier, _ := asked["code_verifier"].(string)
	query, _ := url.ParseQuery(x.got("/api/v4/sso_url"))
	if asked["code"] != "c-1" || asked["hardware_id"] != fingerprint || len(verifier) < 43 || asked["redirect_uri"] != query.Get("redirect_uri") ||
		query.Get("code_challenge_method") != "S256" || len(query.Get("code_challenge")) != 43 || asked["id_token"] != nil {
		t.Errorf("%v, %v", asked, query)
	}
	if hosts, _ := asked["hosts"].([]any); len(hosts) != 2 {
		t.Errorf("hosts %v", asked["hosts"])
	}
	file := filepath.Join(t.TempDir(), "license.json")
	installed := x.got("/api/orgs/license")
	for range 2 { // the second time it is replaced
		if r := s.must(x.activates(s, "--out", file)...); !strings.Contains(r.stdout, "Written") {
			t.Error(r.stdout)
		}
	}
	if written, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(written)) != strings.TrimSpace(s.license()) || x.got("/api/orgs/license") != installed {
		t.Errorf("%v: wrote %s", err, written)
	}
	if got := installed; strings.TrimSpace(got) != strings.TrimSpace(s.license()) {
		t.Errorf("installed %s", got)
	}
	if strings.Contains(r.stdout+r.stderr, "vendor-token-1") || strings.Contains(r.stdout+r.stderr, "c-1\"") {
		t.Error("a secret is shown")
	}
}

// TestActivateByPaste: where there is no browser, the pasted address ends the login; what
// is not of this login does not.
func TestActivateByPaste(t *testing.T) {
	for flow, mark := range map[string]string{"code": "?", "id_token": "#"} {
		s := newShell(t)
		x := newExchange(t, s.license())
		out, in := io.Pipe()
		s.stdin = out
		s.program.open = func(string) error { return errors.New("no screen") }
		go func() {
			query := <-x.begun
			_, _ = io.WriteString(in, "nonsense\n\nhttp://127.0.0.1/callback?code=evil&state=other\n"+
				query.Get("redirect_uri")+mark+flow+"=pasted-1&state="+query.Get("state")+"\n")
		}()
		r := s.must(x.activates(s, "--flow", flow)...)
		if n := strings.Count(r.stderr, errForeign.Error()); n != 2 {
			t.Errorf("%s: complained %d times: %s", flow, n, r.stderr)
		}
		if got := x.got("/api/v4/activate_license"); !strings.Contains(got, `"`+flow+`":"pasted-1"`) || strings.Contains(got, "evil") {
			t.Errorf("%s: %s", flow, got)
		}
		_ = in.Close()
	}
}

// TestActivateRefused: what goes wrong is reported, and nothing is installed.
func TestActivateRefused(t *testing.T) {
	for name, c := range map[string]struct {
		end    string // of the login
		status string // the path that refuses
		words  []string
	}{
		"the provider": {"&error=access_denied&error_description=no%1b%5b2J", "", []string{"the login failed: access_denied no"}},
		"the vendor":   {"&code=c-1", "/api/v4/activate_license", []string{"user_not_allowed"}},
		"no such sso":  {"&code=c-1", "/api/v4/sso_url", []string{"the vendor answered with status 400"}},
		"the server":   {"&code=c-1", "/api/orgs/license", []string{"HTTP 400", "takes no second one"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShell(t)
			x := newExchange(t, s.license())
			x.status[c.status] = http.StatusBadRequest
			s.program.open = browser(c.end)
			r := s.fails(c.words, x.activates(s)...)
			if strings.Contains(r.stderr, "\x1b") || c.status != "/api/orgs/license" && x.got("/api/orgs/license") != "" {
				t.Error(r.stderr)
			}
		})
	}
	s := newShell(t)
	x := newExchange(t, s.license())
	for flag, words := range map[string]string{
		"--server=http://vendor.example":         "not asked over https",
		"--flow=password":                        "want code or id_token",
		"--redirect-uri=http://example.com/back": "http address on loopback",
		"--account=":                             "--account is missing",
		"--response=r.json":                      "--response goes with --offline",
		"--offline=r.json":                       "--offline with --server needs --response",
	} {
		s.fails([]string{words}, append(x.activates(s), flag)...)
	}
	s.env["GATEHOUSE_VENDOR_API_KEY"] = "key"
	s.fails([]string{"without its shared key"}, x.activates(s)...)
}

// TestResponseIsWritten: a server whose configuration names a file gets the license of the
// vendor's response there, as the vendor signed it; no server is asked.
func TestResponseIsWritten(t *testing.T) {
	s := newShell(t)
	folder := t.TempDir()
	file, response := filepath.Join(folder, "license.json"), filepath.Join(folder, "response.json")
	writes := func(text string) []string {
		if err := os.WriteFile(response, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"license", "activate", "--offline", "request.json", "--response", response, "--out", file}
	}
	for text, words := range map[string]string{
		`{"response":{}}`:                                  "is no response with a license",
		`{"response":{"license":{"key_id":1}}}`:            "the license in ",
		`{"response":{"license":` + s.license() + `}} and`: "is no response with a license",
	} {
		s.fails([]string{words}, writes(text)...)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a bad response was written")
	}
	if r := s.must(writes(`{"response":{"license":` + s.license() + `}}`)...); !strings.Contains(r.stdout, "Written") {
		t.Error(r.stdout)
	}
	if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != strings.TrimSpace(s.license()) {
		t.Errorf("%v: wrote %s", err, text)
	}
	last := "--out is for the last step"
	s.fails([]string{last}, append(writes(""), "--server", "https://license.vendor.example")...)
	s.fails([]string{last}, "license", "activate", "--offline", "request.json", "--out", file, "--product", "p", "--account", "a")
}

// TestLoginEndsOnceAndHere: the address at which a login ends takes nothing from others.
func TestLoginEndsOnceAndHere(t *testing.T) {
	l, err := newLogin("http://127.0.0.1/callback")
	if err != nil {
		t.Fatal(err)
	}
	defer l.listener.Close() //nolint:errcheck // a test
	end := l.redirect.String()
	good := "state=" + l.state + "&code=c"
	for name, c := range map[string]struct {
		request *http.Request
		status  int
	}{
		"another path":    {httptest.NewRequest(http.MethodGet, end+"/x?"+good, nil), http.StatusNotFound},
		"another name":    {httptest.NewRequest(http.MethodGet, "http://evil.example:80/callback?"+good, nil), http.StatusMisdirectedRequest},
		"no state":        {httptest.NewRequest(http.MethodGet, end+"?code=c", nil), http.StatusBadRequest},
		"another state":   {httptest.NewRequest(http.MethodGet, end+"?code=c&state=x", nil), http.StatusBadRequest},
		"neither":         {httptest.NewRequest(http.MethodGet, end+"?state="+l.state, nil), http.StatusBadRequest},
		"both":            {httptest.NewRequest(http.MethodGet, end+"?"+good+"&id_token=t", nil), http.StatusBadRequest},
		"another method":  {httptest.NewRequest(http.MethodPut, end+"?"+good, nil), http.StatusMethodNotAllowed},
		"a huge fragment": {httptest.NewRequest(http.MethodPost, end, strings.NewReader(strings.Repeat("x", maxCallback+1))), http.StatusBadRequest},
	} {
		c.request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		l.ServeHTTP(w, c.request)
		if w.Code != c.status {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	select {
	case answer := <-l.answers:
		t.Errorf("took %+v", answer)
	default:
	}
	w := httptest.NewRecorder()
	l.ServeHTTP(w, httptest.NewRequest(http.MethodGet, end, nil))
	if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'sha256-") || !strings.Contains(w.Body.String(), callbackScript) {
		t.Errorf("%s, %s", policy, w.Body)
	}
	form := httptest.NewRequest(http.MethodPost, end, strings.NewReader("state="+l.state+"&id_token=t"))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for range 2 { // a page that is loaded again
		w = httptest.NewRecorder()
		l.ServeHTTP(w, form.Clone(t.Context()))
	}
	if answer := <-l.answers; answer.idToken != "t" || answer.code != "" {
		t.Errorf("took %+v", answer)
	}
}

// TestRevocations: a list goes on from the one before it, if that is the vendor's own.
func TestRevocations(t *testing.T) {
	const first, second = "11111111-2222-4333-8444-555555555555", "01111111-2222-4333-8444-555555555555"
	s := newShell(t)
	key := s.vendorKey()
	sign := func(more ...string) string {
		t.Helper()
		return s.must(append([]string{"license", "revocations", "--key", key}, more...)...).stdout
	}
	one := s.file("one.json", sign("--revoke", first), 0o600)
	two := sign("--previous", one, "--revoke", second, "--next-update", "30d", "--json")
	if !strings.Contains(two, `"version":2`) || !strings.Contains(two, `"revoked":["`+second+`","`+first+`"]`) || strings.Count(two, "\n") != 1 {
		t.Error(two)
	}
	if three := sign("--previous", s.file("two.json", two, 0o600), "--restore", first, "--version", "9", "--json"); !strings.Contains(three, `"version":9`) || strings.Contains(three, first) {
		t.Error(three)
	}
	other := filepath.Join(t.TempDir(), "other.key")
	s.must("keygen", "--out", other)
	for words, args := range map[string][]string{
		"with --trusted-key":          {"--key", other, "--previous", one},
		"is no list":                  {"--key", key, "--previous", key + ".pub"},
		"is not on the list":          {"--key", key, "--restore", first},
		"want a lower-case UUID":      {"--key", key, "--revoke", "all"},
		"want more than the previous": {"--key", key, "--previous", one, "--version", "1"},
	} {
		s.fails([]string{words}, append([]string{"license", "revocations"}, args...)...)
	}
	s.must("license", "revocations", "--key", other, "--previous", one, "--trusted-key", key+".pub")
}

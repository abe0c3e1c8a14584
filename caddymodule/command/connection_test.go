package command

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile" // the adapter of --config
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestWhereTheServerIs finds it by address, configuration, socket and URL.
func TestWhereTheServerIs(t *testing.T) {
	g, s := newSite(t)
	caddyfile := s.file("Caddyfile", "{\n\tadmin "+g.address()+"\n}\n", 0o600)
	native := s.file("caddy.json", `{"admin":{"listen":"`+g.address()+`"}}`, 0o600)
	for name, flags := range map[string][]string{
		"address":      {"--address", g.address()},
		"network":      {"--address", "tcp/" + g.address()},
		"Caddyfile":    {"--config", caddyfile, "--adapter", "caddyfile"},
		"shorthands":   {"-c", caddyfile, "-a", "caddyfile"},
		"JSON":         {"--config", native},
		"URL":          {"--address", g.server.URL},
		"URL, slash":   {"--address", g.server.URL + "/"},
		"address wins": {"--address", g.address(), "--config", "no-such-file"},
	} {
		s.connection = flags
		if r := s.run("keys"); r.err != nil {
			t.Errorf("%s: %v", name, r.err)
		}
		g.wantAsked("GET /api/issuers")
	}
}

func TestUnixSocket(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // Go makes none there that a path of this kind names
	}
	g, s := newSite(t)
	dir, err := os.MkdirTemp("", "gh") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // A folder of its own.
	socket := filepath.Join(dir, "admin.sock")
	listener, err := new(net.ListenConfig).Listen(context.Background(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: g, ReadHeaderTimeout: time.Minute}}
	server.Start()
	defer server.Close()
	for _, address := range []string{"unix/" + socket, "unix/" + socket + "|0200"} {
		s.connection = []string{"--address", address}
		if r := s.must("keys"); r.stderr != "" {
			t.Errorf("%s: %s", address, r.stderr)
		}
		g.wantAsked("GET /api/issuers")
	}
}

// TestSiteWithAPrefix asks a gatehouse_api behind handle_path.
func TestSiteWithAPrefix(t *testing.T) {
	g, s := newSite(t)
	s.connection = []string{"--address", g.server.URL + "/gatehouse/"}
	s.fails([]string{"HTTP 404"}, "keys")
	g.wantAsked("GET /gatehouse/api/issuers")
}

func TestBadAddresses(t *testing.T) {
	s := newShell(t)
	for address, want := range map[string]string{
		"localhost:1-5":            "is no address of an admin endpoint",
		"fd/3":                     "is no address of an admin endpoint",
		"https://":                 "is no URL of a site",
		"https://u:p@host":         "is no URL of a site",
		"http://host?x=1":          "is no URL of a site",
		"http://host\u007f/":       "is no URL of a site",
		"localhost:70000":          "is no address of an admin endpoint",
		"unix//no/such/admin.sock": "no Caddy answers at unix//no/such/admin.sock",
	} {
		s.connection = []string{"--address", address}
		if r := s.fails([]string{want}, "status"); strings.Contains(r.stderr, "u:p") {
			t.Errorf("%s: the password is shown: %s", address, r.stderr)
		}
	}
	s.connection = []string{"--config", "no-such-file"}
	s.fails([]string{"finding the admin endpoint", "no-such-file"}, "status")
}

func TestNobodyAnswers(t *testing.T) {
	g, s := newSite(t)
	g.server.Close()
	s.fails([]string{"no Caddy answers at " + g.address(), "--address", "--config", "refused"}, "status")
}

func TestServerHangsUp(t *testing.T) {
	g, s := newSite(t)
	g.server.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	s.fails([]string{"asking " + g.address()}, "status")
}

func TestServerIsSilent(t *testing.T) {
	g, _ := newSite(t)
	release := make(chan struct{})
	g.server.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	server, err := newServer(g.address())
	if err != nil {
		t.Fatal(err)
	}
	defer server.client.CloseIdleConnections()
	_, err = server.fetch(t.Context(), request{method: http.MethodGet, path: "/", wait: 50 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "did not answer within 50ms") {
		t.Errorf("got %v", err)
	}
}

// TestRedirectIsNotFollowed keeps the token from going elsewhere.
func TestRedirectIsNotFollowed(t *testing.T) {
	g, s := newSite(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("somebody else was asked: %s", r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	g.says("GET /api/status", answer{status: http.StatusFound, header: http.Header{"Location": {elsewhere.URL}}})
	s.fails([]string{"HTTP 302", "sends requests elsewhere"}, "status")
}

func TestWarnsOfAnUnencryptedWay(t *testing.T) {
	for address, far := range map[string]bool{
		"localhost:2019": false, "127.0.0.1:2019": false, "[::1]:2019": false, ":2019": false, "0.0.0.0:2019": false,
		"unix//run/caddy.sock": false, "10.0.0.5:2019": true, "caddy.internal:2019": true,
		"http://admin.example.com": true, "https://admin.example.com": false, "http://127.0.0.1:8080/gatehouse": false,
	} {
		s, err := newServer(address)
		if err != nil || s.unencrypted != far {
			t.Errorf("%s: %v, %v; want %v", address, s, err, far)
		}
	}
	shell := newShell(t)
	shell.env[tokenVariable] = goodToken
	shell.connection = []string{"--address", "gatehouse.invalid:2019"}
	shell.fails([]string{"warning: the token goes to gatehouse.invalid:2019 unencrypted"}, "status")
}

func TestWhereTheTokenIsFrom(t *testing.T) {
	g, s := newSite(t)
	const other = "b3RoZXI.dG9r.ZW4="
	g.token = other
	s.fails([]string{"HTTP 401", "a bearer token is needed", "token of the environment variable GATEHOUSE_TOKEN is not accepted"}, "keys")

	file := s.file("token", other+"\n", 0o600)
	if r := s.must("keys", "--token-file", file); r.stderr != "" {
		t.Errorf("the file's token: %s", r.stderr)
	}
	delete(s.env, tokenVariable)
	s.fails([]string{"HTTP 401", "No token was sent", "--token-file", "GATEHOUSE_TOKEN"}, "keys")
	g.token = ""
	s.must("keys") // trust_admin_endpoint
}

func TestTokenFilesOthersMayRead(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // modes say nothing there
	}
	_, s := newSite(t)
	file := s.file("token", goodToken, 0o604)
	r := s.must("keys", "--token-file", file)
	if !strings.Contains(r.stderr, "warning: "+file+" has the mode 0604") {
		t.Errorf("no warning: %q", r.stderr)
	}
}

func TestBadTokens(t *testing.T) {
	g, s := newSite(t)
	for name, text := range map[string]string{
		"two": goodToken + " " + goodToken, "with a scheme": "Bearer " + goodToken, "with a line end inside": "a\nb",
		"not ASCII": "tökén", "long": strings.Repeat("a", 16<<10+1),
	} {
		for _, flags := range [][]string{{"--token-file", s.file("token", text, 0o600)}, {}} {
			s.env[tokenVariable] = text
			if r := s.fails([]string{"holds no bearer token"}, append([]string{"keys"}, flags...)...); strings.Contains(r.stderr, text) {
				t.Errorf("%s: the token is shown: %s", name, r.stderr)
			}
		}
	}
	s.env[tokenVariable] = goodToken
	s.fails([]string{"holds no token"}, "keys", "--token-file", s.file("token", " \n", 0o600))
	s.fails([]string{"holds no token"}, "keys", "--token-file", s.file("token", "", 0o600))
	s.fails([]string{"reading the token", "no-such-file"}, "keys", "--token-file", "no-such-file")
	s.fails([]string{"reading the token"}, "keys", "--token-file", "")
	s.fails([]string{"more than 65536 bytes"}, "keys", "--token-file", s.file("token", strings.Repeat("a", 65537), 0o600))
	g.wantAsked()
}

// TestRefusals shows the server's words, and what can be done.
func TestRefusals(t *testing.T) {
	g, s := newSite(t)
	for name, c := range map[string]struct {
		answer answer
		want   []string
		not    string
	}{
		"message":      {answer{status: 409, body: `{"message":"a file is configured"}`}, []string{"HTTP 409 Conflict: a file is configured"}, "--token-file"},
		"forbidden":    {answer{status: 403, body: `{"message":"not of the group"}`}, []string{"HTTP 403 Forbidden: not of the group", "may not do this", "--token-file"}, ""},
		"Caddy's own":  {answer{status: 403, body: `{"error":"host not allowed: x"}`}, []string{"HTTP 403 Forbidden: host not allowed: x"}, "--token-file"},
		"no Gatehouse": {answer{status: 404, body: "404 page not found\n"}, []string{"HTTP 404", "Is Gatehouse built into the Caddy at"}, ""},
		"storage": {answer{status: 503, header: http.Header{"Retry-After": {"5"}}, body: `{"message":"storage cannot be written now"}`},
			[]string{"HTTP 503 Service Unavailable: storage cannot be written now", "Try again in 5 s"}, ""},
		"escapes":   {answer{status: 500, body: `{"message":"\u001b[2J\u202egone"}`}, []string{`\x1b[2J\u202egone`}, "\x1b"},
		"the token": {answer{status: 500, body: `{"message":"what is ` + goodToken + `?"}`}, []string{"what is (the token)?"}, goodToken},
		"endless":   {answer{status: 500, body: `{"message":"` + strings.Repeat("x", 60000) + `"}`}, []string{"xxx..."}, strings.Repeat("x", 3000)},
		"not JSON":  {answer{status: 200, body: "<html>"}, []string{"is not what Gatehouse answers", "is it Caddy's admin endpoint?"}, "<html>"},
		"empty":     {answer{status: 200}, []string{"is not what Gatehouse answers"}, ""},
		"a list":    {answer{status: 200, body: "[1]"}, []string{"is not what Gatehouse answers"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g.answers["GET /api/status"] = c.answer
			r := s.fails(c.want, "status")
			if c.not != "" && strings.Contains(r.stderr, c.not) {
				t.Errorf("stderr holds %.40q:\n%.4000s", c.not, r.stderr)
			}
		})
	}
}

func TestCredentialIsNotPrinted(t *testing.T) {
	c := credential{text: goodToken, source: "here"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, value := range []any{c, &c, struct{ C credential }{c}} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, goodToken) {
				t.Errorf("%s of %T shows the token: %s", verb, value, text)
			}
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	g, s := newSite(t)
	g.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		part := []byte(strings.Repeat(" ", 1<<20))
		for range maxAnswer>>20 + 1 {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})
	s.fails([]string{"more than 67108864 bytes"}, "status")
}

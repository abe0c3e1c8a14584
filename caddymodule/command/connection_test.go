package command

import (
	"context"
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
	_, err = server.fetch(t.Context(), ask{method: http.MethodGet, path: "/", wait: 50 * time.Millisecond})
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
		if err != nil || s.far != far {
			t.Errorf("%s: %v, %v; want %v", address, s, err, far)
		}
	}
	shell := newShell(t)
	shell.env[tokenVariable] = goodToken
	shell.connection = []string{"--address", "gatehouse.invalid:2019"}
	shell.fails([]string{"warning: the token goes to gatehouse.invalid:2019 unencrypted"}, "status")
}

package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

const licenseAPI = `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		service_accounts {
			registration optional
			refresh 50ms
		}
		license {
			SOURCE
			trusted_key PUBLIC
		}
		signing {
			KEY
			group signers
		}
	}
}
http://SITE {
	bind 127.0.0.1
	gatehouse_api
	require_license
	respond "in {http.license.description}"
}
http://one.example.com:PORT {
	bind 127.0.0.1
	require_license
	respond "in"
}
`

func sends(body string) edit {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", "application/json")
	}
}

// licenseServer is a server with the API, and those who use it.
type licenseServer struct {
	*gateway
	*vendor
	issuer *idp.Issuer
}

func startLicenseAPI(t *testing.T, pairs ...string) *licenseServer {
	s := &licenseServer{prepare(t), newVendor(t), newIssuer(t)}
	s.vars = append(pairs, s.vars...) // the first of a name wins
	s.vars = append(s.vars, "ISSUER", s.issuer.URL, "PUBLIC", s.public(), "SOURCE", "", "KEY", "key "+s.private(),
		"PORT", s.second[strings.LastIndex(s.second, ":")+1:])
	if err := s.gateway.load(licenseAPI); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *licenseServer) as(group string) edit {
	return bearer(mint(s.issuer, claims{"sub": "ann", "groups": []string{group}}))
}

func (s *licenseServer) object(t *testing.T, path string) map[string]any {
	t.Helper()
	var object map[string]any
	got := s.get(path, s.as("nobody"))
	if err := json.Unmarshal([]byte(got.body), &object); err != nil || got.status != 200 {
		t.Fatalf("%s: got %d %q, %v", path, got.status, got.body, err)
	}
	return object
}

const signAsk = `{"license_type":"enterprise","allowed_hosts":["127.0.0.1"],"description":"Acme Corp","expire_at":"8640h","features":["sso"]}`

func TestLicenseIsSignedInstalledAndInForceEverywhere(t *testing.T) {
	s := startLicenseAPI(t)
	if got := s.get("/"); got.status != 403 {
		t.Errorf("got %d, want 403 before a license is installed", got.status)
	}
	signed := s.send(http.MethodPost, "/api/orgs/license/sign", s.as("signers"), sends(signAsk))
	if signed.status != 200 {
		t.Fatalf("got %d %q", signed.status, signed.body)
	}
	if got := s.send(http.MethodPut, "/api/orgs/license", s.as("admin"), sends(signed.body)); got.status != 204 {
		t.Fatalf("got %d %q", got.status, got.body)
	}
	if got := s.get("/"); got.body != "in Acme Corp" {
		t.Errorf("got %d %q, want to be let in at once", got.status, got.body)
	}
	status := s.object(t, "/api/orgs/license")
	for member, want := range map[string]any{
		"state": "valid", "is_valid": true, "verified_host": "127.0.0.1", "verify_error": "", "type": "enterprise",
		"description": "Acme Corp",
	} {
		if status[member] != want {
			t.Errorf("%s: got %v, want %v", member, status[member], want)
		}
	}
	if days := status["days_left"]; days != 359.0 && days != 360.0 {
		t.Errorf("days_left: got %v, want 359 or, within the same second, 360", days)
	}
	if other := s.object(t, "/api/orgs/license?host=x.example.com"); other["is_valid"] != false || other["verified_host"] != "" || other["verify_error"] == "" {
		t.Errorf("got %v, want a host that is not covered", other)
	}
	info := s.object(t, "/api/serverinfo")["license_info"].(map[string]any)
	if info["status"] != "valid" || info["is_valid"] != true || fmt.Sprint(info["features"]) != "[sso]" {
		t.Errorf("got %v", info)
	}
	s.otherNode(t)
	log := s.log()
	for _, want := range []string{`"actor":"acme/ann"`, `license.sign`, `license.install`, `gatehouse.audit`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s", want)
		}
	}
}

// otherNode installs a license by another node that shares the storage.
func (s *licenseServer) otherNode(t *testing.T) {
	t.Helper()
	set, err := license.NewKeySet(license.TrustedKey{Key: s.key.Public()})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := license.NewVerifier(license.Config{Keys: set})
	if err != nil {
		t.Fatal(err)
	}
	node, err := active.New(active.Config{Verifier: verifier}, active.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	defer node.Attach(active.Host{Storage: &certmagic.FileStorage{Path: filepath.Join(s.folder(), "storage")}})()
	ask := asks("127.0.0.1")
	ask.Description = "by the other node"
	if err := node.Install(context.Background(), []byte(s.sign(0, ask))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what another node installed is in force", func() bool { return s.get("/").body == "in by the other node" })
}

func (s *licenseServer) folder() string { return s.gateway.dir }

func TestLicensesThatAreNotInstalled(t *testing.T) {
	s := startLicenseAPI(t)
	other := newVendor(t)
	ended := asks("127.0.0.1")
	ended.Grace = seconds(0)
	for name, c := range map[string]struct{ query, body, message string }{
		"no license":   {"", "{}", ""},
		"no JSON":      {"", "{", ""},
		"unknown key":  {"", other.sign(0, asks("127.0.0.1")), "key"},
		"ended":        {"", s.sign(2*3600e9, ended), "ended on"},
		"other hosts":  {"", s.sign(0, asks("x.example.org")), "covers none of the hosts behind require_license: 127.0.0.1, one.example.com"},
		"not the host": {"?host=x.example.org", s.sign(0, asks("127.0.0.1")), `does not cover the host \"x.example.org\"`},
	} {
		got := s.send(http.MethodPut, "/api/orgs/license"+c.query, s.as("admin"), sends(c.body))
		if got.status != 400 || !strings.Contains(got.body, c.message) {
			t.Errorf("%s: got %d %q, want 400 and %q", name, got.status, got.body, c.message)
		}
	}
	if got := s.send(http.MethodPut, "/api/orgs/license", s.as("signers"), sends(s.sign(0, asks("127.0.0.1")))); got.status != 403 {
		t.Errorf("got %d, want 403: a signer is no administrator", got.status)
	}
	if got := s.send(http.MethodPut, "/api/orgs/license?host=x.example.org", s.as("admin"), sends(s.sign(0, asks("x.example.org")))); got.status != 204 {
		t.Errorf("got %d %q, want 204: that host was asked for", got.status, got.body)
	}
	info := s.object(t, "/api/serverinfo")["license_info"].(map[string]any)
	if info["status"] != "invalid" || info["is_valid"] != false || info["verify_error"] == "" {
		t.Errorf("got %v, want a license that covers no site", info)
	}
	configured := startConfigured(t, s)
	if got := configured.send(http.MethodPut, "/api/orgs/license", s.as("admin"), sends(s.sign(0, asks("127.0.0.1")))); got.status != 409 {
		t.Errorf("got %d %q, want 409: a file is configured", got.status, got.body)
	}
}

func startConfigured(t *testing.T, s *licenseServer) *gateway {
	t.Helper()
	s.vars = append([]string{"SOURCE", "file " + s.file()}, s.vars...)
	if err := s.gateway.load(licenseAPI); err != nil {
		t.Fatal(err)
	}
	return s.gateway
}

func TestSigningKeyShowsNowhere(t *testing.T) {
	autosave := caddy.ConfigAutosavePath
	caddy.ConfigAutosavePath = filepath.Join(t.TempDir(), "autosave.json")
	defer func() { caddy.ConfigAutosavePath = autosave }()
	v := newVendor(t)
	pem, err := os.ReadFile(v.private())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GATEHOUSE_TEST_SIGNING_KEY", string(pem))
	admin := freeAddress(t)
	persistent := strings.NewReplacer("admin off", "admin "+admin+"\nmetrics", "persist_config off", "").Replace(globals)
	s := startLicenseAPI(t, "GLOBALS", persistent, "KEY", "key env GATEHOUSE_TEST_SIGNING_KEY")
	if got := s.send(http.MethodPost, "/api/orgs/license/sign", s.as("signers"), sends(signAsk)); got.status != 200 {
		t.Fatalf("got %d %q", got.status, got.body)
	}
	if got := s.send(http.MethodPost, "/api/orgs/license/sign", s.as("signers"), sends("{}")); got.status != 400 {
		t.Fatalf("got %d %q", got.status, got.body)
	}
	saved, err := os.ReadFile(caddy.ConfigAutosavePath)
	if err != nil {
		t.Fatal(err)
	}
	secretLine := strings.Split(string(pem), "\n")[1]
	for name, text := range map[string]string{
		"log": s.log(), "autosave": string(saved),
		"config":  s.do(s.client, http.MethodGet, "http://"+admin+"/config/").body,
		"metrics": s.do(s.client, http.MethodGet, "http://"+admin+"/metrics").body,
	} {
		if strings.Contains(text, secretLine) || text == "" {
			t.Errorf("%s holds the private key, or nothing at all: %q", name, text)
		}
	}
	if metrics := s.do(s.client, http.MethodGet, "http://"+admin+"/metrics").body; !strings.Contains(metrics, `caddy_gatehouse_licenses_signed_total{type="enterprise"}`) ||
		!strings.Contains(metrics, `caddy_gatehouse_license_state{state="missing"} 1`) {
		t.Error("the metrics do not tell of the license")
	}
}

func TestSigningKeysThatAreRefused(t *testing.T) {
	v := newVendor(t)
	pem, err := os.ReadFile(v.private())
	if err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(v.dir, "open.key")
	if err := os.WriteFile(open, pem, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil { //nolint:gosec // this is what must be refused
		t.Fatal(err)
	}
	t.Setenv("GATEHOUSE_TEST_PEM", string(pem))
	t.Setenv("GATEHOUSE_TEST_BAD", "no key at all")
	secretLine := strings.Split(string(pem), "\n")[1]
	for key, want := range map[string]string{
		"key " + open:                  open,
		"key " + v.dir + "/none.key":   "none.key",
		"key " + v.public():            "key: ",
		"key {env.GATEHOUSE_TEST_PEM}": "write `key env NAME`",
		"key {env.GATEHOUSE_TEST_BAD}": "key {env.GATEHOUSE_TEST_BAD}: ",
		"key env GATEHOUSE_TEST_BAD":   "key env GATEHOUSE_TEST_BAD: ",
	} {
		g := prepare(t, "ISSUER", "https://login.example.com", "PUBLIC", v.public(), "SOURCE", "", "KEY", key, "PORT", "1")
		err := g.load(licenseAPI)
		if err == nil || !strings.Contains(err.Error(), "signing: ") || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), secretLine) || strings.Contains(err.Error(), "no key at all") {
			t.Errorf("%s: got the error %v, want one about %s, and nothing of the key", key, err, want)
		}
	}
}

func TestSigningWithoutAKey(t *testing.T) {
	s := startLicenseAPI(t, "KEY", "key env GATEHOUSE_TEST_UNSET")
	got := s.send(http.MethodPost, "/api/orgs/license/sign", s.as("signers"), sends(signAsk))
	if got.status != 400 || got.body != `{"message":"unable to sign license: missing private key"}`+"\n" {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const (
	ssoShared = "kw4qSnpSwXzgiv5yxYpZZmFEd9QAeiKTQ6OuyMja"
	ssoKey    = "api-key"
	ssoAsk    = "product=my-product&customer_account_code=acme"
)

// ssoGlobals are the harness's, with Caddy's admin endpoint on ADMIN, and with
// sites that take long headers.
var ssoGlobals = strings.Replace(globals, "admin off", "admin ADMIN\n\tservers {\n\t\tmax_header_size 1MB\n\t}", 1)

const ssoFile = `{
	` + "SSOGLOBALS" + `
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		service_accounts {
			registration optional
		}
		sso {
			credential api-key {env.SSO_TEST_SHARED}
			credential revoked {env.SSO_TEST_SHARED} {
				disabled
			}
			credential narrow {env.SSO_TEST_SHARED} {
				product other
			}
			product my-product other
			account acme {
				issuer ISSUER
				client_id license-users
				redirect_uri https://app.example.com/sso http://127.0.0.1/callback
				param kc_idp_hint acme-saml
			}
			account down {
				issuer DOWN
				client_id license-users
				redirect_uri https://app.example.com/sso
			}
			account server {
				authorization_endpoint https://login.example.com/authorize?tenant=1
				client_id license-users
				redirect_uri https://app.example.com/sso
				product my-product
				response_type code
				implicit_flow off
			}
			SSOMORE
		}
		APPMORE
	}
}
http://SITE {
	bind 127.0.0.1
	gatehouse_api
	respond "handed on" 418
}
http://SECOND {
	bind 127.0.0.1
	handle_path /gatehouse/* {
		gatehouse_api
	}
}
`

// ssoGateway is a gateway whose accounts log in at a provider.
type ssoGateway struct {
	*gateway
	admin    string
	provider *idp.Issuer
	down     *idp.Issuer // does not listen yet
}

// ssoApplication makes a provider have a login page.
var ssoApplication = idp.WithClient(idp.Client{ID: "license-users", RedirectURIs: []string{"https://app.example.com/sso"}})

func startSSO(t *testing.T, vars ...string) *ssoGateway {
	t.Helper()
	s := prepareSSO(t, vars...)
	if err := s.load(ssoFile); err != nil {
		t.Fatalf("loading the configuration: %v", err)
	}
	return s
}

func prepareSSO(t *testing.T, vars ...string) *ssoGateway {
	t.Helper()
	t.Setenv("SSO_TEST_SHARED", secret(ssoShared)+"\n") // as a file would end
	s := &ssoGateway{admin: freeAddress(t), provider: newIssuer(t, ssoApplication), down: newIssuer(t, ssoApplication, idp.WithStopped())}
	vars = append(vars, "SSOGLOBALS", strings.ReplaceAll(ssoGlobals, "ADMIN", s.admin),
		"ISSUER", s.provider.URL, "DOWN", s.down.URL, "APPMORE", "", "SSOMORE", "")
	s.gateway = prepare(t, vars...)
	t.Cleanup(func() {
		if log, _ := os.ReadFile(filepath.Join(s.dir, "caddy.log")); strings.Contains(string(log), ssoShared) {
			t.Error("the log holds the shared key")
		}
	})
	return s
}

// places are where the one route is: without a final slash and with it.
func (s *ssoGateway) places() map[string]string {
	all := make(map[string]string)
	for name, base := range map[string]string{
		"admin endpoint": s.admin, "site": s.site, "prefix of a site": s.second + "/gatehouse",
	} {
		all[name] = "http://" + base + "/api/v4/sso_url"
		all[name+", slash"] = all[name] + "/"
	}
	return all
}

// hmac signs a request as clients of the API do.
func hmac(apiKey, date string) edit {
	signature := sso.Sign(sso.NewSecret(ssoShared), date)
	return func(r *http.Request) {
		r.Header.Set("Date", date)
		r.Header.Set("Authorization", fmt.Sprintf(`algorithm="hmac-sha256",headers="date",signature="%s",apikey="%s"`, signature, apiKey))
	}
}

func rightNow() string { return time.Now().UTC().Format(http.TimeFormat) }

// signed is a request that is fine.
func signed() edit { return hmac(ssoKey, rightNow()) }

// ssoError is the body of a refusal.
type ssoError struct {
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// wantCode holds an answer against a row of the table of errors.
func wantCode(t *testing.T, got answer, code sso.Code) ssoError {
	t.Helper()
	var body ssoError
	if err := json.Unmarshal([]byte(got.body), &body); err != nil {
		t.Fatalf("got %d %q, want %s", got.status, got.body, code)
	}
	if body.Code != string(code) || body.Status != got.status || got.status != code.Status() {
		t.Errorf("got status %d and %+v, want %s with %d", got.status, body, code, code.Status())
	}
	if got.header.Get("Cache-Control") != "no-store" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("got the headers %v", got.header)
	}
	return body
}

// wantURL is the address that was answered.
func wantURL(t *testing.T, got answer) *url.URL {
	t.Helper()
	var body struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.status != http.StatusOK {
		t.Fatalf("got %d %q, want an address", got.status, got.body)
	}
	if got.header.Get("Cache-Control") != "no-store" || strings.HasSuffix(got.body, "\n") {
		t.Errorf("got the headers %v and the body %q", got.header, got.body)
	}
	address, err := url.Parse(body.URL)
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// One gateway for all of it: each start costs a while.
func TestSSO(t *testing.T) {
	if apart(t) {
		return
	}
	s := startSSO(t)
	for name, place := range s.places() {
		t.Run("errors in order: "+name, func(t *testing.T) { s.climb(t, place) })
		t.Run("addresses: "+name, func(t *testing.T) { s.addresses(t, place) })
		t.Run("tokens: "+name, func(t *testing.T) { s.tokens(t, place) })
		t.Run("bad input: "+name, func(t *testing.T) { s.badInput(t, place) })
		t.Run("redirects: "+name, func(t *testing.T) { s.strangeRedirects(t, place) })
		t.Run("methods: "+name, func(t *testing.T) { s.methods(t, place) })
	}
	t.Run("one line a minute", func(t *testing.T) {
		if n := strings.Count(s.log(), "cannot be had at the moment"); n != 1 {
			t.Errorf("%d lines about the provider that is down, want 1", n)
		}
	})
	t.Run("the configuration shows no secret", s.secrets)
	t.Run("other spellings are not handed on", func(t *testing.T) {
		for _, path := range []string{"/api/v4/%73so_url", "/api/v4/sso_url%2F", "/api/v4//sso_url", "/api%2Fv4/sso_url"} {
			wantCode(t, s.get(path, signed()), sso.CodeNotFound)
		}
	})
	t.Run("what is not the API's is handed on", func(t *testing.T) {
		for _, path := range []string{"/api/v4", "/api/v5/sso_url", "/API/v4/sso_url"} {
			if got := s.get(path); got.status != http.StatusTeapot {
				t.Errorf("%s: got %d %q", path, got.status, got.body)
			}
		}
	})
	t.Run("outage", s.outage)
}

func (s *ssoGateway) addresses(t *testing.T, place string) {
	address := wantURL(t, s.do(s.client, http.MethodGet, place+"?"+ssoAsk, signed()))
	q := address.Query()
	if !strings.HasPrefix(address.String(), s.provider.LoginURL()+"?") || q.Get("response_type") != "id_token token" ||
		q.Get("client_id") != "license-users" || q.Get("redirect_uri") != "https://app.example.com/sso" ||
		q.Get("scope") != "openid email profile" || q.Get("kc_idp_hint") != "acme-saml" || len(q.Get("state")) != 22 || len(q.Get("nonce")) != 22 {
		t.Errorf("got %s", address)
	}
	wishes := url.Values{
		"redirect_uri": {"http://127.0.0.1:49152/callback"}, "state": {`<&"'#/?ü `}, "nonce": {"n"}, "response_type": {"code"},
		"code_challenge": {strings.Repeat("x", 43)}, "code_challenge_method": {"S256"},
	}
	address = wantURL(t, s.do(s.client, http.MethodGet, place+"?"+ssoAsk+"&"+wishes.Encode(), signed()))
	for name, want := range wishes {
		if got := address.Query().Get(name); got != want[0] {
			t.Errorf("%s is %q, want %q", name, got, want[0])
		}
	}
	if strings.ContainsAny(address.String(), `<>"' +`) || strings.ContainsFunc(address.String(), func(r rune) bool { return r > 127 }) {
		t.Errorf("got %s, which is not encoded", address)
	}
	address = wantURL(t, s.do(s.client, http.MethodGet, place+"?product=my-product&customer_account_code=server", signed()))
	if q := address.Query(); q.Get("tenant") != "1" || q.Get("response_type") != "code" {
		t.Errorf("got %s", address)
	}
	wantCode(t, s.do(s.client, http.MethodGet, place+"?product=my-product&customer_account_code=server&response_type=token", signed()), sso.CodeValidation)
	day := strings.Replace(rightNow(), ", 0", ", ", 1) // of one digit, on some days
	wantURL(t, s.do(s.client, http.MethodGet, place+"?"+ssoAsk, hmac(ssoKey, day)))
}

func (s *ssoGateway) tokens(t *testing.T, place string) {
	ask := func(edits ...edit) answer { return s.do(s.client, http.MethodGet, place+"?"+ssoAsk, edits...) }
	wantURL(t, ask(bearer(mint(s.provider, claims{"groups": []string{"admin"}}))))
	if got := ask(bearer(mint(s.provider, claims{"groups": []string{"sso-readers"}}))); got.status != http.StatusForbidden {
		t.Errorf("got %d %q", got.status, got.body)
	}
	wantCode(t, ask(bearer(mint(s.provider, nil))), sso.CodeInsufficientScope)
	got := ask(bearer(mint(s.provider, claims{"groups": []string{"admin"}, "exp": 1})))
	wantCode(t, got, sso.CodeInvalidToken)
	if challenge := got.header.Get("WWW-Authenticate"); !strings.Contains(challenge, `error="invalid_token"`) {
		t.Errorf("got the challenge %q", challenge)
	}
	wantCode(t, ask(header("Authorization", "Bearer")), sso.CodeInvalidHeaders)
}

// methods: 405 comes before authentication, and no form of the path redirects.
func (s *ssoGateway) methods(t *testing.T, place string) {
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
		got := s.do(s.client, method, place+"?"+ssoAsk)
		if allow := got.header.Get("Allow"); got.status != http.StatusMethodNotAllowed || allow != "GET, HEAD" {
			t.Errorf("%s: got %d with Allow %q", method, got.status, allow)
		}
		wantCode(t, got, sso.CodeMethodNotAllowed)
	}
	if got := s.do(s.client, http.MethodHead, place+"?"+ssoAsk, signed()); got.status != http.StatusOK || got.body != "" {
		t.Errorf("HEAD: got %d %q", got.status, got.body)
	}
	base, _, _ := strings.Cut(place, "sso_url")
	for _, other := range []string{"", "x", "activate", "sso_url/x", "sso_urls", "SSO_URL"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			wantCode(t, s.do(s.client, method, base+other, signed()), sso.CodeNotFound)
		}
	}
}

// secrets: the configuration that runs shows placeholders.
func (s *ssoGateway) secrets(t *testing.T) {
	got := s.do(s.client, http.MethodGet, "http://"+s.admin+"/config/")
	if got.status != http.StatusOK || !strings.Contains(got.body, `"shared_key":"{env.SSO_TEST_SHARED}"`) || strings.Contains(got.body, ssoShared) {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// outage: a provider that was known serves on, one that never was comes up by
// itself, and neither is asked with each request.
func (s *ssoGateway) outage(t *testing.T) {
	// The engine looks by itself when it starts, and the first request may have
	// been before that.
	if n := s.provider.DiscoveryFetches(); n > 2 {
		t.Errorf("%d fetches of metadata for all that, want 1 or 2", n)
	}
	if err := s.provider.Stop(); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		wantURL(t, s.get("/api/v4/sso_url?"+ssoAsk, signed()))
	}
	downAsk := "/api/v4/sso_url?product=my-product&customer_account_code=down"
	wantCode(t, s.get(downAsk, signed()), sso.CodeInternal)
	if err := s.down.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other provider is known", func() bool { return s.get(downAsk, signed()).status == http.StatusOK })
}

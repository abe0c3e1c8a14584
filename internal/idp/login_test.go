package idp_test

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const (
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636, appendix B
	callback = "https://app.example.com/sso?a=b"
)

var (
	browserApp = idp.Client{
		ID: "app", RedirectURIs: []string{callback, "http://127.0.0.1/callback"}, Scopes: []string{"read"}, Audience: []string{"api"},
	}
	serverApp = idp.Client{ID: "server", Secret: "hush", RedirectURIs: []string{callback}}
	someone   = idp.Person{Subject: "u-1", Name: "Some One", Email: "someone@example.com", Groups: []string{"staff"}}
)

func loginIssuer(t *testing.T, options ...idp.Option) (*idp.Issuer, *http.Client) {
	t.Helper()
	iss, c := start(t, append([]idp.Option{
		idp.WithClient(robot), idp.WithClient(browserApp), idp.WithClient(serverApp), idp.WithPerson("someone", "pass word", someone),
	}, options...)...)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return iss, c
}

// request is a good one, but for the changes; "" leaves a parameter out.
func request(changes ...string) url.Values {
	q := url.Values{
		"client_id": {"app"}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {"openid read"},
		"state": {"s t&a#te"}, "nonce": {"n-1"}, "code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
		"kc_idp_hint": {"ignored"},
	}
	for i := 0; i < len(changes); i += 2 {
		q.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			q.Del(changes[i])
		}
	}
	return q
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// visit gets the login page, or sends its form.
func visit(t *testing.T, iss *idp.Issuer, c *http.Client, q url.Values, form url.Values) (int, http.Header, string) {
	t.Helper()
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, iss.LoginURL()+"?"+q.Encode(), body)
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, res)
}

func loginForm() url.Values { return url.Values{"username": {"someone"}, "password": {"pass word"}} }

// logIn gives what the application is sent.
func logIn(t *testing.T, iss *idp.Issuer, c *http.Client, q url.Values) *url.URL {
	t.Helper()
	status, header, body := visit(t, iss, c, q, loginForm())
	if status != http.StatusSeeOther {
		t.Fatalf("status %d: %s", status, body)
	}
	to, err := url.Parse(header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestMetadataOfALoginPage(t *testing.T) {
	iss, c := loginIssuer(t)
	res, err := c.Get(iss.URL + "/.well-known/openid-configuration")
	if err != nil {
		t.Fatal(err)
	}
	_, _, body := read(t, res)
	if doc := object(t, body); doc["authorization_endpoint"] != iss.LoginURL() || doc["code_challenge_methods_supported"] == nil {
		t.Errorf("metadata: %s", body)
	}
	if iss.LoginRequests() != 0 {
		t.Error("metadata count as a login")
	}
}

func TestLoginPage(t *testing.T) {
	iss, c := loginIssuer(t)
	status, header, body := visit(t, iss, c, request(), nil)
	if status != http.StatusOK || !strings.Contains(body, `<form method="post">`) || !strings.Contains(body, "Log in to app") {
		t.Errorf("status %d: %s", status, body)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if iss.LoginRequests() != 1 {
		t.Errorf("%d requests counted, want 1", iss.LoginRequests())
	}
}

func TestWrongPassword(t *testing.T) {
	iss, c := loginIssuer(t)
	for name, form := range map[string]url.Values{
		"password": {"username": {"someone"}, "password": {"<b>wrong"}}, "name": {"username": {"<b>"}, "password": {""}},
		"nothing": {}, "twice": {"username": {"someone", "someone"}, "password": {"pass word"}},
	} {
		status, header, body := visit(t, iss, c, request(), form)
		if status != http.StatusForbidden || header.Get("Location") != "" || !strings.Contains(body, `role="alert"`) || strings.Contains(body, "<b>") {
			t.Errorf("%s: status %d, to %q: %s", name, status, header.Get("Location"), body)
		}
	}
}

func TestAuthorizationCodeWithPKCE(t *testing.T) {
	iss, c := loginIssuer(t)
	to := logIn(t, iss, c, request())
	q := to.Query()
	if q.Get("a") != "b" || q.Get("state") != "s t&a#te" || q.Get("code") == "" || to.Fragment != "" {
		t.Fatalf("leads back to %s", to)
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"app"}, "redirect_uri": {callback},
		"code": {q.Get("code")}, "code_verifier": {verifier},
	}
	status, _, res := ask(t, iss, c, "", "", form)
	if status != http.StatusOK {
		t.Fatalf("status %d: %v", status, res)
	}
	access := payload(t, res["access_token"].(string))
	if access["sub"] != "u-1" || access["aud"] != "api" || access["scope"] != "openid read" || access["azp"] != "app" || access["nonce"] != nil {
		t.Errorf("access token: %v", access)
	}
	id := payload(t, res["id_token"].(string))
	if id["aud"] != "app" || id["nonce"] != "n-1" || id["email"] != "someone@example.com" || id["at_hash"] == nil {
		t.Errorf("ID token: %v", id)
	}
	if status, _, res := ask(t, iss, c, "", "", form); status != http.StatusBadRequest || res["error"] != "invalid_grant" {
		t.Errorf("the code once more: %d, %v", status, res)
	}
}

// A code is for one application, one redirect address, one verifier and a minute.
func TestCodeIsBound(t *testing.T) {
	now := time.Now()
	iss, c := loginIssuer(t, idp.WithNow(func() time.Time { return now }))
	for name, spoil := range map[string]func(url.Values){
		"verifier":    func(f url.Values) { f.Set("code_verifier", verifier+"x") },
		"no verifier": func(f url.Values) { f.Del("code_verifier") },
		"redirect":    func(f url.Values) { f.Set("redirect_uri", "http://127.0.0.1/callback") },
		"application": func(f url.Values) { f.Set("client_id", "server"); f.Set("client_secret", "hush") },
		"made up":     func(f url.Values) { f.Set("code", "x") },
		"too late":    func(url.Values) { now = now.Add(2 * time.Minute) },
	} {
		form := url.Values{
			"grant_type": {"authorization_code"}, "client_id": {"app"}, "redirect_uri": {callback},
			"code": {logIn(t, iss, c, request()).Query().Get("code")}, "code_verifier": {verifier},
		}
		spoil(form)
		if status, _, res := ask(t, iss, c, "", "", form); status != http.StatusBadRequest || res["error"] != "invalid_grant" {
			t.Errorf("%s: %d, %v", name, status, res)
		}
	}
}

func TestConfidentialApplicationNeedsNoPKCE(t *testing.T) {
	iss, c := loginIssuer(t)
	to := logIn(t, iss, c, request("client_id", "server", "scope", "email", "code_challenge", "", "code_challenge_method", ""))
	form := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {callback}, "code": {to.Query().Get("code")}}
	status, _, res := ask(t, iss, c, "server", "hush", form)
	if status != http.StatusOK || res["access_token"] == nil || res["id_token"] != nil {
		t.Errorf("status %d: %v", status, res)
	}
}

func TestPublicApplicationHasNoTokensOfItsOwn(t *testing.T) {
	iss, c := loginIssuer(t)
	status, _, res := ask(t, iss, c, "", "", url.Values{"grant_type": {"client_credentials"}, "client_id": {"app"}})
	if status != http.StatusBadRequest || res["error"] != "unauthorized_client" {
		t.Errorf("status %d: %v", status, res)
	}
}

func TestImplicitFlow(t *testing.T) {
	for _, alg := range []string{"ES256", "ES384", "EdDSA"} {
		iss, c := loginIssuer(t, idp.WithAlgorithms(alg))
		to := logIn(t, iss, c, request("response_type", "id_token token"))
		answer, err := url.ParseQuery(to.EscapedFragment())
		if err != nil || to.RawQuery != "a=b" || answer.Get("state") != "s t&a#te" || answer.Get("token_type") != "Bearer" || answer.Get("expires_in") != "3600" {
			t.Fatalf("leads back to %s: %v", to, err)
		}
		if id := payload(t, answer.Get("id_token")); id["nonce"] != "n-1" || id["at_hash"] == nil {
			t.Errorf("ID token: %v", id)
		}
		if access := payload(t, answer.Get("access_token")); access["aud"] != "api" || access["nonce"] != nil {
			t.Errorf("access token: %v", access)
		}
	}
}

// at_hash of a token that is given elsewhere is the left half of its hash.
func TestTokenHash(t *testing.T) {
	iss, c := loginIssuer(t)
	answer, _ := url.ParseQuery(logIn(t, iss, c, request("response_type", "token id_token")).EscapedFragment())
	sum := sha256.Sum256([]byte(answer.Get("access_token")))
	want := base64.RawURLEncoding.EncodeToString(sum[:16])
	if got := payload(t, answer.Get("id_token"))["at_hash"]; got != want {
		t.Errorf("at_hash %v, want %s", got, want)
	}
}

func TestOneTokenAlone(t *testing.T) {
	iss, c := loginIssuer(t)
	for kind, other := range map[string]string{"token": "id_token", "id_token": "access_token"} {
		answer, _ := url.ParseQuery(logIn(t, iss, c, request("response_type", kind)).EscapedFragment())
		if answer.Has(other) || len(answer) < 2 {
			t.Errorf("%s brings %v", kind, answer)
		}
	}
}

// Nothing leads to an address that is not on the list.
func TestStrangeRedirectsAreNotFollowed(t *testing.T) {
	iss, c := loginIssuer(t)
	for _, q := range []url.Values{
		request("redirect_uri", ""), request("client_id", ""), request("client_id", "nobody"), request("client_id", "robot"),
		request("redirect_uri", callback+"x"), request("redirect_uri", "https://app.example.com/sso"),
		request("redirect_uri", "http://app.example.com/sso?a=b"), request("redirect_uri", "https://APP.example.com/sso?a=b"),
		request("redirect_uri", "https://app.example.com:444/sso?a=b"), request("redirect_uri", "https://someone@app.example.com/sso?a=b"),
		request("redirect_uri", "http://127.0.0.1/callback/.."), request("redirect_uri", "http://127.0.0.1.example.com/callback"),
		request("redirect_uri", "http://localhost/callback"), request("redirect_uri", "http://127.0.0.1:8080@example.com/callback"),
		{"client_id": {"app", "app"}, "redirect_uri": {callback}}, {"client_id": {"app"}, "redirect_uri": {callback, callback}},
	} {
		status, header, body := visit(t, iss, c, q, loginForm())
		if status != http.StatusBadRequest || header.Get("Location") != "" || strings.Contains(body, "<form") || strings.Contains(body, "app.example.com") {
			t.Errorf("%v: status %d, to %q: %s", q, status, header.Get("Location"), body)
		}
	}
	if to := logIn(t, iss, c, request("redirect_uri", "http://127.0.0.1:8123/callback")); to.Host != "127.0.0.1:8123" {
		t.Errorf("on loopback any port goes, but it leads to %s", to)
	}
}

// The application learns what is wrong with the rest.
func TestErrorsLeadBack(t *testing.T) {
	iss, c := loginIssuer(t)
	twice := request()
	twice.Add("state", "again")
	tests := []struct {
		q    url.Values
		want string
	}{
		{request("response_type", ""), "unsupported_response_type"},
		{request("response_type", "code token"), "unsupported_response_type"},
		{request("scope", "openid write"), "invalid_scope"},
		{request("code_challenge", "", "code_challenge_method", ""), "invalid_request"},
		{request("code_challenge_method", "plain"), "invalid_request"},
		{request("response_type", "id_token", "nonce", ""), "invalid_request"},
		{twice, "invalid_request"},
	}
	for _, tt := range tests {
		status, header, _ := visit(t, iss, c, tt.q, nil)
		to := header.Get("Location")
		if status != http.StatusSeeOther || !strings.HasPrefix(to, callback) || !strings.Contains(to, "error="+tt.want) || !strings.Contains(to, "state=") {
			t.Errorf("%v: status %d, to %q", tt.q, status, to)
		}
	}
}

// payload is what a token says, unverified.
func payload(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	return object(t, string(data))
}

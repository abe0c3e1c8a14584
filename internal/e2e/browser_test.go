package e2e

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/internal/demo"
	"github.com/gatehouse-proxy/gatehouse/internal/e2e/browser"
)

// These tests need Chromium (Debian: apt-get install chromium), and fail without
// it: go -C internal/e2e test -run Browser .
//
// A failed one leaves a screenshot in the folder that GATEHOUSE_SCREENSHOTS names,
// or in the system's for temporary files. With that variable set, each does.

// running starts stage and gateway as the command demo does.
func running(t *testing.T) *demo.Stage {
	t.Helper()
	file, err := demo.FindExample(".")
	if err != nil {
		t.Fatal(err)
	}
	return runningFrom(t, file)
}

// runningFrom is running with a Caddyfile of the test's own.
func runningFrom(t *testing.T, file string) *demo.Stage {
	t.Helper()
	stage, err := demo.New(demo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stage.Close(); err != nil {
			t.Error(err)
		}
	})
	stop, err := demo.Serve(t.Context(), stage, file, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stage
}

// visitor is somebody with a browser in front of the demo.
type visitor struct {
	*testing.T
	stage *demo.Stage
	page  *browser.Page
	ctx   context.Context
	env   map[string]string
}

func visit(t *testing.T) *visitor {
	t.Helper()
	return visitStage(t, running(t))
}

func visitStage(t *testing.T, stage *demo.Stage) *visitor {
	t.Helper()
	minute, cancel := context.WithTimeout(context.Background(), time.Minute)
	page, ctx, end, err := browser.Start(minute, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{t, stage, page, ctx, stage.Environment()}
	t.Cleanup(func() {
		v.keepScreenshot()
		end()
		cancel()
	})
	return v
}

func (v *visitor) keepScreenshot() {
	if v.Failed() || os.Getenv(screenshots) != "" {
		v.shoot("")
	}
}

const screenshots = "GATEHOUSE_SCREENSHOTS"

// shoot keeps what the browser shows now; the suffix distinguishes it from others of the
// test.
func (v *visitor) shoot(suffix string) {
	shot, err := v.page.Screenshot(v.ctx)
	if err != nil {
		v.Error(err)
		return
	}
	path := filepath.Join(cmp.Or(os.Getenv(screenshots), os.TempDir()), "gatehouse-"+v.Name()+suffix+".png")
	if err := os.WriteFile(path, shot, 0o600); err != nil {
		v.Error(err)
	}
	v.Logf("what the browser showed: %s", path)
}

func (v *visitor) must(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

// ask has the gateway say where to log in, as a client of the API does.
func (v *visitor) ask(wishes url.Values) string {
	v.Helper()
	wishes.Set("product", "my-product")
	wishes.Set("customer_account_code", "acme")
	request, err := http.NewRequestWithContext(v.ctx, http.MethodGet, v.stage.Site+"/api/v4/sso_url?"+wishes.Encode(), nil)
	v.must(err)
	date := time.Now().UTC().Format(http.TimeFormat)
	request.Header.Set("Date", date)
	request.Header.Set("Authorization", fmt.Sprintf(`algorithm="hmac-sha256",headers="date",signature="%s",apikey="%s"`,
		sso.Sign(sso.NewSecret(v.env["GATEHOUSE_SSO_SHARED_KEY"]), date), v.env["GATEHOUSE_SSO_API_KEY"]))
	var answer struct {
		URL string `json:"url"`
	}
	v.fetch(request, http.StatusOK, &answer)
	return answer.URL
}

func (v *visitor) fetch(request *http.Request, status int, into any) {
	v.Helper()
	response, err := http.DefaultClient.Do(request)
	v.must(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	v.must(err)
	if response.StatusCode != status {
		v.Fatalf("%s: status %d, want %d: %s", request.URL.Path, response.StatusCode, status, body)
	}
	if into != nil {
		v.must(json.Unmarshal(body, into))
	}
}

// logIn fills the form in, with a wrong password first.
func (v *visitor) logIn(address string) {
	v.Helper()
	name, password := v.stage.Guest()
	v.must(v.page.Open(v.ctx, address))
	v.send(name, "wrong")
	v.must(v.page.WaitFor(v.ctx, `document.querySelector("[role=alert]")`))
	v.send(name, password)
	v.must(v.page.WaitFor(v.ctx, `location.pathname === "/callback" && document.readyState === "complete"`))
}

func (v *visitor) send(name, password string) {
	v.Helper()
	v.must(v.page.WaitFor(v.ctx, `document.readyState === "complete" && document.querySelector("#password")`))
	v.must(v.page.Type(v.ctx, "#username", name))
	v.must(v.page.Type(v.ctx, "#password", password))
	v.must(v.page.Click(v.ctx, "button[type=submit]"))
}

func (v *visitor) shown(selector string) string {
	v.Helper()
	var text string
	v.must(v.page.Eval(v.ctx, `document.querySelector("`+selector+`").textContent`, &text))
	return text
}

// passes asks the gate with a token, and whom the upstream saw.
func (v *visitor) passes(token string, status int) string {
	v.Helper()
	request, err := http.NewRequestWithContext(v.ctx, http.MethodGet, v.stage.Site+"/hello", nil)
	v.must(err)
	request.Header.Set("Authorization", "Bearer "+token)
	var seen json.RawMessage
	v.fetch(request, status, &seen)
	return string(seen)
}

// wantGuest holds what the upstream saw against who logged in.
func (v *visitor) wantGuest(seen string) {
	v.Helper()
	if !strings.Contains(seen, `"guest"`) || !strings.Contains(seen, `"user"`) {
		v.Errorf("the upstream saw %s", seen)
	}
}

// The implicit flow: tokens in the fragment. The access token opens the gate, the
// ID token does not.
func TestBrowserLogsIn(t *testing.T) {
	v := visit(t)
	v.logIn(v.ask(url.Values{"state": {"state of mine"}, "nonce": {"nonce of mine"}}))
	line := v.shown("#line")
	_, rest, _ := strings.Cut(line, "Bearer ")
	token, _, _ := strings.Cut(rest, `"`)
	v.wantGuest(v.passes(token, http.StatusOK))

	var address string
	v.must(v.page.Eval(v.ctx, "location.href", &address))
	_, fragment, _ := strings.Cut(address, "#")
	came, err := url.ParseQuery(fragment)
	v.must(err)
	if came.Get("state") != "state of mine" || claim(v, came.Get("id_token"), "nonce") != "nonce of mine" {
		v.Errorf("came back to %s", address)
	}
	v.passes(came.Get("id_token"), http.StatusUnauthorized)
}

// The authorization code grant with PKCE: the application has tokens for the code.
func TestBrowserLogsInForACode(t *testing.T) {
	v := visit(t)
	verifier := rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	v.logIn(v.ask(url.Values{"response_type": {"code"}, "nonce": {"n"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"}}))
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"license-users"}, "code": {v.shown("#line")},
		"redirect_uri": {v.env["GATEHOUSE_REDIRECT"]}, "code_verifier": {verifier},
	}
	request, err := http.NewRequestWithContext(v.ctx, http.MethodPost, v.tokenEndpoint(), strings.NewReader(form.Encode()))
	v.must(err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var tokens struct {
		Access string `json:"access_token"`
		ID     string `json:"id_token"`
	}
	v.fetch(request, http.StatusOK, &tokens)
	v.wantGuest(v.passes(tokens.Access, http.StatusOK))
	if claim(v, tokens.ID, "nonce") != "n" || claim(v, tokens.ID, "aud") != "license-users" {
		v.Errorf("the ID token is %s", tokens.ID)
	}
}

// An address that is not on the list leads nowhere, in a browser too.
func TestBrowserIsNotLedAstray(t *testing.T) {
	v := visit(t)
	address, err := url.Parse(v.ask(url.Values{}))
	v.must(err)
	q := address.Query()
	q.Set("redirect_uri", "https://evil.example/callback")
	address.RawQuery = q.Encode()
	v.must(v.page.Open(v.ctx, address.String()))
	v.must(v.page.WaitFor(v.ctx, `document.querySelector("[role=alert]")`))
	if text := v.shown("body"); strings.Contains(text, "evil") || strings.Contains(text, "Password") {
		v.Errorf("the page says %q", text)
	}
}

func (v *visitor) tokenEndpoint() string {
	v.Helper()
	request, err := http.NewRequestWithContext(v.ctx, http.MethodGet, v.env["GATEHOUSE_ISSUER"]+"/.well-known/openid-configuration", nil)
	v.must(err)
	var metadata struct {
		Token string `json:"token_endpoint"`
	}
	v.fetch(request, http.StatusOK, &metadata)
	return metadata.Token
}

// claim is what a token says, unverified.
func claim(v *visitor, token, name string) string {
	v.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		v.Fatalf("%q is no token", token)
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	v.must(err)
	var claims map[string]any
	v.must(json.Unmarshal(data, &claims))
	return fmt.Sprint(claims[name])
}

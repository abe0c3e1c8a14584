package sso

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

const (
	testKey    = "6b1f6e1c-2f8e-4a57-9f0c-0d4b3a7c5e21"
	testShared = "kw4qSnpSwXzgiv5yxYpZZmFEd9QAeiKTQ6OuyMja" // of the published vector
	testState  = "st-ate_1"
	testNonce  = "no.nce~2"
	askAcme    = "product=app&customer_account_code=acme"
)

// testTime is the date of the published vector.
var testTime = time.Date(2011, 6, 7, 20, 51, 35, 0, time.UTC)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: testTime} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// fakeSource is a MetadataSource whose answer the test sets.
type fakeSource struct {
	mu       sync.Mutex
	endpoint string
	err      error
	asked    int
}

func (f *fakeSource) Metadata(context.Context) (*issuer.Metadata, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.err != nil {
		return nil, f.err
	}
	return &issuer.Metadata{AuthorizationEndpoint: f.endpoint}, nil
}

func (f *fakeSource) set(endpoint string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.endpoint, f.err = endpoint, err
}

// testAccount is one that all goes well with.
func testAccount() Account {
	return Account{
		Code:                  "acme",
		AuthorizationEndpoint: "https://login.acme.example/authorize",
		ClientID:              "license-users",
		RedirectURIs:          []string{"https://app.example.com/sso", "http://127.0.0.1/callback", "http://[::1]:4000/callback", "com.example.app:/callback"},
	}
}

// testConfig has one account, one credential, and a clock that stands still.
func testConfig() Config {
	return Config{
		Products:    []string{"app", "other"},
		Credentials: []Credential{{APIKey: testKey, SharedKey: NewSecret(testShared)}},
		Accounts:    []Account{testAccount()},
		Now:         newClock().now,
	}
}

// service makes a service of the test's configuration, changed by edits.
func service(t testing.TB, edits ...func(*Config)) *Service {
	t.Helper()
	cfg := testConfig()
	for _, edit := range edits {
		edit(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// withAccount changes the one account of the test's configuration.
func withAccount(edit func(*Account)) func(*Config) {
	return func(cfg *Config) { edit(&cfg.Accounts[0]) }
}

// authorization words an HMAC header.
func authorization(apiKey, signature string) string {
	return `algorithm="hmac-sha256",headers="date",signature="` + signature + `",apikey="` + apiKey + `"`
}

// signed is a request as a client of the API sends it.
func signed(query string) Request {
	date := testTime.Format(http.TimeFormat)
	return Request{
		Header: http.Header{
			"Date":          {date},
			"Authorization": {authorization(testKey, Sign(NewSecret(testShared), date))},
		},
		RawQuery: query,
	}
}

// body is what an answer may hold.
type body struct {
	URL     string `json:"url"`
	Status  int    `json:"status"`
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// check holds what is true of every answer, and reads its body.
func check(t testing.TB, r Response) body {
	t.Helper()
	var b body
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		t.Fatalf("body %q: %v", r.Body, err)
	}
	if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", r.Header)
	}
	if bytes.Contains(r.Body, []byte(testShared)) {
		t.Errorf("the shared key is in the body %q", r.Body)
	}
	if r.Status == http.StatusOK {
		if b.URL == "" || b.Code != "" || r.Refusal != nil || r.Result() != "ok" {
			t.Errorf("answered 200 with %q", r.Body)
		}
		return b
	}
	if b.URL != "" || b.Status != r.Status || b.Message == "" || r.Refusal == nil || r.Result() != string(b.Code) {
		t.Errorf("answered %d with %q", r.Status, r.Body)
	}
	if !slices.Contains(Codes, b.Code) || b.Code.Status() != r.Status {
		t.Errorf("code %q with status %d is not on the list", b.Code, r.Status)
	}
	if (r.Status == http.StatusUnauthorized) != (r.Header.Get("WWW-Authenticate") != "") && b.Code != CodeInsufficientScope {
		t.Errorf("status %d with challenge %q", r.Status, r.Header.Get("WWW-Authenticate"))
	}
	return b
}

// wantURL answers the request, which must succeed.
func wantURL(t testing.TB, s *Service, r Request) *url.URL {
	t.Helper()
	answer := s.Answer(context.Background(), r)
	b := check(t, answer)
	if answer.Status != http.StatusOK {
		t.Fatalf("query %q: %d %s", r.RawQuery, answer.Status, answer.Body)
	}
	u, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// wantCode answers the request, which must be refused.
func wantCode(t testing.TB, s *Service, r Request, want Code) Response {
	t.Helper()
	answer := s.Answer(context.Background(), r)
	if b := check(t, answer); b.Code != want {
		t.Errorf("query %q: %d %s, want %q", r.RawQuery, answer.Status, answer.Body, want)
	}
	return answer
}

// query appends parameters to those of a good request.
func query(pairs ...string) string {
	var b strings.Builder
	b.WriteString(askAcme)
	for i := 0; i < len(pairs); i += 2 {
		b.WriteString("&" + url.QueryEscape(pairs[i]) + "=" + url.QueryEscape(pairs[i+1]))
	}
	return b.String()
}

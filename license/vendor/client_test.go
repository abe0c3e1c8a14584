package vendor

import (
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// signed is a license of a key that nobody trusts.
func signed(t testing.TB) string {
	t.Helper()
	s, err := license.NewSigner(license.SignerConfig{Key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Sign(license.Request{Type: license.OSS, AllowedHosts: []string{"a.example"}, Description: "Acme", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	text, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestServerAddress(t *testing.T) {
	for address, good := range map[string]bool{
		"https://license.vendor.example":       true,
		"https://license.vendor.example/api/":  true,
		"http://127.0.0.1:8080":                true,
		"http://localhost":                     true,
		"http://license.vendor.example":        false,
		"license.vendor.example":               false,
		"ftp://license.vendor.example":         false,
		"https://me:pw@license.vendor.example": false,
		"https://license.vendor.example?x=1":   false,
		"":                                     false,
	} {
		if _, err := New(address, nil); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestLoginPageMustBeSecure: a vendor cannot send people to a login page that anybody
// on the way can read, or have something else opened.
func TestLoginPageMustBeSecure(t *testing.T) {
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
	defer server.Close()
	client, err := New(server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for text, good := range map[string]bool{
		`{"url":"https://login.example/authorize?x=y"}`: true,
		`{"url":"http://127.0.0.1/authorize"}`:          true,
		`{"url":"http://login.example/authorize"}`:      false,
		`{"url":"file:///etc/passwd"}`:                  false,
		`{"url":"javascript:alert(1)"}`:                 false,
		`{"url":""}`:                                    false, `{}`: false, `[]`: false, ``: false,
	} {
		answer = text
		if _, err := client.SSOURL(t.Context(), Login{Product: "p", Account: "a"}); (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestErrorsRepeatNothing of what was sent, and are fit for a log.
func TestErrorsRepeatNothing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("{\"code\":\"user_not_allowed\",\"message\":\"no\\n\\u001b[2J" + strings.Repeat("x", 4000) + "\"}"))
	}))
	client, err := New(server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := Activation{Seat: Seat{"p", "h"}, Account: "a", Code: "the-code", CodeVerifier: "the-verifier"}
	_, err = client.Activate(t.Context(), asked)
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != "user_not_allowed" || refusal.Status != http.StatusForbidden || len(err.Error()) > 500 || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("got %q", err)
	}
	server.Close()
	_, err = client.Activate(t.Context(), asked)
	if err == nil || strings.Contains(err.Error(), "the-code") || strings.Contains(err.Error(), server.URL) {
		t.Errorf("got %v", err)
	}
	if _, err := client.Check(t.Context(), asked.Seat, "the-id"); err == nil || strings.Contains(err.Error(), "the-id") {
		t.Errorf("got %v", err)
	}
}

// TestSlowVendor: no answer is waited for longer than the client's limit.
func TestSlowVendor(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(stop)
	client, err := New(server.URL, &http.Client{Timeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Check(t.Context(), Seat{"p", "h"}, "id"); err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("got %v", err)
	}
}

func FuzzLicenseOf(f *testing.F) {
	good := signed(f)
	f.Add([]byte(`{"license_active":true,"license":` + good + `}`))
	f.Add([]byte(`{"license":null}`))
	f.Add([]byte(`{"license":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := LicenseOf(data)
		if err != nil {
			return
		}
		if _, err := license.Decode(text); err != nil {
			t.Fatalf("no license: %v", err)
		}
	})
}

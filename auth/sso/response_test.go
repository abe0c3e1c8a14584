package sso

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

func signing(cfg *Config) { cfg.ResponseSigningKey = signingKey() }

// TestLicenseSignature covers the body's bytes, and nothing else.
func TestLicenseSignature(t *testing.T) {
	s := service(t, signing)
	answer := s.Answer(t.Context(), signed(query("state", `<a>&"b"`)))
	check(t, answer)
	signature, err := base64.StdEncoding.Strict().DecodeString(answer.Header.Get("LicenseSignature"))
	if err != nil {
		t.Fatal(err)
	}
	verify := func(body []byte) error {
		digest := sha256.Sum256(body)
		return rsa.VerifyPKCS1v15(&signingKey().PublicKey, crypto.SHA256, digest[:], signature)
	}
	if err := verify(answer.Body); err != nil {
		t.Error(err)
	}
	for _, other := range [][]byte{append(bytes.Clone(answer.Body), '\n'), bytes.ToUpper(answer.Body), nil} {
		if verify(other) == nil {
			t.Errorf("it covers %q too", other)
		}
	}
	if refused := s.Answer(t.Context(), signed("")); refused.Header.Get("LicenseSignature") != "" {
		t.Error("a refusal is signed")
	}
	if plain := service(t).Answer(t.Context(), signed(askAcme)); plain.Header.Get("LicenseSignature") != "" {
		t.Error("signed without a key")
	}
}

// TestBody is compact, with nothing escaped but what JSON asks for.
func TestBody(t *testing.T) {
	s := service(t, signing)
	answer := s.Answer(t.Context(), signed(query("state", testState, "nonce", testNonce)))
	want := `{"url":"` + wantURL(t, s, signed(query("state", testState, "nonce", testNonce))).String() + `"}`
	if string(answer.Body) != want || !strings.Contains(want, "&nonce=") {
		t.Errorf("body %s\nwant %s", answer.Body, want)
	}
	const refused = `{"status":400,"code":"unknown_product","message":"Provided product was not found"}`
	if got := s.Answer(t.Context(), signed("product=x&customer_account_code=acme")); string(got.Body) != refused {
		t.Errorf("body %s\nwant %s", got.Body, refused)
	}
}

// TestRefusalAsError: the cause is for logs, and found by errors.Is.
func TestRefusalAsError(t *testing.T) {
	cause := errors.New("connection refused")
	source := &fakeSource{err: cause}
	s := service(t, withAccount(func(a *Account) { a.AuthorizationEndpoint, a.Metadata = "", source }))
	answer := wantCode(t, s, signed(askAcme), CodeInternal)
	if !errors.Is(answer.Refusal, cause) || strings.Contains(answer.Refusal.Error(), "refused") || bytes.Contains(answer.Body, []byte("refused")) {
		t.Errorf("%v in %s", answer.Refusal, answer.Body)
	}
}

func TestRateLimit(t *testing.T) {
	at := newClock()
	s := service(t, func(cfg *Config) {
		cfg.Now = at.now
		cfg.RateLimit = 3
		for _, c := range []Credential{{APIKey: "two", RateLimit: 2}, {APIKey: "free", RateLimit: -1}, {APIKey: "like", RateLimit: 0}} {
			c.SharedKey = NewSecret(testShared)
			cfg.Credentials = append(cfg.Credentials, c)
		}
	})
	spend := func(key string) (answered int) {
		for range 10 {
			switch answer := s.Answer(t.Context(), by(key, askAcme)); answer.Status {
			case 200:
				answered++
			default:
				if check(t, answer).Code != CodeRateLimited || answer.Header.Get("Retry-After") != "1" {
					t.Fatalf("%s: %d %s, Retry-After %q", key, answer.Status, answer.Body, answer.Header.Get("Retry-After"))
				}
			}
		}
		return answered
	}
	for key, want := range map[string]int{testKey: 3, "two": 2, "free": 10, "like": 3} {
		if got := spend(key); got != want {
			t.Errorf("%s: %d of 10 answered, want %d", key, got, want)
		}
	}
	at.advance(time.Second)
	if got := spend("two"); got != 2 {
		t.Errorf("a second later: %d of 10 answered", got)
	}
}

// TestRateLimitCounts only what was signed rightly, and all of that.
func TestRateLimitCounts(t *testing.T) {
	s := service(t, func(cfg *Config) { cfg.RateLimit = 2 })
	for range 50 {
		wantCode(t, s, saying(authorization(testKey, "x")), CodeSignatureMismatch)
		wantCode(t, s, without("Date"), CodeMissingHeaders)
	}
	wantURL(t, s, signed(askAcme))
	wantCode(t, s, signed(""), CodeMissingParameters)
	wantCode(t, s, signed(askAcme), CodeRateLimited)
	wantURL(t, s, bearer(nil)) // not limited
}

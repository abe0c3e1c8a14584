package caddymodule_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// signingKey writes a key and gives the file's name.
func signingKey(t testing.TB) (*rsa.PrivateKey, string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "response.key")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return key, path
}

// A limit of one a second, and a signature on each answer; the admin endpoint
// needs no token here.
func TestSSOLimitsAndSignatures(t *testing.T) {
	key, path := signingKey(t)
	s := startSSO(t, "APPMORE", "api {\n trust_admin_endpoint\n }", "SSOMORE", "rate_limit 1\n group sso-readers\n response_signing_key "+path)
	t.Run("signed answer", func(t *testing.T) {
		got := s.get("/api/v4/sso_url?"+ssoAsk, bearer(mint(s.provider, claims{"groups": []string{"sso-readers"}})))
		wantURL(t, got)
		signature, err := base64.StdEncoding.DecodeString(got.header.Get("LicenseSignature"))
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256([]byte(got.body))
		if err := rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature); err != nil {
			t.Errorf("the signature of %s: %v", got.body, err)
		}
		if strings.Contains(got.body, `\u0026`) {
			t.Errorf("HTML is escaped: %s", got.body)
		}
	})
	t.Run("the admin group is not the readers'", func(t *testing.T) {
		got := s.get("/api/v4/sso_url?"+ssoAsk, bearer(mint(s.provider, claims{"groups": []string{"admin"}})))
		wantCode(t, got, sso.CodeInsufficientScope)
		if got.header.Get("LicenseSignature") != "" {
			t.Error("a refusal is signed")
		}
	})
	t.Run("trusted on the admin endpoint only", func(t *testing.T) {
		wantURL(t, s.do(s.client, http.MethodGet, "http://"+s.admin+"/api/v4/sso_url/?"+ssoAsk))
		wantCode(t, s.get("/api/v4/sso_url?"+ssoAsk), sso.CodeMissingHeaders)
		bad := s.do(s.client, http.MethodGet, "http://"+s.admin+"/api/v4/sso_url?"+ssoAsk, bearer(mint(s.provider, claims{"exp": 1})))
		wantCode(t, bad, sso.CodeInvalidToken)
	})
	t.Run("rate limit", func(t *testing.T) {
		for try := range 50 {
			got := s.get("/api/v4/sso_url?"+ssoAsk, signed())
			if got.status == http.StatusOK {
				continue
			}
			wantCode(t, got, sso.CodeRateLimited)
			if got.header.Get("Retry-After") != "1" || try == 0 {
				t.Errorf("request %d: got Retry-After %q", try, got.header.Get("Retry-After"))
			}
			return
		}
		t.Error("50 requests at once are not limited")
	})
	t.Run("other errors come first", func(t *testing.T) {
		wantCode(t, s.get("/api/v4/sso_url?product=none&customer_account_code=acme", signed()), sso.CodeUnknownProduct)
	})
}

// The endpoint is kept in storage: after a restart it serves without the
// provider.
func TestSSOAfterARestart(t *testing.T) {
	// A provider that only login pages know, not the gate.
	provider := newIssuer(t, ssoApplication)
	s := startSSO(t, "SSOMORE", "account kept {\n issuer "+provider.URL+"\n client_id license-users\n redirect_uri https://app.example.com/sso\n }")
	ask := "/api/v4/sso_url?product=my-product&customer_account_code=kept"
	want := wantURL(t, s.get(ask, signed())).Path
	eventually(t, "the record is in storage", func() bool { return strings.Contains(s.stored(t), provider.LoginURL()) })
	if err := provider.Stop(); err != nil {
		t.Fatal(err)
	}
	s.stop()
	if err := s.load(ssoFile); err != nil {
		t.Fatal(err)
	}
	fetches := provider.DiscoveryFetches()
	if got := wantURL(t, s.get(ask, signed())); got.Path != want || provider.DiscoveryFetches() != fetches {
		t.Errorf("got %s", got)
	}
}

// stored is all that is kept in storage.
func (s *ssoGateway) stored(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(filepath.Join(s.dir, "storage"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".json" {
			return nil //nolint:nilerr // what is being written may be gone again
		}
		data, _ := os.ReadFile(path)
		all.Write(data)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return all.String()
}

// A reload asks no provider again, whether it changes something or not.
func TestSSOReload(t *testing.T) {
	s := startSSO(t)
	wantURL(t, s.get("/api/v4/sso_url?"+ssoAsk, signed()))
	eventually(t, "the engine has had its own look", func() bool { return s.provider.JWKSFetches() > 0 })
	fetches := s.provider.DiscoveryFetches()
	for _, more := range []string{"", "max_skew 10m", "rate_limit 100", ""} {
		if err := s.load(strings.ReplaceAll(ssoFile, "SSOMORE\n", more+"\n")); err != nil {
			t.Fatal(err)
		}
		wantURL(t, s.get("/api/v4/sso_url?"+ssoAsk, signed()))
	}
	if n := s.provider.DiscoveryFetches(); n != fetches {
		t.Errorf("%d fetches of metadata for four reloads", n-fetches)
	}
}

// What only shows when it is provisioned: each error says what to do, and none
// holds the shared key.
func TestSSODoesNotLoad(t *testing.T) {
	account := func(lines string) string { return "account more {\n" + lines + "\n client_id c\n }" }
	small := filepath.Join(t.TempDir(), "small.key")
	if err := os.WriteFile(small, []byte(ssoShared), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		more string
		want []string
	}{
		"placeholder unset":     {"credential other {env.SSO_TEST_UNSET}", []string{"sso: credential {env.SSO_TEST_UNSET}", "empty"}},
		"placeholder in text":   {"credential other " + ssoShared + "{env.SSO_TEST_UNSET}", []string{"sso: credential", "empty"}},
		"file missing":          {"credential other {file./nowhere/at/all}", []string{"{file./nowhere/at/all}"}},
		"account's placeholder": {account("issuer {env.SSO_TEST_UNSET}\n redirect_uri https://a.example"), []string{"SSO_TEST_UNSET"}},
		"redirect resolved":     {account("issuer https://issuer.example\n redirect_uri {env.SSO_TEST_ADDRESS}"), []string{`"more"`, "http to another machine"}},
		"issuer resolved":       {account("issuer {env.SSO_TEST_ADDRESS}\n redirect_uri https://a.example"), []string{`"more"`, "insecure_http"}},
		"no such key file":      {"response_signing_key /nowhere/key", []string{"response_signing_key", "/nowhere/key"}},
		"no key in the file":    {"response_signing_key " + small, []string{"response_signing_key", "not PEM"}},
		"endless key file":      {"response_signing_key /dev/zero", []string{"response_signing_key", "64 KiB"}},
	}
	t.Setenv("SSO_TEST_ADDRESS", "http://a.example")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := prepareSSO(t, "SSOMORE", tt.more)
			err := s.load(ssoFile)
			if err == nil {
				t.Fatal("it loaded")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error %q does not name %q", err, want)
				}
			}
			if strings.Contains(err.Error(), ssoShared) {
				t.Errorf("the error %q holds the shared key", err)
			}
		})
	}
}

// An issuer whose keys are in a file is never asked anything over the network,
// so it cannot say where its login page is.
func TestSSOWithoutANetwork(t *testing.T) {
	s := prepareSSO(t, "audience https://gateway.example.com", "audience https://gateway.example.com\njwks_file /etc/jwks.json")
	err := s.load(ssoFile)
	if err == nil || !strings.Contains(err.Error(), "jwks_file") || !strings.Contains(err.Error(), "authorization_endpoint") {
		t.Errorf("got the error %v, want one that says what to do", err)
	}
}

// A shared key that stands in the file itself works, with a warning.
func TestSSOLiteralKey(t *testing.T) {
	literal := strings.Replace(ssoFile, "credential api-key {env.SSO_TEST_SHARED}", "credential literal "+ssoShared+"\ncredential api-key {env.SSO_TEST_SHARED}", 1)
	s := prepareSSO(t)
	if err := s.load(literal); err != nil {
		t.Fatal(err)
	}
	wantURL(t, s.get("/api/v4/sso_url?"+ssoAsk, hmac("literal", rightNow())))
	if log := s.log(); strings.Count(log, "{env.NAME} or {file./abs/path}") != 1 {
		t.Error("there is not one warning that names the placeholders")
	}
}

// The gate's own words about an issuer hold for its metadata as well.
func TestSSOSharesTheGatesEngine(t *testing.T) {
	provider := newIssuer(t, ssoApplication, idp.WithTLS())
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, provider.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	s := prepareSSO(t, "ISSUER", provider.URL, "audience https://gateway.example.com", "audience https://gateway.example.com\nca "+ca)
	if err := s.load(ssoFile); err != nil {
		t.Fatal(err)
	}
	wantURL(t, s.get("/api/v4/sso_url?"+ssoAsk, signed()))
	if n := provider.DiscoveryFetches(); n > 2 { // the engine's own look at its start, and the request
		t.Errorf("%d fetches of metadata for gate and login page, want 1 or 2", n)
	}
}

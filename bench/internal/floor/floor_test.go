package floor

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/tokens"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

var algorithms = []string{"RS256", "ES256", "EdDSA"}

func newFloor(t *testing.T, algorithm string) (*Floor, *idp.Issuer) {
	t.Helper()
	issuer, err := idp.New(idp.WithAlgorithms(algorithm))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, issuer.PublicPEM(issuer.KeyID()), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &Floor{Issuer: issuer.URL, KeyID: issuer.KeyID(), Algorithm: algorithm, KeyFile: file}
	if err := f.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	return f, issuer
}

// lets reports whether a request with the token passes.
func lets(t *testing.T, f *Floor, token string) (passed bool) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		passed = true
		return nil
	})
	if err := f.ServeHTTP(httptest.NewRecorder(), r, next); (err == nil) != passed {
		t.Errorf("passed is %v, with the error %v", passed, err)
	}
	return passed
}

func TestGoodTokensPassAndStay(t *testing.T) {
	for _, algorithm := range algorithms {
		f, issuer := newFloor(t, algorithm)
		for _, token := range tokens.Good(issuer, algorithm, 3, nil) {
			for range 2 {
				if !lets(t, f, token) {
					t.Errorf("%s: a good token was refused", algorithm)
				}
			}
			if !f.knows(token) {
				t.Errorf("%s: a good token was not kept", algorithm)
			}
		}
	}
}

func TestBadTokensAreRefused(t *testing.T) {
	for _, algorithm := range algorithms {
		f, issuer := newFloor(t, algorithm)
		for _, kind := range tokens.BadOnes(issuer, algorithm, 2) {
			for _, token := range kind.Tokens {
				if lets(t, f, token) || f.knows(token) {
					t.Errorf("%s: %s was let in", algorithm, kind.Name)
				}
			}
		}
	}
}

func TestKeptTokenExpires(t *testing.T) {
	f, issuer := newFloor(t, "ES256")
	token := tokens.Good(issuer, "ES256", 1, nil)[0]
	f.shard(token).tokens[token] = time.Now().Add(-time.Second).Unix()
	if f.knows(token) {
		t.Error("an expired token was let in because it was kept")
	}
}

func TestKeyThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"text":   "no key",
		"broken": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (&Floor{KeyFile: file}).Provision(caddy.Context{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := (&Floor{KeyFile: filepath.Join(dir, "missing")}).Provision(caddy.Context{}); err == nil {
		t.Error("missing: no error")
	}
}

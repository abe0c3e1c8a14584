package idp_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start makes an Issuer and a client whose connections end with the test.
func start(t *testing.T, opts ...idp.Option) (*idp.Issuer, *http.Client) {
	t.Helper()
	iss, err := idp.New(opts...)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	c := iss.HTTPClient()
	t.Cleanup(func() {
		c.CloseIdleConnections()
		if err := iss.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return iss, c
}

// get returns status, header and body.
func get(t *testing.T, c *http.Client, url string) (int, http.Header, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return read(t, res)
}

func read(t *testing.T, res *http.Response) (int, http.Header, string) {
	t.Helper()
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the body: %v", err)
	}
	return res.StatusCode, res.Header, string(body)
}

func object(t *testing.T, body string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatalf("not JSON: %v: %.200q", err, body)
	}
	return m
}

// served is the key set as a client gets it.
func served(t *testing.T, iss *idp.Issuer, c *http.Client) jwk.Set {
	t.Helper()
	// jwk.Fetch would leave goroutines of its own behind.
	_, _, body := get(t, c, iss.JWKSURL())
	set, err := jwk.ParseString(body)
	if err != nil {
		t.Fatalf("the key set: %v", err)
	}
	return set
}

// verify checks the signature by the published keys and returns the claims.
func verify(t *testing.T, set jwk.Set, token string) (map[string]any, error) {
	t.Helper()
	payload, err := jws.Verify([]byte(token), jws.WithKeySet(set))
	if err != nil {
		return nil, err
	}
	return object(t, string(payload)), nil
}

func TestEveryAlgorithmVerifiesWithJWX(t *testing.T) {
	iss, c := start(t, idp.WithAlgorithms(idp.Algorithms()...))
	set := served(t, iss, c)
	if got, want := set.Len(), len(idp.Algorithms()); got != want {
		t.Fatalf("%d keys served, want %d", got, want)
	}
	for _, alg := range idp.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			token := iss.Mint(map[string]any{"sub": "robot"}, idp.WithAlg(alg))
			claims, err := verify(t, set, token)
			if err != nil {
				t.Fatalf("jwx refuses it: %v", err)
			}
			if claims["iss"] != iss.URL || claims["sub"] != "robot" || claims["aud"] != idp.DefaultAudience {
				t.Errorf("claims = %v", claims)
			}
			msg, err := jws.ParseString(token)
			if err != nil {
				t.Fatal(err)
			}
			h := msg.Signatures()[0].ProtectedHeaders()
			if h.Algorithm() != jwa.SignatureAlgorithm(alg) || h.Type() != "at+jwt" {
				t.Errorf("header alg %q typ %q", h.Algorithm(), h.Type())
			}
		})
	}
}

func TestDiscovery(t *testing.T) {
	tests := []struct {
		name, path    string
		openID, oauth string // paths of the two documents
	}{
		{"root", "", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
		{"root with slash", "/", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"},
		{
			"path", "/realms/acme", "/realms/acme/.well-known/openid-configuration",
			"/.well-known/oauth-authorization-server/realms/acme",
		},
		{
			"path with slash", "/realms/acme/", "/realms/acme/.well-known/openid-configuration",
			"/.well-known/oauth-authorization-server/realms/acme",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			iss, c := start(t, idp.WithPath(tt.path))
			base := "http://" + iss.Host()
			if iss.URL != base+tt.path {
				t.Errorf("URL = %q, want %q", iss.URL, base+tt.path)
			}
			for _, at := range []string{tt.openID, tt.oauth} {
				status, _, body := get(t, c, base+at)
				if status != http.StatusOK {
					t.Fatalf("%s: status %d", at, status)
				}
				doc := object(t, body)
				if doc["issuer"] != iss.URL {
					t.Errorf("%s: issuer %q, want %q", at, doc["issuer"], iss.URL)
				}
				for _, required := range []string{
					"jwks_uri", "token_endpoint", "response_types_supported",
					"subject_types_supported", "id_token_signing_alg_values_supported",
				} {
					if doc[required] == nil {
						t.Errorf("%s: no %s", at, required)
					}
				}
				if status, _, _ := get(t, c, doc["jwks_uri"].(string)); status != http.StatusOK {
					t.Errorf("jwks_uri answers %d", status)
				}
			}
			if n := iss.DiscoveryFetches(); n != 2 {
				t.Errorf("DiscoveryFetches = %d, want 2", n)
			}
			if n := iss.JWKSFetches(); n != 2 {
				t.Errorf("JWKSFetches = %d, want 2", n)
			}
		})
	}
}

func TestDoubleSlashInJWKSURI(t *testing.T) {
	iss, c := start(t, idp.WithJWKSPath("//keys"))
	if !strings.HasSuffix(iss.JWKSURL(), "//keys") {
		t.Fatalf("JWKSURL = %q", iss.JWKSURL())
	}
	if set := served(t, iss, c); set.Len() != 1 {
		t.Errorf("%d keys, want 1", set.Len())
	}
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name, want string
		opts       []idp.Option
	}{
		{"algorithm", `unknown algorithm "HS256"`, []idp.Option{idp.WithAlgorithms("HS256")}},
		{"no algorithm", "no algorithm named", []idp.Option{idp.WithAlgorithms()}},
		{"path", `issuer path "realm"`, []idp.Option{idp.WithPath("realm")}},
		{"client", `client "robot" needs`, []idp.Option{idp.WithClient(idp.Client{ID: "robot"})}},
		{"address", "listening for the issuer", []idp.Option{idp.WithAddress("127.0.0.1:none")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			iss, err := idp.New(tt.opts...)
			if err == nil {
				iss.Close()
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
		})
	}
}

func TestClock(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	iss, c := start(t, idp.WithNow(func() time.Time { return at }))
	claims, err := verify(t, served(t, iss, c), iss.Mint(nil))
	if err != nil {
		t.Fatal(err)
	}
	if claims["iat"] != float64(at.Unix()) || claims["exp"] != float64(at.Unix()+3600) {
		t.Errorf("iat %v, exp %v", claims["iat"], claims["exp"])
	}
}

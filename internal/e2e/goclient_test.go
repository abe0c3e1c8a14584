package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// sign adds the token and a proof of its key. public is jwk.FromRaw(key.Public()).
func sign(r *http.Request, token string, key *ecdsa.PrivateKey, public jwk.Key, nonce string) error {
	header := jws.NewHeaders()
	if err := errors.Join(header.Set(jws.TypeKey, "dpop+jwt"), header.Set(jws.JWKKey, public)); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(token))
	claims := map[string]any{
		"jti": rand.Text(), "htm": r.Method, "htu": r.URL.Scheme + "://" + r.URL.Host + r.URL.EscapedPath(),
		"iat": time.Now().Unix(), "ath": base64.RawURLEncoding.EncodeToString(hash[:]),
	}
	if nonce != "" { // of the last DPoP-Nonce
		claims["nonce"] = nonce
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return err
	}
	proof, err := jws.Sign(payload, jws.WithKey(jwa.ES256, key, jws.WithProtectedHeaders(header)))
	r.Header.Set("Authorization", "DPoP "+token)
	r.Header.Set("DPoP", string(proof))
	return err
}

// TestProofByGo lets in a client that signs as the page says, which shows the function
// above word for word.
func TestProofByGo(t *testing.T) {
	_, rest, found := strings.Cut(readFile(t, "../../docs/bound-tokens.md"), "```go\n")
	shown, _, closed := strings.Cut(rest, "```")
	if !found || !closed || !strings.Contains(readFile(t, "goclient_test.go"), "\n\n"+shown+"\n//") {
		t.Fatalf("the page shows other code than is tested here:\n%s", shown)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := jwk.FromRaw(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := idp.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	thumbprint := base64.RawURLEncoding.EncodeToString(sum)
	token := issuer.Mint(map[string]any{"cnf": map[string]any{"jkt": thumbprint}})
	certificate, certificateKey := selfSigned(t, "localhost")
	site := serve(t, boundSites, "ISSUER", issuer.URL, "AUDIENCE", "https://gateway.example.com", "NONCE", "node", "PORT", port(t), "CERTIFICATE", certificate, "KEY", certificateKey)
	ask := func(method, path, nonce string) (response *http.Response, body string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, site+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := sign(request, token, key, public, nonce); err != nil {
			t.Fatal(err)
		}
		if response, err = http.DefaultClient.Do(request); err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(text)
	}
	refused, _ := ask("GET", "stripped/a", "")
	nonce := refused.Header.Get("DPoP-Nonce")
	if refused.StatusCode != http.StatusUnauthorized || nonce == "" {
		t.Fatalf("without a nonce: %d %v", refused.StatusCode, refused.Header)
	}
	for _, c := range [][2]string{{"GET", "stripped/a"}, {"GET", "stripped/a"}, {"POST", "stripped/a%7Eb/c%2Fd?e=f"}} {
		if got, body := ask(c[0], c[1], nonce); got.StatusCode != http.StatusOK || body != "dpop "+thumbprint {
			t.Errorf("%s %s with it: %d %q, %s", c[0], c[1], got.StatusCode, body, got.Header.Get("WWW-Authenticate"))
		}
	}
}

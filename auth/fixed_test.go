package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// fixedIssuer signs the same tokens in every process with well-known keys:
// the fuzzer's workers are processes of their own, and would each refuse the
// seeds of another's random keys at once.
const fixedIssuer = "https://issuer.example"

type fixedKey struct {
	alg     string
	private crypto.Signer
}

// fixedKeys are the keys of Wycheproof's groups rs256 and es256, and an Ed25519
// key of zeros.
func fixedKeys(tb testing.TB) (keys []fixedKey) {
	tb.Helper()
	data, err := os.ReadFile("testdata/wycheproof/json_web_signature_test.json")
	if err != nil {
		tb.Fatal(err)
	}
	var file wycheproofFile
	if err := json.Unmarshal(data, &file); err != nil {
		tb.Fatal(err)
	}
	for _, group := range file.TestGroups[:3] {
		parsed, err := jwk.ParseKey(group.Private)
		if err != nil {
			tb.Fatal(err)
		}
		var raw any
		if err := parsed.Raw(&raw); err != nil {
			tb.Fatal(err)
		}
		if signer, ok := raw.(crypto.Signer); ok { // the first is a shared secret
			keys = append(keys, fixedKey{parsed.Algorithm().String(), signer})
		}
	}
	return append(keys, fixedKey{"EdDSA", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))})
}

// token signs deterministically.
func (k fixedKey) token(tb testing.TB, claims string) string {
	tb.Helper()
	input := b64(`{"alg":"`+k.alg+`","kid":"`+k.alg+`","typ":"at+jwt"}`) + "." + b64(claims)
	digest, hash := sha256.Sum256([]byte(input)), crypto.SHA256
	message := digest[:]
	if k.alg == "EdDSA" {
		message, hash = []byte(input), 0
	}
	signature, err := k.private.Sign(nil, message, hash)
	if err != nil {
		tb.Fatal(err)
	}
	if k.alg == "ES256" {
		var pair struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(signature, &pair); err != nil {
			tb.Fatal(err)
		}
		signature = append(pair.R.FillBytes(make([]byte, 32)), pair.S.FillBytes(make([]byte, 32))...)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// publicJWK is the key as the issuer publishes it.
func (k fixedKey) publicJWK(tb testing.TB) map[string]any {
	tb.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	members := map[string]any{"kid": k.alg, "alg": k.alg}
	switch public := k.private.Public().(type) {
	case *rsa.PublicKey:
		members["kty"], members["n"], members["e"] = "RSA", encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			tb.Fatal(err)
		}
		members["kty"], members["crv"], members["x"], members["y"] = "EC", "P-256", encode(point[1:33]), encode(point[33:])
	case ed25519.PublicKey:
		members["kty"], members["crv"], members["x"] = "OKP", "Ed25519", encode(public)
	}
	return members
}

// fixedGate is a verifier of the fixed issuer and its good tokens.
func fixedGate(tb testing.TB) (*Verifier, []string) {
	tb.Helper()
	var tokens []string
	var published []any
	claims := fmt.Sprintf(`{"iss":%q,"sub":"s","aud":"a","exp":%d,"groups":["g"],"scope":"x y"}`, fixedIssuer, at(time.Hour))
	for _, k := range fixedKeys(tb) {
		published = append(published, k.publicJWK(tb))
		tokens = append(tokens, k.token(tb, claims))
	}
	set, err := json.Marshal(map[string]any{"keys": published})
	if err != nil {
		tb.Fatal(err)
	}
	file := filepath.Join(tb.TempDir(), "jwks.json")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		tb.Fatal(err)
	}
	var c clock
	c.nanoseconds.Store(epoch.UnixNano())
	engine, err := issuer.New(issuer.Config{Issuer: fixedIssuer, JWKSFile: file}, issuer.Options{Now: c.now})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = engine.Close() })
	v, err := NewVerifier(VerifierConfig{
		Issuers:    []AcceptedIssuer{{Policy: Policy{Issuer: fixedIssuer, Name: "fixed", Audiences: []string{"a"}}, Keys: engine}},
		CacheBytes: 1 << 20, Now: c.now,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return v, tokens
}

func TestFixedTokens(t *testing.T) {
	v, tokens := fixedGate(t)
	_, again := fixedGate(t)
	for i, token := range tokens {
		letIn(t, v, token)
		if token != again[i] {
			t.Errorf("token %d is not the same every time", i)
		}
	}
}

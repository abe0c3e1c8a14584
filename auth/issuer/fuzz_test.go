package issuer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"os"
	"testing"

	"encoding/json"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// FuzzParseJWKS holds what must be true of any set that is taken: bounded, found
// by its ids, only sound keys, and the same after being kept.
func FuzzParseJWKS(f *testing.F) {
	f.Add(setOf())
	f.Add(setOf(rsaKey("r"), ecKey("e", elliptic.P256()), edKey("d")))
	f.Add(setOf(ecKey("e", elliptic.P384()).with("crv", "P-256"), edKey("").with("kid", nil)))
	f.Add([]byte(`{"keys":[{"kty":"oct","k":"AA"},{"kty":"OKP","crv":"Ed25519","x":"` + b64(make([]byte, 32)) + `","d":null}],"x":[{}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"` + b64(make([]byte, 60)) + `","y":"AA"}]}`))
	if data, err := os.ReadFile("testdata/wycheproof/json_web_key_test.json"); err == nil {
		var file wycheproofFile
		if json.Unmarshal(data, &file) == nil {
			for _, g := range file.TestGroups {
				f.Add([]byte(g.Private))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, warnings, err := Config{}.ParseJWKS(data)
		if err != nil {
			if s != nil || warnings != nil {
				t.Fatal("a result beside an error")
			}
			return
		}
		if len(s.All())+len(warnings) > maxKeys {
			t.Fatalf("%d keys and %d warnings", len(s.All()), len(warnings))
		}
		for _, k := range s.All() {
			checkSound(t, s, k)
		}
		kept, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, ignored, err := (Config{}).ParseJWKS(kept); err != nil || len(ignored) != 0 || len(again.All()) != len(s.All()) {
			t.Fatalf("kept as %s: %v, %v", kept, ignored, err)
		}
	})
}

func checkSound(t *testing.T, s *JWKS, k *Key) {
	t.Helper()
	if s.match(k) == nil || len(s.byID[k.ID()]) == 0 {
		t.Fatalf("%q is not found", k.ID())
	}
	fits := 0
	for _, alg := range jose.Algorithms {
		if k.Fits(alg) {
			fits++
		}
	}
	if fits == 0 || k.Fits("HS256") || k.Fits("none") || k.Fits("") {
		t.Fatalf("%q fits %d algorithms", k.ID(), fits)
	}
	switch p := k.Public().(type) {
	case *rsa.PublicKey:
		if p.N.BitLen() < jose.MinRSABits || p.N.BitLen() > jose.MaxRSABits || p.E < 3 {
			t.Fatalf("RSA of %d bits, e=%d", p.N.BitLen(), p.E)
		}
	case *ecdsa.PublicKey:
		if _, err := p.ECDH(); err != nil {
			t.Fatal(err)
		}
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			t.Fatalf("Ed25519 of %d bytes", len(p))
		}
	default:
		t.Fatalf("a key of type %T", p)
	}
}

// FuzzMetadata holds that metadata is taken only if it names the issuer exactly
// and every address in it may be spoken to.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"issuer":"https://a","jwks_uri":"https://a//jwks","authorization_endpoint":"https://a/auth","response_types_supported":["code"]}`))
	f.Add([]byte(`{"issuer":"https://a/","jwks_uri":"https://a/jwks"}`))
	f.Add([]byte(`{"issuer":"https://a","jwks_uri":"http://127.0.0.1/jwks","token_endpoint":"javascript:x","scopes_supported":"openid"}`))
	f.Add([]byte(`{"issuer":"https://a","issuer":"https://b","jwks_uri":"https://a"}`))
	f.Add([]byte(`{"issuer":"https://a","jwks_uri":"https://u:p@a/#f"}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`{"issuer":"https://a","introspection_endpoint":"https://a/introspect"}`))
	cfg := Config{Issuer: "https://a"}
	keyless := Config{Issuer: "https://a", KeysOptional: true}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMetadata(cfg, data)
		if optional, err2 := parseMetadata(keyless, data); err2 == nil && (err == nil) != (optional.JWKSURI != "") {
			t.Fatalf("%v, but where keys are optional %+v", err, optional)
		}
		if err != nil {
			if m != nil {
				t.Fatal("metadata beside an error")
			}
			return
		}
		if m.Issuer != "https://a" {
			t.Fatalf("issuer %q", m.Issuer)
		}
		if _, err := cfg.parseURL(m.JWKSURI); err != nil {
			t.Fatalf("jwks_uri %q %v", m.JWKSURI, err)
		}
		for _, address := range []string{m.AuthorizationEndpoint, m.TokenEndpoint, m.EndSessionEndpoint} {
			if _, err := cfg.parseURL(address); address != "" && err != nil {
				t.Fatalf("endpoint %q %v", address, err)
			}
		}
		kept, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := parseMetadata(cfg, kept); again == nil || again.JWKSURI != m.JWKSURI {
			t.Fatalf("kept as %v", again)
		}
	})
}

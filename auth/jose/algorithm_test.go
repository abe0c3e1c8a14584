package jose

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"
)

func TestEachAlgorithmHasAVerifier(t *testing.T) {
	for _, name := range Algorithms {
		if verifiers[name] == nil || Kind(name) == "" {
			t.Errorf("%s has no verifier or no kind of key", name)
		}
	}
	for _, name := range []string{"", "none", "NONE", "HS256", "HS384", "HS512", "rs256", "ES256K", "RSA-OAEP", "EdDSA "} {
		if verifiers[name] != nil || Kind(name) != "" {
			t.Errorf("%q has a verifier or a kind of key", name)
		}
	}
}

// A salt must be as long as the hash (RFC 7518, section 3.5).
func TestSaltLength(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	input := []byte("eyJhbGciOiJQUzI1NiJ9.e30")
	digest := sha256.Sum256(input)
	for salt, want := range map[int]bool{1: false, 20: false, 31: false, 32: true, 33: false, 64: false, 222: false} {
		signature, err := rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
		if err != nil {
			t.Fatal(err)
		}
		if holds := Verify("PS256", &private.PublicKey, input, signature); holds != want {
			t.Errorf("a salt of %d bytes: %v", salt, holds)
		}
	}
	if Verify("PS256", "no key", nil, nil) {
		t.Error("something that is no key verifies")
	}
}

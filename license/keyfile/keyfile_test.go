package keyfile

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// A key of each kind is written, read back, signs, and its public file verifies.
func TestCreate(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "vendor.key")
			key := generate(t, kind)
			if err := Create(path, key); err != nil {
				t.Fatal(err)
			}
			loaded, err := Load(path, "")
			if err != nil {
				t.Fatal(err)
			}
			sameKey(t, loaded, key)
			checkModes(t, path)
			checkSigns(t, loaded, path+".pub")
		})
	}
}

func checkModes(t *testing.T, path string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
}

func checkSigns(t *testing.T, key crypto.Signer, public string) {
	t.Helper()
	signer, err := license.NewSigner(license.SignerConfig{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	l, err := signer.Sign(license.Request{Type: license.OSS, AllowedHosts: []string{"*"}, Description: "Acme", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(public)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := license.ParsePublicKeys(text)
	if err != nil || len(trusted) != 1 {
		t.Fatalf("%d public keys, %v", len(trusted), err)
	}
	keys, err := license.NewKeySet(license.TrustedKey{Key: trusted[0]})
	if err != nil {
		t.Fatal(err)
	}
	v, err := license.NewVerifier(license.Config{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Verify(l).Err(); err != nil {
		t.Error(err)
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	for _, there := range []string{"vendor.key", "vendor.key.pub"} {
		t.Run(there, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, there), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Create(filepath.Join(dir, "vendor.key"), generate(t, Ed25519))
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("%v, want that the file is there", err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 {
				t.Errorf("%v, %v; want only the file that was there", entries, err)
			}
			if data, err := os.ReadFile(filepath.Join(dir, there)); err != nil || string(data) != "mine" {
				t.Errorf("%q, %v; want it untouched", data, err)
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	wantError(t, Create(filepath.Join(dir, "none", "vendor.key"), generate(t, Ed25519)), "writing the private key")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, Create(filepath.Join(dir, "vendor.key"), small), "1024 bits")
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v; want nothing written", entries, err)
	}
}

func TestGenerate(t *testing.T) {
	for kind, want := range map[Kind]string{"": "ed25519.PrivateKey", Ed25519: "ed25519.PrivateKey", RSA: "*rsa.PrivateKey", ECDSA: "*ecdsa.PrivateKey"} {
		if got := fmt.Sprintf("%T", generate(t, kind)); got != want {
			t.Errorf("kind %q makes a %s, want a %s", kind, got, want)
		}
	}
	_, err := Generate("dsa")
	wantError(t, err, "want ed25519, rsa or ecdsa")
}

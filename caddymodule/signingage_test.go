package caddymodule_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
)

// The signing key may lie encrypted, with its passphrase in another file.
func TestSigningKeyFromAnAgeFile(t *testing.T) {
	const passphrase = "correct horse battery staple of this test"
	folder := t.TempDir()
	sealed, word := filepath.Join(folder, "vendor.age"), filepath.Join(folder, "pass")
	s := startLicenseAPI(t)
	plain, err := os.ReadFile(s.private())
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(10)
	var encrypted bytes.Buffer
	writer, err := age.Encrypt(&encrypted, recipient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	for path, data := range map[string][]byte{sealed: encrypted.Bytes(), word: []byte(passphrase + "\n")} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	option := strings.NewReplacer("KEY", "key "+sealed+"\npassphrase {file."+word+"}").Replace(licenseAPI)
	if err := s.gateway.load(option); err != nil {
		t.Fatal(err)
	}
	if got := s.send(http.MethodPost, "/api/orgs/license/sign", s.as("signers"), sends(signAsk)); got.status != 200 {
		t.Fatalf("signing with the key was answered with %d %s", got.status, got.body)
	}
	if strings.Contains(s.log(), "correct horse") || strings.Contains(s.log(), "PRIVATE KEY") {
		t.Error("the log holds the passphrase or the key")
	}
	if err := os.WriteFile(word, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.gateway.load(option + "\n"); err == nil || strings.Contains(err.Error(), "another") {
		t.Errorf("a wrong passphrase gave %v, want an error without it", err)
	}
}

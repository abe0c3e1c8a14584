package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
)

var kinds = []Kind{Ed25519, RSA, ECDSA}

func generate(t *testing.T, kind Kind) crypto.Signer {
	t.Helper()
	key, err := Generate(kind)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// block encodes a key in its own PEM type: PKCS #8, PKCS #1 or SEC 1.
func block(t *testing.T, kind string, key crypto.Signer) []byte {
	t.Helper()
	var der []byte
	var err error
	switch kind {
	case "PRIVATE KEY":
		der, err = x509.MarshalPKCS8PrivateKey(key)
	case "RSA PRIVATE KEY":
		der = x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))
	case "EC PRIVATE KEY":
		der, err = x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// encryptQuickly makes an age file with a work factor that is quick to undo.
func encryptQuickly(t *testing.T, plain []byte, passphrase string, armored bool, logN int) []byte {
	t.Helper()
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(logN)
	var file bytes.Buffer
	var out io.WriteCloser = nopCloser{&file}
	if armored {
		out = armor.NewWriter(&file)
	}
	w, err := age.Encrypt(out, recipient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func write(t *testing.T, data []byte, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vendor.key")
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	// The process's umask may have taken bits away.
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func sameKey(t *testing.T, got, want crypto.Signer) {
	t.Helper()
	equal, ok := want.(interface{ Equal(crypto.PrivateKey) bool })
	if !ok || got == nil || !equal.Equal(got) {
		t.Errorf("another key of type %T, want one of type %T", got, want)
	}
}

// wantError makes sure that the error says a fragment and nothing of a secret.
func wantError(t *testing.T, err error, fragment string, secrets ...[]byte) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one that says %q", fragment)
		return
	}
	if !strings.Contains(err.Error(), fragment) || len(err.Error()) > 400 {
		t.Errorf("error %q, want one that says %q in a few words", err, fragment)
	}
	for _, secret := range secrets {
		text := strings.Join(strings.Fields(string(secret)), "")
		for i := 0; i+12 <= len(text); i += 4 {
			if part := text[i : i+12]; strings.Contains(err.Error(), part) && !strings.Contains("-----BEGINPRIVATEKEY-----BEGINRSAPRIVATEKEY-----BEGINPUBLICKEY-----", part) {
				t.Errorf("error %q holds %q of the secret", err, part)
			}
		}
	}
}

func encoded(data []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(data)) }

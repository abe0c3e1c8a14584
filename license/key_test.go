package license

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

var keyNames = []string{"rsa", "ed25519", "ecdsa"}

func TestKeyID(t *testing.T) {
	// openssl pkey -in rsa.pem -pubout -outform DER | sha256sum
	id, err := KeyID(testKey(t, "rsa").Public())
	if err != nil || id != goodKeyID {
		t.Errorf("%s, %v; want %s", id, err, goodKeyID)
	}
}

func TestKeysOfOtherKinds(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key  crypto.PublicKey
		want string
	}{
		"RSA of 1024 bits": {&small.PublicKey, "1024 bits; want 2048"},
		"P-384":            {&p384.PublicKey, "another curve"},
		"short Ed25519":    {ed25519.PublicKey{1}, "wrong length"},
		"nil":              {nil, "type <nil>"},
		"nil RSA":          {(*rsa.PublicKey)(nil), "empty"},
		"nil ECDSA":        {(*ecdsa.PublicKey)(nil), "another curve"},
		"empty RSA":        {&rsa.PublicKey{}, "empty"},
		"bytes":            {[]byte("secret"), "type []uint8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := KeyID(c.key)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("KeyID: %v, want it to say %q", err, c.want)
			}
			if _, err := NewKeySet(TrustedKey{Key: c.key}); err == nil {
				t.Error("NewKeySet takes it")
			}
			if _, err := EncodePublicKey(c.key); err == nil {
				t.Error("EncodePublicKey takes it")
			}
		})
	}
	if _, err := NewSigner(SignerConfig{Key: small}); err == nil {
		t.Error("NewSigner takes a key of 1024 bits")
	}
}

func TestPublicKeysRoundTrip(t *testing.T) {
	var text []byte
	for _, name := range keyNames {
		block, err := EncodePublicKey(testKey(t, name).Public())
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, "the key "+name+":\n"...)
		text = append(text, block...)
	}
	keys, err := ParsePublicKeys(text)
	if err != nil || len(keys) != len(keyNames) {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	for i, name := range keyNames {
		want := testKey(t, name).Public().(interface{ Equal(crypto.PublicKey) bool })
		if !want.Equal(keys[i]) {
			t.Errorf("%s is another key", name)
		}
	}
	pub := testKey(t, "rsa").Public().(*rsa.PublicKey)
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(pub)})
	if keys, err := ParsePublicKeys(pkcs1); err != nil || !pub.Equal(keys[0]) {
		t.Errorf("PKCS #1: %v", err)
	}
}

func TestParsePublicKeysRefuses(t *testing.T) {
	good, err := EncodePublicKey(testKey(t, "ed25519").Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":     {nil, "no PEM block"},
		"text":        {[]byte("ssh-ed25519 AAAA"), "no PEM block"},
		"private key": {readFile(t, "rsa.pem"), "private key"},
		"second bad":  {append(bytes.Clone(good), readFile(t, "rsa.pem")...), "public key 2: this is a private key"},
		"certificate": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), `type "CERTIFICATE"`},
		"damaged":     {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte{1}}), "not a public key"},
		"too long":    {bytes.Repeat([]byte("a"), maxPEM+1), "at most 65536"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := ParsePublicKeys(c.text)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v; want it to say %q", keys, err, c.want)
			}
		})
	}
}

func TestKeySet(t *testing.T) {
	key := testKey(t, "rsa").Public()
	if _, err := NewKeySet(TrustedKey{Key: key}, TrustedKey{Key: key, Revoked: true}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("a key given twice: %v", err)
	}
	var none *KeySet
	if _, err := none.find("license", goodKeyID, 0); err == nil {
		t.Error("a nil set trusts a key")
	}
	until := time.Unix(issued, 0)
	for name, c := range map[string]struct {
		key      TrustedKey
		issuedAt int64
		reason   Reason
	}{
		"good":             {TrustedKey{Key: key}, issued, ""},
		"retired, older":   {TrustedKey{Key: key, NotAfterIssue: until}, issued - 1, ""},
		"retired, then":    {TrustedKey{Key: key, NotAfterIssue: until}, issued, ReasonRetiredKey},
		"retired, younger": {TrustedKey{Key: key, NotAfterIssue: until}, issued + 1, ReasonRetiredKey},
		"revoked":          {TrustedKey{Key: key, Revoked: true}, issued, ReasonRevokedKey},
		"both":             {TrustedKey{Key: key, NotAfterIssue: until, Revoked: true}, issued + 1, ReasonRevokedKey},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := newKeySet(t, c.key).find("license", goodKeyID, c.issuedAt)
			if c.reason == "" {
				if err != nil || found == nil {
					t.Errorf("%v, %v", found, err)
				}
				return
			}
			wantError(t, err, c.reason, "key_id", goodKeyID)
			if found != nil {
				t.Error("a key beside the error")
			}
		})
	}
}

// brokenKey is a key service that fails, or lies.
type brokenKey struct {
	crypto.Signer
	sig []byte
	err error
}

func (k brokenKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return k.sig, k.err }

func TestBrokenKeyService(t *testing.T) {
	down := errors.New("service down")
	for name, c := range map[string]struct {
		key  brokenKey
		want string
	}{
		"fails": {brokenKey{testKey(t, "ed25519"), nil, down}, "service down"},
		"lies":  {brokenKey{testKey(t, "ecdsa"), []byte("no signature"), nil}, "does not verify"},
		"empty": {brokenKey{testKey(t, "rsa"), nil, nil}, "does not verify"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := NewSigner(SignerConfig{Key: c.key})
			if err != nil {
				t.Fatal(err)
			}
			l, err := s.Sign(request())
			if l != nil || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v; want an error that says %q", l, err, c.want)
			}
			var form *Error
			if errors.As(err, &form) {
				t.Error("the key's fault is reported as the request's")
			}
		})
	}
}

package sso

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
)

// signingKey is one for all tests, because making it takes a while.
var signingKey = sync.OnceValue(func() *rsa.PrivateKey { return makeKey(2048) })

var shortKey = sync.OnceValue(func() *rsa.PrivateKey { return makeKey(1024) })

func makeKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM("PRIVATE KEY", der)
}

func inPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestParseSigningKey(t *testing.T) {
	pkcs1 := inPEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(signingKey()))
	for name, data := range map[string][]byte{
		"PKCS#8":         pkcs8(t, signingKey()),
		"PKCS#1":         pkcs1,
		"behind a mark":  append([]byte("\ufeff"), pkcs1...),
		"text around it": append([]byte("my key\n"), append(pkcs1, "\nend"...)...),
	} {
		if key, err := ParseSigningKey(data); err != nil || !key.Equal(signingKey()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	elliptic, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"UTF-16":      {[]byte("\xff\xfe-\x00"), "UTF-16"},
		"nothing":     {nil, "not PEM"},
		"garbage":     {[]byte("kw4qSnpSwXzgiv5yxYpZZmFEd9QAeiKTQ6OuyMja"), "not PEM"},
		"public":      {inPEM("PUBLIC KEY", []byte("x")), "PUBLIC KEY"},
		"encrypted":   {inPEM("ENCRYPTED PRIVATE KEY", []byte("x")), "not encrypted"},
		"EC":          {pkcs8(t, elliptic), "not an RSA key"},
		"broken":      {inPEM("PRIVATE KEY", []byte("broken")), "cannot be read"},
		"broken too":  {inPEM("RSA PRIVATE KEY", []byte("broken")), "cannot be read"},
		"wrong label": {inPEM("PRIVATE KEY", x509.MarshalPKCS1PrivateKey(signingKey())), "cannot be read"},
		"short":       {pkcs8(t, shortKey()), "1024 bits"},
	} {
		key, err := ParseSigningKey(c.data)
		if err == nil || key != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "kw4q") {
			t.Errorf("%s: %v quotes the content", name, err)
		}
	}
}

func TestCheckSigningKey(t *testing.T) {
	damaged := &rsa.PrivateKey{
		PublicKey: signingKey().PublicKey,
		D:         new(big.Int).Add(signingKey().D, big.NewInt(2)),
		Primes:    signingKey().Primes,
	}
	long := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 9000), E: 65537}}
	for want, key := range map[string]*rsa.PrivateKey{"damaged": damaged, "9001 bits": long, "no modulus": {}} {
		if err := checkSigningKey(key); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

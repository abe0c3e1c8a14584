package license

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The keys and licenses in testdata were made with openssl and Python, so that
// an implementation other than this one has its say. All licenses there are
// issued at issued and end at expires.
const (
	issued  = 1767225600 // 2026-01-01
	expires = 1798761600 // 2027-01-01
)

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// testKey reads a fixed private key: rsa, ed25519 or ecdsa.
func testKey(t testing.TB, name string) crypto.Signer {
	t.Helper()
	block, _ := pem.Decode(readFile(t, name+".pem"))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(crypto.Signer)
}

// clock is a clock that a test sets.
type clock struct{ unix atomic.Int64 }

func at(unix int64) *clock {
	c := &clock{}
	c.unix.Store(unix)
	return c
}

func (c *clock) now() time.Time { return time.Unix(c.unix.Load(), 0) }

// newSigner stamps licenses with the clock's time.
func newSigner(t testing.TB, key string, c *clock) *Signer {
	t.Helper()
	s, err := NewSigner(SignerConfig{Key: testKey(t, key), Now: func() time.Time { return c.now().Add(backdate * time.Second) }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newVerifier trusts all keys of testdata unless the configuration names others.
func newVerifier(t testing.TB, c *clock, config Config) *Verifier {
	t.Helper()
	if config.Keys == nil {
		var keys []TrustedKey
		for _, name := range []string{"rsa", "ed25519", "ecdsa"} {
			keys = append(keys, TrustedKey{Key: testKey(t, name).Public()})
		}
		config.Keys = newKeySet(t, keys...)
	}
	config.Now = c.now
	v, err := NewVerifier(config)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func newKeySet(t testing.TB, keys ...TrustedKey) *KeySet {
	t.Helper()
	set, err := NewKeySet(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// request is one that every key signs.
func request() Request {
	return Request{
		Type:         Enterprise,
		AllowedHosts: []string{"*.johnwick.org", "johnwick.org"},
		Description:  "Acme: prod",
		TTL:          (expires - issued - backdate) * time.Second,
		Features:     []string{"runbooks", "data-masking"},
	}
}

func mustSign(t testing.TB, s *Signer, r Request) *License {
	t.Helper()
	l, err := s.Sign(r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustEncode(t testing.TB, l *License) []byte {
	t.Helper()
	data, err := l.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// wantError makes sure that an error is an *Error of the reason and field, whose
// text holds a fragment and is of a length that fits a log line.
func wantError(t *testing.T, err error, reason Reason, field, fragment string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v of type %T, want an *Error", err, err)
	}
	if e.Reason != reason || e.Field != field {
		t.Errorf("reason %s, field %q (%s); want %s, %q", e.Reason, e.Field, err, reason, field)
	}
	if !strings.Contains(err.Error(), fragment) {
		t.Errorf("error %q does not say %q", err, fragment)
	}
	if len(err.Error()) > 500 {
		t.Errorf("the error has %d bytes", len(err.Error()))
	}
}

// signAnything signs a payload as another signer may: without the checks of a
// request.
func signAnything(t testing.TB, p Payload) *License {
	t.Helper()
	s := newSigner(t, "rsa", at(issued))
	data, err := signedBytes(s.keyID, &p)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := sign(s.key, s.public, data)
	if err != nil {
		t.Fatal(err)
	}
	return &License{KeyID: s.keyID, Payload: p, Signature: sig}
}

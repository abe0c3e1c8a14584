package license

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/bom"
)

const (
	minRSABits = 2048
	maxRSABits = 8192

	// saltLength is the salt of the RSA-PSS signatures made here, in bytes.
	// Signatures with any other verify too.
	saltLength = 32

	maxPEM = 64 << 10
)

// KeyID names a public key: the SHA-256 of its SubjectPublicKeyInfo in DER
// (RFC 5280, section 4.1), in lower-case hexadecimal. The error says that the
// key is of a kind that no license is signed with.
func KeyID(pub crypto.PublicKey) (string, error) {
	if err := checkKey(pub); err != nil {
		return "", err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return "", fmt.Errorf("encoding the public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}

// checkKey makes sure that the key's kind fixes an algorithm: RSASSA-PSS with
// SHA-256 (RFC 8017, section 8.1), Ed25519 (RFC 8032) or ECDSA on P-256 with
// SHA-256 (FIPS 186-5). A license never chooses one.
func checkKey(pub crypto.PublicKey) error {
	const want = "want RSA of 2048 bits or more, Ed25519, or ECDSA on P-256"
	switch key := pub.(type) {
	case *rsa.PublicKey:
		if key == nil || key.N == nil {
			return errors.New("the RSA key is empty; " + want)
		}
		if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return fmt.Errorf("the RSA key has %d bits; want %d to %d", bits, minRSABits, maxRSABits)
		}
		return nil
	case *ecdsa.PublicKey:
		if key == nil || key.Curve != elliptic.P256() {
			return errors.New("the ECDSA key is on another curve; " + want)
		}
		return nil
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return errors.New("the Ed25519 key has a wrong length; " + want)
		}
		return nil
	}
	return fmt.Errorf("a key of type %T cannot sign licenses; %s", pub, want)
}

// verify reports whether sig is the key's signature of data. The key has passed
// checkKey.
func verify(pub crypto.PublicKey, data, sig []byte) bool {
	digest := sha256.Sum256(data)
	switch key := pub.(type) {
	case *rsa.PublicKey:
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: crypto.SHA256}
		return rsa.VerifyPSS(key, crypto.SHA256, digest[:], sig, opts) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest[:], sig)
	case ed25519.PublicKey:
		return ed25519.Verify(key, data, sig)
	}
	return false
}

// sign makes a signature that verify accepts, in standard base64, and makes sure that it
// does: a faulty key service is better found here than at a customer's.
func sign(key crypto.Signer, pub crypto.PublicKey, data []byte) (string, error) {
	digest := sha256.Sum256(data)
	message, opts := digest[:], crypto.SignerOpts(crypto.SHA256)
	switch pub.(type) {
	case *rsa.PublicKey:
		opts = &rsa.PSSOptions{SaltLength: saltLength, Hash: crypto.SHA256}
	case ed25519.PublicKey:
		message, opts = data, crypto.Hash(0)
	}
	sig, err := key.Sign(rand.Reader, message, opts)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	if !verify(pub, data, sig) {
		return "", errors.New("signing: the key made a signature that does not verify")
	}
	return base64.StdEncoding.EncodeToString(sig), nil
}

// ParsePublicKeys reads all public keys of a PEM text (RFC 7468): PUBLIC KEY, or
// RSA PUBLIC KEY (RFC 8017, appendix A.1.1). There must be at least one, and
// nothing else; a private key is refused with a word of warning. What stands
// between the blocks is ignored.
func ParsePublicKeys(data []byte) ([]crypto.PublicKey, error) {
	if len(data) > maxPEM {
		return nil, fmt.Errorf("reading public keys: %d bytes; want at most %d", len(data), maxPEM)
	}
	data, err := bom.Skip(data)
	if err != nil {
		return nil, fmt.Errorf("reading public keys: %w", err)
	}
	var keys []crypto.PublicKey
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		var key crypto.PublicKey
		switch {
		case block.Type == "PUBLIC KEY":
			key, err = x509.ParsePKIXPublicKey(block.Bytes)
		case block.Type == "RSA PUBLIC KEY":
			key, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, fmt.Errorf("reading public key %d: this is a private key, which has no place where licenses are verified; want its public key", len(keys)+1)
		default:
			return nil, fmt.Errorf("reading public key %d: a PEM block of type %s; want PUBLIC KEY", len(keys)+1, quote(block.Type))
		}
		if err != nil {
			return nil, fmt.Errorf("reading public key %d: not a public key: %w", len(keys)+1, err)
		}
		if err := checkKey(key); err != nil {
			return nil, fmt.Errorf("reading public key %d: %w", len(keys)+1, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("reading public keys: no PEM block found; want -----BEGIN PUBLIC KEY-----")
	}
	return keys, nil
}

// EncodePublicKey gives the key as a PEM block PUBLIC KEY, which
// [ParsePublicKeys] reads.
func EncodePublicKey(pub crypto.PublicKey) ([]byte, error) {
	if err := checkKey(pub); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encoding the public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// TrustedKey is a public key whose licenses are accepted, and for how long.
type TrustedKey struct {
	// Key is the public key: *rsa.PublicKey of 2048 bits or more,
	// ed25519.PublicKey, or *ecdsa.PublicKey on P-256.
	Key crypto.PublicKey

	// NotAfterIssue retires the key: it is good only for licenses issued
	// before this time. The zero time is no limit. The time of issue is what
	// the signer wrote, so retiring does not help against a key in wrong
	// hands; for that there is Revoked.
	NotAfterIssue time.Time

	// Revoked makes the key good for no license at all.
	Revoked bool
}

// KeySet holds the trusted keys by their id. It never changes, so any number of
// goroutines may share it. A nil KeySet trusts nobody.
type KeySet struct {
	keys map[string]TrustedKey
}

// NewKeySet makes a set of keys. A key of the wrong kind or one given twice is an
// error.
func NewKeySet(keys ...TrustedKey) (*KeySet, error) {
	s := &KeySet{keys: make(map[string]TrustedKey, len(keys))}
	for i, k := range keys {
		id, err := KeyID(k.Key)
		if err != nil {
			return nil, fmt.Errorf("trusted key %d: %w", i+1, err)
		}
		if _, ok := s.keys[id]; ok {
			return nil, fmt.Errorf("trusted key %d: the key %s is given twice; want each key once", i+1, id)
		}
		s.keys[id] = k
	}
	return s, nil
}

// find returns the key that may verify what has this id of a key and time of issue:
// a license, list or response.
func (s *KeySet) find(what, id string, issuedAt int64) (crypto.PublicKey, error) {
	if s == nil {
		s = &KeySet{}
	}
	k, ok := s.keys[id]
	switch {
	case !ok:
		return nil, refusedFor(ReasonUnknownKey, id, len(s.keys), what)
	case k.Revoked:
		return nil, refusedFor(ReasonRevokedKey, id, what)
	case !k.NotAfterIssue.IsZero() && issuedAt >= k.NotAfterIssue.Unix():
		return nil, refusedFor(ReasonRetiredKey, id, what, stamp(k.NotAfterIssue.Unix()), stamp(issuedAt))
	}
	return k.Key, nil
}

// stamp shows a time to people.
func stamp(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

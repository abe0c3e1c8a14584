package sso

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/internal/bom"
)

// minSigningBits is the shortest RSA key that may sign answers; maxSigningBits
// the longest that does so in bearable time.
const (
	minSigningBits = 2048
	maxSigningBits = 8192
)

// ParseSigningKey reads the RSA key that signs answers: PEM of PKCS#8 (RFC 5208)
// or PKCS#1 (RFC 8017), not encrypted, 2048 to 8192 bits. Errors quote nothing
// of it.
func ParseSigningKey(data []byte) (*rsa.PrivateKey, error) {
	data, err := bom.Skip(data)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("it is not PEM: it must begin with -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----")
	}
	var parsed any
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("it is PEM of type %.40q: it must be PRIVATE KEY or RSA PRIVATE KEY, not encrypted", block.Type)
	}
	if err != nil {
		return nil, errors.New("its content cannot be read: it must be an unencrypted PKCS#8 or PKCS#1 key")
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("it is not an RSA key: clients check RSA signatures only")
	}
	if err := checkSigningKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

func checkSigningKey(key *rsa.PrivateKey) error {
	if key.N == nil {
		return errors.New("it has no modulus: it is no key")
	}
	if bits := key.N.BitLen(); bits < minSigningBits || bits > maxSigningBits {
		return fmt.Errorf("it has %d bits: %d to %d are possible", bits, minSigningBits, maxSigningBits)
	}
	if key.Validate() != nil {
		return errors.New("its numbers do not belong together: it is damaged")
	}
	return nil
}

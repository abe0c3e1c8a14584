package idp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // ES384, ES512 and their RSA siblings
	"encoding/base64"
	"fmt"
	"math/big"
)

// family says which kind of key an algorithm takes.
type family int

const (
	rsaPKCS1 family = iota
	rsaPSS
	ecDSA
	edDSA
)

// algorithm is one row of RFC 7518 §3.1, or RFC 8037 §3.1.
type algorithm struct {
	family family
	hash   crypto.Hash
	curve  elliptic.Curve
	crv    string
}

var algorithms = map[string]algorithm{
	"RS256": {family: rsaPKCS1, hash: crypto.SHA256},
	"RS384": {family: rsaPKCS1, hash: crypto.SHA384},
	"RS512": {family: rsaPKCS1, hash: crypto.SHA512},
	"PS256": {family: rsaPSS, hash: crypto.SHA256},
	"PS384": {family: rsaPSS, hash: crypto.SHA384},
	"PS512": {family: rsaPSS, hash: crypto.SHA512},
	"ES256": {family: ecDSA, hash: crypto.SHA256, curve: elliptic.P256(), crv: "P-256"},
	"ES384": {family: ecDSA, hash: crypto.SHA384, curve: elliptic.P384(), crv: "P-384"},
	"ES512": {family: ecDSA, hash: crypto.SHA512, curve: elliptic.P521(), crv: "P-521"},
	"EdDSA": {family: edDSA, crv: "Ed25519"},
}

// sign makes the signature part of a JWS over input. A key of another family than
// the algorithm's is an error.
func (a algorithm) sign(key crypto.Signer, input []byte) ([]byte, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		return a.signRSA(k, input)
	case *ecdsa.PrivateKey:
		return a.signECDSA(k, input)
	case ed25519.PrivateKey:
		if a.family == edDSA {
			return ed25519.Sign(k, input), nil
		}
	}
	return nil, fmt.Errorf("the key of type %T does not fit the algorithm", key)
}

func (a algorithm) signRSA(k *rsa.PrivateKey, input []byte) ([]byte, error) {
	switch a.family {
	case rsaPKCS1:
		return rsa.SignPKCS1v15(rand.Reader, k, a.hash, a.digest(input))
	case rsaPSS:
		// RFC 7518 §3.5: the salt is as long as the hash.
		opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return rsa.SignPSS(rand.Reader, k, a.hash, a.digest(input), opts)
	}
	return nil, fmt.Errorf("an RSA key does not fit the algorithm")
}

// signECDSA writes r and s at full width, one after the other (RFC 7518 §3.4).
func (a algorithm) signECDSA(k *ecdsa.PrivateKey, input []byte) ([]byte, error) {
	if a.family != ecDSA || k.Curve != a.curve {
		return nil, fmt.Errorf("an EC key on %s does not fit the algorithm", k.Params().Name)
	}
	r, s, err := ecdsa.Sign(rand.Reader, k, a.digest(input))
	if err != nil {
		return nil, err
	}
	size := (a.curve.Params().BitSize + 7) / 8
	sig := make([]byte, 2*size)
	r.FillBytes(sig[:size])
	s.FillBytes(sig[size:])
	return sig, nil
}

func (a algorithm) digest(input []byte) []byte {
	h := a.hash.New()
	h.Write(input)
	return h.Sum(nil)
}

// HMACSHA256 signs as HS256 would, for tests that forge tokens with a public key
// as the secret.
func HMACSHA256(secret []byte) func(input []byte) []byte {
	return func(input []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil)
	}
}

// NoSignature leaves the signature empty, as `alg` "none" has it.
func NoSignature([]byte) []byte { return nil }

// publicJWK renders a public key (RFC 7517, RFC 7518 §6, RFC 8037 §2).
func publicJWK(pub crypto.PublicKey) (map[string]any, error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		e := big.NewInt(int64(k.E)).Bytes()
		return map[string]any{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(e)}, nil
	case *ecdsa.PublicKey:
		point, err := k.Bytes() // 0x04, x, y
		if err != nil {
			return nil, err
		}
		half := (len(point) - 1) / 2
		return map[string]any{
			"kty": "EC", "crv": k.Params().Name,
			"x": b64(point[1 : 1+half]), "y": b64(point[1+half:]),
		}, nil
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(k)}, nil
	}
	return nil, fmt.Errorf("no JWK form for a key of type %T", pub)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

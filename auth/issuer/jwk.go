package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

const (
	minRSABits       = 2048 // RFC 7518 §3.3
	maxRSABits       = 8192 // beyond it one signature costs too much
	maxKeyID         = 512  // bytes
	maxExponent      = 1<<24 - 1
	maxExponentChars = 11 // 64 bits; jwx silently cuts a longer one off
	maxModulusChars  = maxRSABits/6 + 8
)

// keyMembers are the members of a JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2)
// that make up a public key. What else an issuer writes beside them cannot cost the
// key.
type keyMembers struct {
	Type      string `json:"kty"`
	ID        string `json:"kid,omitempty"`
	Algorithm string `json:"alg,omitempty"`
	Use       string `json:"use,omitempty"`
	Modulus   string `json:"n,omitempty"`
	Exponent  string `json:"e,omitempty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	X5T       string `json:"x5t,omitempty"`
	X5TS256   string `json:"x5t#S256,omitempty"`
}

// errOtherUse marks a key that is fine but not for verifying signatures.
var errOtherUse = errors.New("is for another use than signatures")

// readKey reads the members that matter of one key of a set; null counts as none,
// as some issuers write it. It refuses secrets, which an issuer must not publish
// and nobody may trust once they are, and keys that are for something else. The id
// is there also with an error, if it could be read.
func readKey(data []byte) (m keyMembers, err error) {
	texts := map[string]*string{
		"kid": &m.ID, "kty": &m.Type, "alg": &m.Algorithm, "use": &m.Use, "n": &m.Modulus, "e": &m.Exponent,
		"crv": &m.Curve, "x": &m.X, "y": &m.Y,
	}
	found, err := pick(data, append(slices.Collect(maps.Keys(texts)), "x5t", "x5t#S256", "key_ops", "k", "d")...)
	if err != nil {
		return m, fmt.Errorf("is malformed: it %w", err)
	}
	for name, to := range texts {
		if present(found[name]) && json.Unmarshal(found[name], to) != nil {
			err = fmt.Errorf("is malformed: its `%s` is no text in UTF-8", name)
		}
	}
	m.X5T, _ = textIn(found["x5t"]) // no more than hints
	m.X5TS256, _ = textIn(found["x5t#S256"])
	var operations []string
	limited := present(found["key_ops"])
	if limited && json.Unmarshal(found["key_ops"], &operations) != nil {
		err = errors.New("is malformed: its `key_ops` is no list of texts")
	}
	switch {
	case err != nil:
		return m, err
	case len(m.ID) > maxKeyID:
		return keyMembers{}, fmt.Errorf("has a kid of %d bytes: at most %d", len(m.ID), maxKeyID)
	case m.Type == "oct" || present(found["k"]):
		return m, errors.New("is symmetric: whoever reads the set could sign with it")
	case present(found["d"]):
		return m, errors.New("is a private key: whoever reads the set can sign with it")
	case m.Use != "" && m.Use != "sig", limited && !slices.Contains(operations, "verify"):
		return m, errOtherUse
	}
	return m, nil
}

// present reports whether a member is there.
func present(v jsontext.Value) bool { return len(v) > 0 && v.Kind() != 'n' }

// key builds the public key with jwx and checks what jwx does not.
func (m keyMembers) key() (*Key, error) {
	minimal, err := m.minimal()
	if err != nil {
		return nil, err
	}
	var parsed jwk.Key
	var public any
	data, err := json.Marshal(minimal)
	if err == nil {
		parsed, err = jwk.ParseKey(data)
	}
	if err == nil {
		err = parsed.Raw(&public)
	}
	if err != nil {
		return nil, errors.New("is malformed: its numbers are missing or not base64url")
	}
	kind, err := checkPublic(public)
	if err != nil {
		return nil, err
	}
	// Only now: jwx panics over coordinates that are too long for their curve.
	thumb, err := parsed.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, errors.New("is malformed: it has no thumbprint")
	}
	k := &Key{
		id: m.ID, alg: m.Algorithm, use: m.Use, kind: kind, public: public,
		thumb: base64.RawURLEncoding.EncodeToString(thumb), members: m,
	}
	if k.alg != "" && !k.Fits(k.alg) {
		return nil, fmt.Errorf("has an alg that is not supported, or not for a key of kind %s", kind)
	}
	return k, nil
}

// minimal keeps the members that the key's type is made of.
func (m keyMembers) minimal() (keyMembers, error) {
	switch {
	case m.Type == "RSA" && len(m.Modulus) > maxModulusChars:
		return keyMembers{}, fmt.Errorf("is an RSA key of more than %d bits", maxRSABits)
	case m.Type == "RSA" && len(strings.TrimRight(m.Exponent, "=")) > maxExponentChars:
		return keyMembers{}, errors.New("is an RSA key with an absurd exponent")
	case m.Type == "RSA":
		return keyMembers{Type: m.Type, Modulus: m.Modulus, Exponent: m.Exponent}, nil
	case m.Type == "EC" && (m.Curve == kindP256 || m.Curve == kindP384 || m.Curve == kindP521):
		return keyMembers{Type: m.Type, Curve: m.Curve, X: m.X, Y: m.Y}, nil
	case m.Type == "OKP" && m.Curve == kindEd25519:
		return keyMembers{Type: m.Type, Curve: m.Curve, X: m.X}, nil
	case m.Type == "EC":
		return keyMembers{}, errors.New("is on a curve that is not supported: P-256, P-384 and P-521 are")
	case m.Type == "OKP":
		return keyMembers{}, errors.New("is on a curve that is not supported: Ed25519 is")
	}
	return keyMembers{}, errors.New("is of a type that is not supported: RSA, EC and OKP are")
}

// checkPublic refuses keys that no signature of may be believed, and names the
// kind of the others.
func checkPublic(public crypto.PublicKey) (string, error) {
	switch p := public.(type) {
	case *rsa.PublicKey:
		return kindRSA, checkRSA(p)
	case *ecdsa.PublicKey:
		// The conversion is the one check of the standard library that the point
		// is on its curve.
		if _, err := p.ECDH(); err != nil {
			return "", errors.New("is not a point of its curve")
		}
		return p.Curve.Params().Name, nil
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			return "", fmt.Errorf("has %d bytes where Ed25519 has %d", len(p), ed25519.PublicKeySize)
		}
		return kindEd25519, nil
	}
	return "", errors.New("is of a type that is not supported: RSA, EC and OKP are")
}

func checkRSA(p *rsa.PublicKey) error {
	bits := p.N.BitLen()
	switch {
	case bits < minRSABits:
		return fmt.Errorf("is an RSA key of %d bits: at least %d are needed", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("is an RSA key of %d bits: at most %d are taken", bits, maxRSABits)
	case p.N.Bit(0) == 0:
		return errors.New("is an RSA key with an even modulus")
	case p.E < 3 || p.E > maxExponent || p.E%2 == 0:
		return errors.New("is an RSA key whose exponent is not an odd number from 3 to 2^24")
	case hasROCA(p.N):
		return errors.New("is an RSA key with the ROCA weakness (CVE-2017-15361): its private key can be computed")
	}
	return nil
}

// rocaPrimes are the small primes whose residues give away a modulus made by
// the faulty generator of CVE-2017-15361 (Nemec et al., "The Return of
// Coppersmith's Attack", 2017): its primes are powers of 65537 modulo each.
var rocaPrimes = []int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73,
	79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157,
	163, 167,
}

// rocaResidues holds, for each of those primes, the residues that a power of
// 65537 can have.
var rocaResidues = func() []map[int64]bool {
	all := make([]map[int64]bool, len(rocaPrimes))
	for i, p := range rocaPrimes {
		all[i] = map[int64]bool{}
		for r := int64(1); !all[i][r]; r = r * 65537 % p {
			all[i][r] = true
		}
	}
	return all
}()

// hasROCA reports whether the modulus bears the fingerprint; one made otherwise
// does with a chance of about 2^-28.
func hasROCA(n *big.Int) bool {
	var p, r big.Int
	for i, prime := range rocaPrimes {
		if !rocaResidues[i][r.Mod(n, p.SetInt64(prime)).Int64()] {
			return false
		}
	}
	return true
}

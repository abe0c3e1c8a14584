package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
)

// The bounds of RSA keys.
const (
	MinRSABits = 2048 // RFC 7518, section 3.3
	MaxRSABits = 8192 // beyond it one signature costs too much

	maxExponent = 1<<24 - 1
)

// CheckPublic refuses keys that no signature of may be believed, and names the
// kind of the others.
func CheckPublic(public crypto.PublicKey) (string, error) {
	switch p := public.(type) {
	case *rsa.PublicKey:
		return KindRSA, checkRSA(p)
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
		return KindEd25519, nil
	}
	return "", errors.New("is of a type that is not supported: RSA, EC and OKP are")
}

func checkRSA(p *rsa.PublicKey) error {
	bits := p.N.BitLen()
	switch {
	case bits < MinRSABits:
		return fmt.Errorf("is an RSA key of %d bits: at least %d are needed", bits, MinRSABits)
	case bits > MaxRSABits:
		return fmt.Errorf("is an RSA key of %d bits: at most %d are taken", bits, MaxRSABits)
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

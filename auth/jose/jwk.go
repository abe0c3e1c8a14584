package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
)

// PublicJWK is a public key as its holder wrote it (RFC 7517; RFC 7518, section 6;
// RFC 8037, section 2).
type PublicJWK struct {
	Key        crypto.PublicKey // *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey
	Kind       string
	Thumbprint [sha256.Size]byte // RFC 7638
}

// ErrPrivate is a key that only its holder may know.
var ErrPrivate = errors.New("holds a private or a symmetric key")

// privateMembers are those that hold secrets (RFC 7518, sections 6.2.2, 6.3.2 and
// 6.4.1).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// ParsePublicJWK reads a key by the members that make it up, in the one spelling
// that each number has, and refuses what [CheckPublic] refuses. It takes a tenth of
// the time that jwx takes, which counts where each request brings its key along.
func ParsePublicJWK(members Object) (k PublicJWK, err error) {
	for _, name := range privateMembers {
		if _, present := members.Get(name); present {
			return k, ErrPrivate
		}
	}
	kty, _ := members.Text("kty")
	crv, _ := members.Text("crv")
	switch string(kty) {
	case "EC":
		err = k.readEC(members, string(crv))
	case "OKP":
		err = k.readOKP(members, string(crv))
	case "RSA":
		err = k.readRSA(members)
	case "oct":
		err = ErrPrivate
	default:
		err = errors.New("is of a type that is not supported: RSA, EC and OKP are")
	}
	return k, err
}

func (k *PublicJWK) readEC(members Object, crv string) error {
	var curve elliptic.Curve
	switch crv {
	case KindP256:
		curve = elliptic.P256()
	case KindP384:
		curve = elliptic.P384()
	case KindP521:
		curve = elliptic.P521()
	default:
		return errors.New("is on a curve that is not supported: P-256, P-384 and P-521 are")
	}
	size := (curve.Params().BitSize + 7) / 8
	point := append(make([]byte, 0, 1+2*66), 4) // uncompressed (SEC 1, section 2.3.3)
	x, point := number(members, "x", point)
	if len(point) != 1+size {
		return errNumber
	}
	y, point := number(members, "y", point)
	if len(point) != 1+2*size {
		return errNumber
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return errors.New("is not a point of its curve")
	}
	k.Key, k.Kind = public, crv
	k.thumb(`{"crv":"`, crv, `","kty":"EC","x":"`, x, `","y":"`, y, `"}`)
	return nil
}

func (k *PublicJWK) readOKP(members Object, crv string) error {
	if crv != KindEd25519 {
		return errors.New("is on a curve that is not supported: Ed25519 is")
	}
	x, public := number(members, "x", make([]byte, 0, ed25519.PublicKeySize))
	if len(public) != ed25519.PublicKeySize {
		return errNumber
	}
	k.Key, k.Kind = ed25519.PublicKey(public), KindEd25519
	k.thumb(`{"crv":"Ed25519","kty":"OKP","x":"`, x, `"}`)
	return nil
}

// readRSA refuses leading zeros, too: the thumbprint is over the text.
func (k *PublicJWK) readRSA(members Object) (err error) {
	n, modulus := number(members, "n", nil)
	e, exponent := number(members, "e", nil)
	if len(modulus) == 0 || modulus[0] == 0 || len(exponent) == 0 || exponent[0] == 0 {
		return errNumber
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus)}
	for _, b := range exponent[:min(len(exponent), 3)] {
		public.E = public.E<<8 | int(b)
	}
	if len(exponent) > 3 {
		public.E = maxExponent + 1
	}
	k.Key = public
	if k.Kind, err = CheckPublic(public); err != nil {
		return err
	}
	k.thumb(`{"e":"`, e, `","kty":"RSA","n":"`, n, `"}`)
	return nil
}

var errNumber = errors.New("is malformed: its numbers are missing or not in their one spelling")

// number gives a member as it is written, and its bytes behind room; nothing there
// if it is not base64url.
func number(members Object, name string, room []byte) (text string, whole []byte) {
	written, ok := members.Text(name)
	if !ok {
		return "", room
	}
	_, whole, ok = AppendBase64URL(room, written)
	if !ok {
		return "", room
	}
	return string(written), whole
}

// thumb takes the text of RFC 7638, section 3, piece by piece. What stands in it is
// base64url or one of our own names, so that nothing needs to be escaped.
func (k *PublicJWK) thumb(pieces ...string) {
	var room [256]byte
	text := room[:0]
	for _, piece := range pieces {
		text = append(text, piece...)
	}
	k.Thumbprint = sha256.Sum256(text)
}

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

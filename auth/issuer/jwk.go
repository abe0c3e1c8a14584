package issuer

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

const (
	maxKeyID         = 512 // bytes
	maxExponentChars = 11  // 64 bits; jwx silently cuts a longer one off
	maxModulusChars  = jose.MaxRSABits/6 + 8
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
	Issuer    string `json:"issuer,omitempty"` // the only one that it is good for, in Entra's sets
}

// The uses of keys in the bundles of SPIFFE
// (https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md, section 4.2.2).
const (
	useJWTSVID  = "jwt-svid"
	useX509SVID = "x509-svid"
)

// errOtherUse marks a key that is fine but not for verifying signatures.
var errOtherUse = errors.New("is for another use than signatures")

// readKey reads the members that matter of one key of a set; null counts as none,
// as some issuers write it. It refuses secrets, which an issuer must not publish
// and nobody may trust once they are, and keys that are for something else. The id
// is there also with an error, if it could be read. bundle: of a SPIFFE bundle, where
// each key has a use, or is to be ignored.
func readKey(data []byte, bundle bool) (m keyMembers, err error) {
	texts := map[string]*string{
		"kid": &m.ID, "kty": &m.Type, "alg": &m.Algorithm, "use": &m.Use, "n": &m.Modulus, "e": &m.Exponent,
		"crv": &m.Curve, "x": &m.X, "y": &m.Y,
	}
	found, err := pick(data, append(slices.Collect(maps.Keys(texts)), "x5t", "x5t#S256", "issuer", "key_ops", "k", "d")...)
	if err != nil {
		return m, fmt.Errorf("is malformed: it %w", err)
	}
	for name, to := range texts {
		if present(found[name]) && json.Unmarshal(found[name], to) != nil {
			err = fmt.Errorf("is malformed: its `%s` is no text in UTF-8", name)
		}
	}
	m.X5T, _ = textIn(found["x5t"]) // only hints
	m.X5TS256, _ = textIn(found["x5t#S256"])
	var readable bool
	if m.Issuer, readable = textIn(found["issuer"]); !readable {
		m.Issuer = "unreadable" // which no issuer is
	}
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
	case bundle && m.Use != useJWTSVID, !bundle && m.Use != "" && m.Use != "sig", limited && !slices.Contains(operations, "verify"):
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
	kind, err := jose.CheckPublic(public)
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
		return keyMembers{}, fmt.Errorf("is an RSA key of more than %d bits", jose.MaxRSABits)
	case m.Type == "RSA" && len(strings.TrimRight(m.Exponent, "=")) > maxExponentChars:
		return keyMembers{}, errors.New("is an RSA key with an absurd exponent")
	case m.Type == "RSA":
		return keyMembers{Type: m.Type, Modulus: m.Modulus, Exponent: m.Exponent}, nil
	case m.Type == "EC" && (m.Curve == jose.KindP256 || m.Curve == jose.KindP384 || m.Curve == jose.KindP521):
		return keyMembers{Type: m.Type, Curve: m.Curve, X: m.X, Y: m.Y}, nil
	case m.Type == "OKP" && m.Curve == jose.KindEd25519:
		return keyMembers{Type: m.Type, Curve: m.Curve, X: m.X}, nil
	case m.Type == "EC":
		return keyMembers{}, errors.New("is on a curve that is not supported: P-256, P-384 and P-521 are")
	case m.Type == "OKP":
		return keyMembers{}, errors.New("is on a curve that is not supported: Ed25519 is")
	}
	return keyMembers{}, errors.New("is of a type that is not supported: RSA, EC and OKP are")
}

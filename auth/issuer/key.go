package issuer

import (
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// Key is one public key that an issuer signs with. It is immutable but for the
// trust in it, and safe for concurrent use.
type Key struct {
	id        string
	alg       string
	use       string
	kind      string // the key type, or the curve: what an algorithm needs
	public    crypto.PublicKey
	thumb     string // RFC 7638, SHA-256, base64url
	members   keyMembers
	withdrawn atomic.Bool
	trust     *trust // nil: the key belongs to no engine
}

// trust is what all keys of one engine share.
type trust struct {
	until atomic.Int64 // Unix nanoseconds; the keys are too old from then on
	now   func() time.Time
}

func (t *trust) fresh() bool { return t.now().UnixNano() < t.until.Load() }

// ID is the key's `kid`, empty if it has none.
func (k *Key) ID() string { return k.id }

// Public is the key itself: an *rsa.PublicKey, *ecdsa.PublicKey or
// ed25519.PublicKey. It must not be changed.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Fits reports whether a signature by this key may carry the algorithm: type,
// curve and the key's own `alg` must agree with it (RFC 8725 §3.1). EdDSA and
// Ed25519 are two names for the same (RFC 9864).
func (k *Key) Fits(alg string) bool {
	if kind := jose.Kind(alg); kind == "" || kind != k.kind {
		return false
	}
	return k.alg == "" || k.alg == alg || k.kind == jose.KindEd25519
}

// Trusted reports whether the key may still be relied on. It turns false for
// good once the issuer's set no longer holds the key, and while the set is
// older than max_stale, or after the engine was closed. It takes no lock and
// allocates nothing. A key of [Config.ParseJWKS], which has no engine, stays trusted.
func (k *Key) Trusted() bool {
	return !k.withdrawn.Load() && (k.trust == nil || k.trust.fresh())
}

// TrustedAt is [Key.Trusted] at a time that is known already, in Unix seconds:
// reading the clock would cost more than everything else.
func (k *Key) TrustedAt(now int64) bool {
	return !k.withdrawn.Load() && (k.trust == nil || now*int64(time.Second) < k.trust.until.Load())
}

// Name is what people call the key: its id, or its RFC 7638 thumbprint.
func (k *Key) Name() string {
	if k.id != "" {
		return k.id
	}
	return k.thumb
}

// identity is what makes two keys the same.
func (k *Key) identity() [5]string {
	return [5]string{k.thumb, k.id, k.alg, k.use, k.members.Issuer}
}

// isFor tells whether the key may sign tokens of an issuer: one that names an issuer
// of its own is good for that one only, which may stand for every tenant.
func (k *Key) isFor(issuer string) bool {
	own := k.members.Issuer
	if own == "" || issuer == "" || own == issuer {
		return true
	}
	before, after, several := strings.Cut(own, TenantPlaceholder)
	if !several || len(issuer) <= len(before)+len(after) || !strings.HasPrefix(issuer, before) || !strings.HasSuffix(issuer, after) {
		return false
	}
	return !strings.Contains(issuer[len(before):len(issuer)-len(after)], "/")
}

// The bounds of how many keys are tried for one token.
const (
	maxTried = 32
	maxWork  = 10_000 // microseconds, about
)

// Hint is what a token's header says of the key that signed it (RFC 7515 §4.1).
// None of it is to be believed before the signature is.
type Hint struct {
	Algorithm string
	// KeyID is its `kid`, and HasKeyID whether there is one.
	KeyID    string
	HasKeyID bool
	// X5T and X5TS256 are its `x5t` and `x5t#S256`, empty if it has none.
	X5T, X5TS256 string
	// Issuer is the token's issuer where several share the set, so that keys which
	// are another issuer's are left out; empty: they are not.
	Issuer string
}

// Choice is the keys of a set that may have signed a token.
type Choice struct {
	// Keys are those to try, in the issuer's order.
	Keys []*Key
	// Known: the set holds a key of the token's id, whether it fits or not.
	Known bool
	// Left is how many more would fit, but are not tried because that is too much
	// work. If it is not 0, a token that none of Keys signed may still be good.
	Left int
	// Foreign: a key of the token's id is another issuer's.
	Foreign bool
}

// Choose finds the keys that may have signed a token: those that fit its
// algorithm, have its key id if it names one, and its certificate if it names one
// and any key has it. At most 32 are tried, and less where a signature costs much.
func (s *JWKS) Choose(hint Hint) (c Choice) {
	if s == nil {
		return c
	}
	keys := s.keys
	if hint.HasKeyID {
		keys = s.byID[hint.KeyID]
		c.Known = len(keys) > 0
	}
	byCertificate := slices.ContainsFunc(keys, hint.sameCertificate)
	work := 0
	for _, k := range keys {
		if !k.isFor(hint.Issuer) {
			c.Foreign = c.Known
			continue
		}
		if !k.Fits(hint.Algorithm) || byCertificate && !hint.sameCertificate(k) {
			continue
		}
		if len(c.Keys) > 0 && (len(c.Keys) == maxTried || work+k.work() > maxWork) {
			c.Left++
			continue
		}
		work += k.work()
		c.Keys = append(c.Keys, k)
	}
	return c
}

func (h Hint) sameCertificate(k *Key) bool {
	return h.X5TS256 != "" && h.X5TS256 == k.members.X5TS256 || h.X5T != "" && h.X5T == k.members.X5T
}

// work is about how long one signature takes to verify, in microseconds.
func (k *Key) work() int {
	switch k.kind {
	case jose.KindRSA:
		public := k.public.(*rsa.PublicKey)
		words, steps := public.N.BitLen()/1024, 1
		for e := public.E; e > 1; e /= 2 {
			steps++
		}
		return words * words * steps / 2
	case jose.KindP384:
		return 700
	case jose.KindP521:
		return 2000
	}
	return 100
}

// costly says for which algorithms a set holds more keys than are tried for a
// token that names none; nil if for none.
func (s *JWKS) costly() error {
	for _, algorithm := range slices.Sorted(slices.Values(jose.Algorithms)) {
		if c := s.Choose(Hint{Algorithm: algorithm}); c.Left > 0 {
			return fmt.Errorf("the set has %d keys for %s: only the first %d are tried for a token that names no key",
				len(c.Keys)+c.Left, algorithm, len(c.Keys))
		}
	}
	return nil
}

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

package introspection

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

// PrivateKey signs the assertions by which a client proves who it is.
type PrivateKey struct {
	key       jwk.Key
	algorithm jwa.SignatureAlgorithm
	id        string // a digest
}

// assertionTime is how long an assertion is good.
const assertionTime = time.Minute

// ParsePrivateKey reads a private key: PEM (PKCS #8, PKCS #1 or SEC 1), or a JWK,
// whose kid and alg the assertions then carry. Without alg they are signed by RS256,
// ES256, ES384, ES512 or EdDSA, as the key is.
func ParsePrivateKey(data []byte) (*PrivateKey, error) {
	key, err := jwk.ParseKey(data)
	if err != nil {
		key, err = jwk.ParseKey(data, jwk.WithPEM(true))
	}
	if err != nil {
		return nil, errors.New("expected one private key, as PEM or as a JWK")
	}
	private, err := jwk.IsPrivateKey(key)
	if err != nil || !private {
		return nil, errors.New("expected a private key, RSA, EC or Ed25519")
	}
	public, err := key.PublicKey()
	if err != nil {
		return nil, errors.New("expected a private key, RSA, EC or Ed25519")
	}
	var raw any
	if err := public.Raw(&raw); err != nil {
		return nil, errors.New("expected a private key, RSA, EC or Ed25519")
	}
	kind, err := jose.CheckPublic(raw)
	if err != nil {
		return nil, fmt.Errorf("the key %w", err)
	}
	algorithm := key.Algorithm().String()
	if algorithm == "" {
		algorithm = map[string]string{
			jose.KindRSA: "RS256", jose.KindP256: "ES256", jose.KindP384: "ES384", jose.KindP521: "ES512", jose.KindEd25519: "EdDSA",
		}[kind]
	}
	if jose.Kind(algorithm) != kind {
		return nil, fmt.Errorf("the key is of the kind %s, and its alg says otherwise", kind)
	}
	if algorithm == "Ed25519" {
		algorithm = "EdDSA" // another name for the same (RFC 9864)
	}
	digest := sha256.Sum256(data)
	return &PrivateKey{key, jwa.SignatureAlgorithm(algorithm), hex.EncodeToString(digest[:])}, nil
}

// assertion is a JWT by which a client proves who it is to an issuer (RFC 7523,
// section 3): good once, for a minute.
func (k *PrivateKey) assertion(client, issuer string, now time.Time) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"iss": client, "sub": client, "aud": issuer, "jti": uuid.NewString(),
		"iat": now.Unix(), "exp": now.Add(assertionTime).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("making the client's assertion: %w", err)
	}
	signed, err := jws.Sign(claims, jws.WithKey(k.algorithm, k.key))
	if err != nil {
		return "", fmt.Errorf("signing the client's assertion: %w", err)
	}
	return string(signed), nil
}

// String keeps the key out of whatever shows a configuration.
func (k *PrivateKey) String() string { return "a private key" }

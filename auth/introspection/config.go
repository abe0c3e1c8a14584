// Package introspection asks a token issuer what a token is worth (RFC 7662), for
// tokens that say nothing by themselves, and for those that may be revoked before
// they expire.
//
// A [Client] belongs to one issuer. It asks about a token once, however many
// requests bring it; few questions are under way at a time, and invented tokens are
// asked about at a bounded rate, while tokens that were good go first. That a token
// is not active is remembered for some seconds. No answer is an
// [*UnavailableError], and never means that a token is not active.
//
// What an answer must say besides is for its callers, and so is keeping a good one,
// until [Config.ServesUntil].
package introspection

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/jose"
)

const (
	maxPrefixes    = 32
	maxPrefixBytes = 256
)

// Config says how one issuer is asked, about which tokens, and what its answers are
// good for.
type Config struct {
	// Endpoint is the address to ask at (RFC 7662, section 2). Empty: what the
	// issuer's metadata say, of its mTLS endpoint aliases (RFC 8705, section 5)
	// first where CertificateFile is set.
	Endpoint string
	// CA is a PEM file of certificates trusted there, instead of the system's roots.
	CA string
	// InsecureHTTP allows http to more than loopback.
	InsecureHTTP bool
	// ClientID is what this server is called at the issuer. Required.
	ClientID string

	// Exactly one of the following three proves that.

	// ClientSecret is sent by client_secret_basic (RFC 6749, section 2.3.1), or by
	// client_secret_post where the issuer's metadata list only that.
	ClientSecret string
	// PrivateKey signs an assertion for each question (private_key_jwt: RFC 7523,
	// section 2.2).
	PrivateKey *PrivateKey
	// CertificateFile and KeyFile are PEM files of the client's certificate for
	// mutual TLS (RFC 8705, section 2). They are read anew for each connection, so
	// they may be renewed in place.
	CertificateFile, KeyFile string

	// All also asks about JWTs of the issuer that are good by themselves, so that
	// their revocation is seen. False: only what is no JWT is asked about.
	All bool
	// Prefixes are how tokens begin that are sent to this issuer; empty: all that
	// no other issuer's prefix fits.
	Prefixes []string
	// Cache is how long a good answer serves: the longest that a revocation goes
	// unseen. Zero: each request asks.
	Cache time.Duration
	// Signed asks for signed answers (RFC 9701), and takes no other.
	Signed bool
	// ClientAsAudience lets the answer's client_id stand in where it has no aud and
	// says that the token is an access token.
	ClientAsAudience bool
}

// Validate says what is wrong with the configuration, by the names of its options.
// The source is the issuer's. It does no I/O.
func (c Config) Validate(source issuer.Config) error {
	proofs := 0
	for _, given := range []bool{c.ClientSecret != "", c.PrivateKey != nil, c.CertificateFile != "" || c.KeyFile != ""} {
		if given {
			proofs++
		}
	}
	switch {
	case c.ClientID == "":
		return errors.New("client_id: the name of this server at the issuer is required")
	case proofs == 0:
		return errors.New("expected one of client_secret, private_key and certificate: an issuer answers only to whom it knows")
	case proofs > 1:
		return errors.New("found more than one of client_secret, private_key and certificate, expected one")
	case (c.CertificateFile == "") != (c.KeyFile == ""):
		return errors.New("certificate: expected two files, of the certificate and of its key")
	case c.Cache < 0 || c.Cache > MaxCache || c.Cache > 0 && c.Cache < time.Second:
		return fmt.Errorf("cache: found %s, expected 0s, or 1s to %s", c.Cache, MaxCache)
	case c.Endpoint == "" && source.JWKSFile != "":
		return errors.New("endpoint: required beside jwks_file, with which no metadata are fetched")
	}
	if c.Endpoint != "" {
		if err := issuer.CheckURL(c.Endpoint, c.InsecureHTTP); err != nil {
			return fmt.Errorf("endpoint: %q %w", c.Endpoint, err)
		}
	}
	return CheckPrefixes(c.Prefixes)
}

// CheckPrefixes says what is wrong with the beginnings of tokens.
func CheckPrefixes(prefixes []string) error {
	if len(prefixes) > maxPrefixes {
		return fmt.Errorf("prefix: found %d, expected at most %d", len(prefixes), maxPrefixes)
	}
	for i, prefix := range prefixes {
		switch {
		case prefix == "" || len(prefix) > maxPrefixBytes || strings.ContainsFunc(prefix, notOfTokens):
			return fmt.Errorf("prefix: found %q, expected the beginning of tokens such as ghs_: letters, digits and -._~+/", prefix)
		case strings.HasPrefix(prefix, "eyJ"):
			return fmt.Errorf("prefix: found %q, which is how JWTs begin: those are known by their iss, and asked about with `tokens all`", prefix)
		case slices.Contains(prefixes[:i], prefix):
			return fmt.Errorf("prefix: found %q twice", prefix)
		}
	}
	return nil
}

// notOfTokens tells what no bearer token has before its padding (RFC 6750, section
// 2.1).
func notOfTokens(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune("-._~+/", r)
}

// CheckAmong says what is wrong with the configurations of several issuers together,
// which are given by the issuers' names, in order: a token must be for one of them.
func CheckAmong(names []string, configs []*Config) error {
	open, owners := "", map[string]string{}
	for i, c := range configs {
		switch {
		case c == nil:
			continue
		case len(c.Prefixes) == 0 && open != "":
			return fmt.Errorf("issuers %q and %q both have introspection without a prefix: a token is sent to one issuer only, so tell by `prefix` in one of them how its tokens begin", open, names[i])
		case len(c.Prefixes) == 0:
			open = names[i]
		}
		for _, prefix := range c.Prefixes {
			if other, taken := owners[prefix]; taken {
				return fmt.Errorf("issuers %q and %q both have the prefix %q: a token is sent to one issuer only", other, names[i], prefix)
			}
			owners[prefix] = names[i]
		}
	}
	return nil
}

// ID is equal for two configurations exactly if they mean the same. It is a digest,
// as it covers secrets.
func (c Config) ID() string {
	key := ""
	if c.PrivateKey != nil {
		key = c.PrivateKey.id
	}
	text, err := json.Marshal([]any{
		c.Endpoint, c.CA, c.InsecureHTTP, c.ClientID, c.ClientSecret, key, c.CertificateFile, c.KeyFile,
		c.All, c.Prefixes, c.Cache, c.Signed, c.ClientAsAudience,
	})
	if err != nil {
		panic(err) // texts, booleans and numbers
	}
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:])
}

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

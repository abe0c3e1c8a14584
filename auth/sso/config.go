// Package sso answers two questions of a licensed application: where do the
// people of this customer account log in, and who did?
//
// A [Service] takes a request for a product and a customer account, decides
// whether the caller may ask (an HMAC over the Date header, or a bearer token
// that the user of the package checks), and answers with the address of the identity
// provider's login page: an authorization request of OAuth 2.0 (RFC 6749,
// sections 4.1.1 and 4.2.1) and OpenID Connect. Requests, answers and errors
// follow LicenseSpring's License API v4, so that clients written for it work
// unchanged.
//
// An account that [Account.Activates] has its logins end here as well: an ID token or
// a code is held against the login that was begun, and answered with whose it is
// ([Service.Identify]). What that person gets for it is for the user of the package.
//
// # What an answer costs
//
// Memory only: accounts and credentials are compiled once, and the provider's
// metadata comes from an engine that keeps it (package issuer). A request waits, 5
// seconds at most, only if no metadata was ever known.
//
// # What never lives here
//
// HTTP routing, paths and methods (405 is the caller's), bearer tokens and their
// verification, licenses, configuration files, logs and metrics. Nothing of a request
// is quoted in a refusal, and no shared key leaves the package.
package sso

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/bom"
)

const (
	// DefaultMaxSkew is how far a Date may be off where nothing else is said.
	DefaultMaxSkew = 15 * time.Minute

	maxMaxSkew = 24 * time.Hour
)

// Config is what a Service is made of. Formatting it shows no secret.
type Config struct {
	// Products are the codes that requests may name, compared byte for byte. At
	// least one is required.
	Products []string

	// Credentials are who may ask by HMAC. None: only bearers of a token may ask.
	Credentials []Credential

	// Accounts are the customer accounts that log in somewhere. At least one is
	// required.
	Accounts []Account

	// ResponseSigningKey signs every address answered (LicenseSignature); see
	// [ParseSigningKey]. Nil: none is signed.
	ResponseSigningKey *rsa.PrivateKey

	// MaxSkew is how far the Date of a request may be off, either way. Zero: 15
	// minutes; at most 24 hours.
	MaxSkew time.Duration

	// RateLimit is how many signed requests a second each credential is answered.
	// Zero: no limit.
	RateLimit int

	// NonceKey is what the nonces of logins that bring a license are keyed by: at least
	// 32 secret bytes, the same on all nodes. Empty: no login brings one.
	NonceKey Secret

	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Service answers requests. It is safe for concurrent use, owns no goroutine and
// needs no closing. Rate limits are counted in it, so a new one begins anew.
type Service struct {
	products    []string
	credentials map[string]*credential
	accounts    map[string]*account
	signingKey  *rsa.PrivateKey
	maxSkew     time.Duration
	dateDiff    *Refusal
	now         func() time.Time
	random      func() string // 128 random bits in base64url
	nonces      nonces
	exchanges   chan struct{} // one for each code that is exchanged at the moment
}

// New checks the configuration and makes a service of it. It does no I/O. Errors
// name the field, what was found and what would be right, and hold no secret.
func New(cfg Config) (*Service, error) {
	s := &Service{
		products:    slices.Clone(cfg.Products),
		credentials: make(map[string]*credential, len(cfg.Credentials)),
		accounts:    make(map[string]*account, len(cfg.Accounts)),
		signingKey:  cfg.ResponseSigningKey,
		maxSkew:     cfg.MaxSkew,
		now:         cfg.Now,
		random:      randomText,
		nonces:      nonces{key: []byte(cfg.NonceKey.text())},
		exchanges:   make(chan struct{}, maxExchanges),
	}
	if s.maxSkew == 0 {
		s.maxSkew = DefaultMaxSkew
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	s.dateDiff = refuse(CodeDateDiff, fmt.Sprintf("The Date header must be the current time, at most %d seconds off, like %s",
		s.maxSkew/time.Second, dateExample))
	for _, c := range cfg.Credentials {
		ready, err := c.compile(cfg)
		if err != nil {
			return nil, err
		}
		if s.credentials[c.APIKey] != nil {
			return nil, fmt.Errorf("credential %q is declared twice: declare it once, with all its products and accounts", c.APIKey)
		}
		s.credentials[c.APIKey] = ready
	}
	for _, a := range cfg.Accounts {
		ready, err := a.compile(cfg)
		if err != nil {
			return nil, err
		}
		if s.accounts[a.Code] != nil {
			return nil, fmt.Errorf("account %q is declared twice: declare it once", a.Code)
		}
		s.accounts[a.Code] = ready
	}
	return s, nil
}

// check checks the fields that are not of one account or credential.
func (cfg Config) check() error {
	switch {
	case len(cfg.Products) == 0:
		return errors.New("product is missing: name at least one")
	case slices.Contains(cfg.Products, ""):
		return errors.New("product is empty: give its code")
	case len(cfg.Accounts) == 0:
		return errors.New("account is missing: declare at least one")
	case cfg.MaxSkew < 0 || cfg.MaxSkew > maxMaxSkew:
		return fmt.Errorf("max_skew is %s: it must be between 0s and %s", cfg.MaxSkew, maxMaxSkew)
	case cfg.RateLimit < 0:
		return fmt.Errorf("rate_limit is %d: it must be 1 or more a second, or left out", cfg.RateLimit)
	case cfg.NonceKey.text() != "" && len(cfg.NonceKey.text()) < minNonceKey:
		return fmt.Errorf("the key of nonces has less than %d bytes", minNonceKey)
	case cfg.ResponseSigningKey == nil:
		return nil
	}
	if err := checkSigningKey(cfg.ResponseSigningKey); err != nil {
		return fmt.Errorf("response_signing_key: %w", err)
	}
	return nil
}

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

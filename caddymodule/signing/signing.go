// Package signing signs licenses, with a key that is kept in memory only.
package signing

import (
	"crypto"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// Config lets members of a group sign licenses over the API. The private key is
// kept in memory only.
type Config struct {
	// The file of the private key: PEM (PKCS #8, PKCS #1 or SEC 1), or such a
	// file encrypted by age. It must not be readable by others than its owner.
	Key string `json:"key,omitempty"`

	// Instead, the environment variable that holds the key as PEM or as base64 of
	// PEM. While it is unset, nothing can be signed.
	KeyEnv string `json:"key_env,omitempty"`

	// The passphrase of an age file; use a placeholder such as
	// `{file./run/secrets/pass}` or `{env.NAME}`. Default: none.
	Passphrase string `json:"passphrase,omitempty"`

	// The group whose members may sign. Default: the admin group.
	Group string `json:"group,omitempty"`

	// The longest time that a license may be signed for. Default: 17520h.
	MaxTTL caddy.Duration `json:"max_ttl,omitempty"`

	signer   *license.Signer
	nonceKey string // see deriveNonceKey; empty: there is no key
}

const defaultMaxTTL = caddy.Duration(17520 * time.Hour)

// Provision reads the key. Errors hold nothing of it.
func (s *Config) Provision(logger *zap.Logger) error {
	if s == nil {
		return nil
	}
	for _, t := range licenseTypes {
		licensesSigned.WithLabelValues(t)
	}
	if s.Key != "" && s.KeyEnv != "" {
		return errors.New("key: found a file and an environment variable; expected one of them")
	}
	if s.MaxTTL < 0 {
		return fmt.Errorf("max_ttl: found %s, expected more than 0", time.Duration(s.MaxTTL))
	}
	if s.Passphrase != "" && !parse.HasPlaceholder(s.Passphrase) {
		logger.Warn("the passphrase of the signing key stands in the configuration for all to read; use {env.NAME} or {file./abs/path} instead")
	}
	key, err := s.privateKey()
	if err != nil {
		return err
	}
	if key == nil {
		logger.Warn("there is no key to sign licenses with", zap.String("variable", s.KeyEnv))
		return nil
	}
	maxTTL := s.MaxTTL
	if maxTTL == 0 {
		maxTTL = defaultMaxTTL
	}
	s.signer, err = license.NewSigner(license.SignerConfig{Key: key, MaxTTL: time.Duration(maxTTL)})
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	s.nonceKey, err = deriveNonceKey(key)
	return err
}

// deriveNonceKey makes a secret of the private key (HKDF, RFC 5869) that all nodes with
// that key have, without a storage, and after each restart: that of the nonces of logins
// that bring a license.
func deriveNonceKey(key crypto.Signer) (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", errors.New("key: a secret cannot be derived from a key of this kind")
	}
	secret, err := hkdf.Key(sha256.New, der, nil, "gatehouse sso nonce v1", sha256.Size)
	return string(secret), err
}

// privateKey is nil where there is none.
func (s *Config) privateKey() (crypto.Signer, error) {
	passphrase := ""
	if s.Passphrase != "" {
		var r parse.Resolver
		passphrase = strings.TrimRight(r.Secret("passphrase", s.Passphrase), "\r\n")
		if r.Err != nil {
			return nil, r.Err
		}
	}
	if s.Key != "" {
		return s.keyFromFile(passphrase)
	}
	text := os.Getenv(s.KeyEnv)
	if text == "" {
		return nil, nil
	}
	key, err := keyfile.Parse([]byte(text), passphrase)
	if err != nil {
		return nil, fmt.Errorf("key env %s: %w", s.KeyEnv, err)
	}
	return key, nil
}

// keyFromFile names the path as it is configured: who puts the key itself where
// its path belongs must not find it in a log.
func (s *Config) keyFromFile(passphrase string) (crypto.Signer, error) {
	var r parse.Resolver
	path := r.Secret("key", s.Key)
	if r.Err != nil {
		return nil, r.Err
	}
	if strings.ContainsAny(path, "\r\n") || len(path) > 4096 {
		return nil, errors.New("key: found something else than a path; write `key env NAME` for a key in the environment")
	}
	key, err := keyfile.Load(path, passphrase)
	if err != nil && parse.HasPlaceholder(s.Key) {
		return nil, fmt.Errorf("key %s: %s", s.Key, strings.ReplaceAll(err.Error(), path, "the path that this stands for"))
	}
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return key, nil
}

var licensesSigned = metrics.Counter("licenses_signed_total", "Licenses signed here, by their type.", "type")

var licenseTypes = []string{string(license.OSS), string(license.Enterprise)}

// Count counts a license that was signed here.
func Count(t license.Type) {
	licensesSigned.WithLabelValues(metrics.Known(licenseTypes, string(t))).Inc()
}

// Signer is nil where there is no key.
func (s *Config) Signer() *license.Signer { return s.signer }

// NonceKey is a secret of the key; see deriveNonceKey.
func (s *Config) NonceKey() string { return s.nonceKey }

// Sign makes a license; a nil Config has no key.
func (s *Config) Sign(request license.Request) (*license.License, error) {
	if s == nil {
		return nil, license.ErrMissingKey
	}
	return s.signer.Sign(request)
}

// Parse reads the part of the global option about signing. Syntax:
//
//	signing {
//	    key        <path>              # or: key env <name>
//	    passphrase <passphrase>
//	    group      <group>
//	    max_ttl    <duration>
//	}
func (s *Config) Parse(d *caddyfile.Dispenser) error {
	line := d.Token()
	if err := parse.NoMore(d, "signing"); err != nil {
		return err
	}
	err := parse.Block(d, parse.Options{
		"key":        parse.Once(s.parseKey),
		"passphrase": parse.Word(&s.Passphrase),
		"group":      parse.Word(&s.Group),
		"max_ttl":    parse.Duration(&s.MaxTTL, time.Second, 0),
	})
	if err != nil {
		return err
	}
	if s.Key == "" && s.KeyEnv == "" {
		return parse.At(line).Err("signing: expected `key /path/to/vendor.key` or `key env NAME`")
	}
	return nil
}

func (s *Config) parseKey(d *caddyfile.Dispenser) error {
	list := d.RemainingArgs()
	switch {
	case len(list) == 1 && list[0] != "" && list[0] != "env":
		s.Key = list[0]
		return nil
	case len(list) == 2 && list[0] == "env" && list[1] != "":
		s.KeyEnv = list[1]
		return nil
	}
	return d.Err("key: expected the path of a private key, or `env` and the name of an environment variable")
}

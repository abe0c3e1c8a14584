// Package sso hands out the addresses of customer accounts' login pages, and the licenses
// that logins bring: it makes auth/sso and caddymodule/activation a part of Caddy.
package sso

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	authsso "github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuerkeys"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/signing"
)

// Config answers `GET /api/v4/sso_url`: the address of the login page of a
// customer account, as LicenseSpring's License API v4 has it. Clients ask by
// HMAC with a credential, or with a bearer token.
type Config struct {
	// The products that requests may name. At least one is required.
	Products []string `json:"products,omitempty"`

	// Who may ask by HMAC. Default: only bearers of a token may ask.
	Credentials []*Credential `json:"credentials,omitempty"`

	// The customer accounts that log in somewhere. At least one is required.
	Accounts []*Account `json:"accounts,omitempty"`

	// A PEM file with an RSA key that signs every address answered. Default:
	// none is signed.
	ResponseSigningKey string `json:"response_signing_key,omitempty"`

	// How far the Date of a request may be off, either way. Default: 15m.
	MaxSkew caddy.Duration `json:"max_skew,omitempty"`

	// How many signed requests a second each credential is answered. A reload
	// that changes nothing about SSO counts on. Default: no limit.
	RateLimit int `json:"rate_limit,omitempty"`

	// The group whose members may ask with a bearer token. Default: the admin
	// group.
	Group string `json:"group,omitempty"`
}

// Credential lets a client ask by HMAC.
type Credential struct {
	// The API key, which names the credential. May be a placeholder. Required.
	APIKey string `json:"api_key,omitempty"`

	// The shared key that requests are signed with: a placeholder such as
	// {env.NAME} or {file./abs/path}. A literal works, but stands in the
	// configuration for all to read. Required.
	SharedKey string `json:"shared_key,omitempty"`

	// Answers the credential's requests with revoked_api_key.
	Disabled bool `json:"disabled,omitempty"`

	// The products that the credential may ask for. Default: all.
	Products []string `json:"products,omitempty"`

	// The accounts that the credential may ask for. Default: all.
	Accounts []string `json:"accounts,omitempty"`
}

// SSO is what a configuration makes of it.
type SSO struct {
	*service
	Activations *Activations // nil: no login brings a license
	taken       bool         // until it is released
}

// Host is what the rest of a configuration has to give.
type Host struct {
	// Source says how an issuer whose tokens are accepted is asked. Accounts with such
	// an issuer share its engine, and with it what is said there of trust and of
	// refreshing.
	Source func(identifier string) (source issuer.Config, found bool)

	Signing   *signing.Config // nil: there is none
	StorageID string
	Events    *events.Emitter
	Audit     func(api.AuditEntry)
	Logger    *zap.Logger
}

// Take resolves the placeholders and takes what outlives a reload, which must be
// released. It gives nil where nothing is configured.
func Take(c *Config, h Host) (*SSO, error) {
	if c == nil {
		return nil, nil
	}
	for _, t := range responseTypes {
		urlsTotal.WithLabelValues(t, metrics.OK)
		for _, code := range authsso.Codes {
			urlsTotal.WithLabelValues(t, string(code))
		}
	}
	plan, err := c.plan(h)
	if err != nil {
		return nil, err
	}
	c.warn(h.Logger)
	s := new(SSO)
	if s.service, err = takeService(plan); err != nil {
		return nil, err
	}
	s.taken = true
	if s.Activations, err = takeActivations(c, s.Service, h); err != nil {
		return nil, errors.Join(err, s.Release())
	}
	return s, nil
}

// warn warns of secrets that stand in the configuration.
func (c *Config) warn(logger *zap.Logger) {
	for _, one := range c.Credentials {
		if !parse.HasPlaceholder(one.SharedKey) {
			logger.Warn("a shared key of sso stands in the configuration for all to read; use {env.NAME} or {file./abs/path} instead")
		}
	}
	for _, one := range c.Accounts {
		if one.ClientSecret != "" && !parse.HasPlaceholder(one.ClientSecret) {
			logger.Warn("a client_secret of sso stands in the configuration for all to read; use {env.NAME} or {file./abs/path} instead")
		}
	}
}

var urlsTotal = metrics.Counter("sso_urls_total",
	"Requests for the address of a login page, by the response type asked for and what became of it: ok or the code of the error.",
	"response_type", "result")

var responseTypes = []string{"", authsso.ResponseTypeCode, authsso.ResponseTypeToken}

// CountURL counts an answer about a login page: its code is empty for an address, and
// else the error's.
func CountURL(responseType string, code authsso.Code) {
	urlsTotal.WithLabelValues(metrics.Known(responseTypes, responseType), cmp.Or(string(code), metrics.OK)).Inc()
}

// Attach gives what outlives a reload a configuration's storage and log, but for the
// engines that the issuers of tokens have, too, which are shared.
func (s *SSO) Attach(shared map[string]*issuer.Engine, storage certmagic.Storage, refresh time.Duration, logger *zap.Logger) (detach []func()) {
	if s == nil {
		return nil
	}
	others := slices.Collect(maps.Values(shared))
	for _, engine := range s.engines {
		if !slices.Contains(others, engine) {
			log := issuerkeys.Log{Logger: logger.With(zap.String("issuer", engine.Status().Issuer))}
			detach = append(detach, log.Attach(engine, storage))
		}
	}
	if s.Activations != nil {
		detach = append(detach, s.Activations.attach(storage, refresh))
	}
	return detach
}

// Release gives back what was taken.
func (s *SSO) Release() error {
	if s == nil || !s.taken {
		return nil
	}
	s.taken = false
	return errors.Join(s.Activations.release(), services.Release(s.key))
}

// Show shows what metrics read of it.
func (s *SSO) Show(show metrics.Show) {
	if s != nil && s.Activations != nil {
		s.Activations.show(show)
	}
}

// service is what outlives a reload: rate limits are counted in it, and it holds the
// engines of its accounts' issuers. Configurations that ask for the same share one.
type service struct {
	*authsso.Service
	key     string
	engines map[string]*issuer.Engine // by the source's ID, to give them back
}

var services = pool.New((*service).close)

// takeService gives the service of a plan; it must be released exactly once.
func takeService(p *plan) (*service, error) {
	key, err := p.key()
	if err != nil {
		return nil, err
	}
	return services.Take(key, func() (*service, error) { return newService(key, p) })
}

// newService takes the engine of each issuer, once for all accounts with it.
func newService(key string, p *plan) (s *service, err error) {
	s = &service{key: key, engines: make(map[string]*issuer.Engine)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for i, source := range p.sources {
		if source == nil {
			continue
		}
		engine, again := s.engines[source.ID()]
		if !again {
			if engine, err = issuerkeys.Take(*source); err != nil {
				return s, fmt.Errorf("account %q: issuer %s: %w", p.config.Accounts[i].Code, source.Issuer, err)
			}
			s.engines[source.ID()] = engine
		}
		p.config.Accounts[i].Metadata, p.config.Accounts[i].HTTP = engine, engine.Client()
	}
	s.Service, err = authsso.New(p.config)
	return s, err
}

// close gives the engines back, each as often as it was taken.
func (s *service) close() error {
	var errs []error
	for id := range s.engines {
		errs = append(errs, issuerkeys.Shared.Release(id))
	}
	s.engines = nil
	return errors.Join(errs...)
}

// plan is a configuration of the service, resolved. It lives as long as
// provisioning does, as it holds the shared keys.
type plan struct {
	config     authsso.Config
	sharedKeys []string // of config.Credentials, which do not show them
	secrets    []string // of config.Accounts
	nonceKey   string
	sources    []*issuer.Config // of config.Accounts; nil: has an endpoint itself
	signingKey []byte           // PEM
}

// key is equal for plans that mean the same. It is a digest, because it covers
// the secrets.
func (p *plan) key() (string, error) {
	var sources []string
	for _, source := range p.sources {
		id := ""
		if source != nil {
			id = source.ID()
		}
		sources = append(sources, id)
	}
	text, err := json.Marshal(struct {
		Products    []string
		Credentials []authsso.Credential
		Accounts    []authsso.Account
		MaxSkew     time.Duration
		RateLimit   int
		SharedKeys  []string
		Secrets     []string
		NonceKey    []byte
		Sources     []string
		SigningKey  []byte
	}{
		p.config.Products, p.config.Credentials, p.config.Accounts, p.config.MaxSkew, p.config.RateLimit,
		p.sharedKeys, p.secrets, []byte(p.nonceKey), sources, p.signingKey,
	})
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:]), err
}

// plan is the configuration with every placeholder resolved.
func (c *Config) plan(h Host) (*plan, error) {
	var r parse.Resolver
	p := &plan{config: authsso.Config{Products: c.Products, MaxSkew: time.Duration(c.MaxSkew), RateLimit: c.RateLimit}}
	for _, one := range c.Credentials {
		shared := strings.TrimSpace(r.Secret("credential"+parse.Shown(one.SharedKey), one.SharedKey))
		p.sharedKeys = append(p.sharedKeys, shared)
		p.config.Credentials = append(p.config.Credentials,
			one.credential(r.Secret("credential"+parse.Shown(one.APIKey), one.APIKey), shared))
	}
	for _, a := range c.Accounts {
		account, source, err := a.resolve(&r, h.Source)
		if err != nil {
			return nil, fmt.Errorf("account %q: %w", a.Code, err)
		}
		secret := strings.TrimSpace(r.Secret("client_secret"+parse.Shown(a.ClientSecret), a.ClientSecret))
		account.ClientSecret = authsso.NewSecret(secret)
		if a.License != nil {
			if h.Signing == nil {
				return nil, fmt.Errorf("account %q: %w", a.Code, ErrNoSigning)
			}
			account.Activates, p.nonceKey = true, h.Signing.NonceKey()
		}
		p.secrets = append(p.secrets, secret)
		p.config.Accounts = append(p.config.Accounts, account)
		p.sources = append(p.sources, source)
	}
	p.config.NonceKey = authsso.NewSecret(p.nonceKey)
	if c.ResponseSigningKey == "" {
		return p, r.Err
	}
	pem, err := parse.ReadKeyFile(r.Text("response_signing_key", c.ResponseSigningKey))
	if err != nil {
		err = fmt.Errorf("response_signing_key: %w", err)
	}
	if err = errors.Join(r.Err, err); err != nil {
		return nil, err
	}
	p.signingKey = pem
	if p.config.ResponseSigningKey, err = authsso.ParseSigningKey(pem); err != nil {
		return nil, fmt.Errorf("response_signing_key: %s: %w", c.ResponseSigningKey, err)
	}
	return p, nil
}

func (c *Credential) credential(apiKey, sharedKey string) authsso.Credential {
	return authsso.Credential{
		APIKey: apiKey, SharedKey: authsso.NewSecret(sharedKey),
		Disabled: c.Disabled, Products: c.Products, Accounts: c.Accounts,
	}
}

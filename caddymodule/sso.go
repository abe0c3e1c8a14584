package caddymodule

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
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/engines"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
)

// SSO answers `GET /api/v4/sso_url`: the address of the login page of a
// customer account, as LicenseSpring's License API v4 has it. Clients ask by
// HMAC with a credential, or with a bearer token.
type SSO struct {
	// The products that requests may name. At least one is required.
	Products []string `json:"products,omitempty"`

	// Who may ask by HMAC. Default: only bearers of a token may ask.
	Credentials []*SSOCredential `json:"credentials,omitempty"`

	// The customer accounts that log in somewhere. At least one is required.
	Accounts []*SSOAccount `json:"accounts,omitempty"`

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

	taken *ssoService
}

// SSOCredential lets a client ask by HMAC.
type SSOCredential struct {
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

// provision resolves the placeholders and takes the service. Accounts whose
// issuer is one of issuers share its engine, and with it what is said there of
// trust and of refreshing.
func (s *SSO) provision(logger *zap.Logger, issuers issuerList, signing *Signing) error {
	if s == nil {
		return nil
	}
	for _, t := range responseTypes {
		urlsTotal.WithLabelValues(t, metrics.OK)
		for _, code := range sso.Codes() {
			urlsTotal.WithLabelValues(t, string(code))
		}
	}
	plan, err := s.plan(issuers, signing)
	if err != nil {
		return err
	}
	for _, c := range s.Credentials {
		if !parse.HasPlaceholder(c.SharedKey) {
			logger.Warn("a shared key of sso stands in the configuration for all to read; use {env.NAME} or {file./abs/path} instead")
		}
	}
	for _, a := range s.Accounts {
		if a.ClientSecret != "" && !parse.HasPlaceholder(a.ClientSecret) {
			logger.Warn("a client_secret of sso stands in the configuration for all to read; use {env.NAME} or {file./abs/path} instead")
		}
	}
	s.taken, err = takeSSO(plan)
	return err
}

var urlsTotal = metrics.Counter("sso_urls_total",
	"Requests for the address of a login page, by the response type asked for and what became of it: ok or the code of the error.",
	"response_type", "result")

var responseTypes = []string{"", sso.ResponseTypeCode, sso.ResponseTypeToken}

// countURL counts an answer about a login page: its code is empty for an address, and
// else the error's.
func countURL(responseType string, code sso.Code) {
	urlsTotal.WithLabelValues(metrics.Known(responseTypes, responseType), cmp.Or(string(code), metrics.OK)).Inc()
}

// attach gives the engines that are asked for metadata a configuration's storage
// and log, but for those that the issuers of tokens have, too.
func (s *SSO) attach(shared map[string]*issuer.Engine, storage certmagic.Storage, logger *zap.Logger) (detach []func()) {
	if s == nil {
		return nil
	}
	others := slices.Collect(maps.Values(shared))
	for _, engine := range s.taken.engines {
		if !slices.Contains(others, engine) {
			log := engines.Log{Logger: logger.With(zap.String("issuer", engine.Status().Issuer))}
			detach = append(detach, log.Attach(engine, storage))
		}
	}
	return detach
}

// release gives the service back, if it was taken.
func (s *SSO) release() error {
	if s == nil || s.taken == nil {
		return nil
	}
	key := s.taken.key
	s.taken = nil
	return ssoServices.Release(key)
}

// ssoService is what outlives a reload: rate limits are counted in it, and it
// holds the engines of its accounts' issuers. Configurations that ask for the
// same share one.
type ssoService struct {
	*sso.Service
	key     string
	engines map[string]*issuer.Engine // by the source's ID, to give them back
}

var ssoServices = pool.New((*ssoService).close)

// takeSSO gives the service of a plan; it must be released exactly once.
func takeSSO(plan *ssoPlan) (*ssoService, error) {
	key, err := plan.key()
	if err != nil {
		return nil, err
	}
	return ssoServices.Take(key, func() (*ssoService, error) { return newSSO(key, plan) })
}

// newSSO takes the engine of each issuer, once for all accounts with it.
func newSSO(key string, plan *ssoPlan) (s *ssoService, err error) {
	s = &ssoService{key: key, engines: make(map[string]*issuer.Engine)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for i, source := range plan.sources {
		if source == nil {
			continue
		}
		engine, again := s.engines[source.ID()]
		if !again {
			if engine, err = engines.Take(*source); err != nil {
				return s, fmt.Errorf("account %q: issuer %s: %w", plan.config.Accounts[i].Code, source.Issuer, err)
			}
			s.engines[source.ID()] = engine
		}
		plan.config.Accounts[i].Metadata, plan.config.Accounts[i].HTTP = engine, engine.Client()
	}
	s.Service, err = sso.New(plan.config)
	return s, err
}

// close gives the engines back, each as often as it was taken.
func (s *ssoService) close() error {
	var errs []error
	for id := range s.engines {
		errs = append(errs, engines.Release(id))
	}
	s.engines = nil
	return errors.Join(errs...)
}

// ssoPlan is a configuration of the service, resolved. It lives as long as
// provisioning does, as it holds the shared keys.
type ssoPlan struct {
	config     sso.Config
	sharedKeys []string // of config.Credentials, which do not show them
	secrets    []string // of config.Accounts
	nonceKey   string
	sources    []*issuer.Config // of config.Accounts; nil: has an endpoint itself
	signingKey []byte           // PEM
}

// key is equal for plans that mean the same. It is a digest, because it covers
// the secrets.
func (p *ssoPlan) key() (string, error) {
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
		Credentials []sso.Credential
		Accounts    []sso.Account
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
func (s *SSO) plan(issuers issuerList, signing *Signing) (*ssoPlan, error) {
	var r parse.Resolver
	plan := &ssoPlan{config: sso.Config{Products: s.Products, MaxSkew: time.Duration(s.MaxSkew), RateLimit: s.RateLimit}}
	for _, c := range s.Credentials {
		shared := strings.TrimSpace(r.Secret("credential"+parse.Shown(c.SharedKey), c.SharedKey))
		plan.sharedKeys = append(plan.sharedKeys, shared)
		plan.config.Credentials = append(plan.config.Credentials,
			c.credential(r.Secret("credential"+parse.Shown(c.APIKey), c.APIKey), shared))
	}
	for _, a := range s.Accounts {
		account, source, err := a.resolve(&r, issuers)
		if err != nil {
			return nil, fmt.Errorf("account %q: %w", a.Code, err)
		}
		secret := strings.TrimSpace(r.Secret("client_secret"+parse.Shown(a.ClientSecret), a.ClientSecret))
		account.ClientSecret = sso.NewSecret(secret)
		if a.License != nil {
			if signing == nil {
				return nil, fmt.Errorf("account %q: %w", a.Code, errNoSigning)
			}
			account.Activates, plan.nonceKey = true, signing.secret
		}
		plan.secrets = append(plan.secrets, secret)
		plan.config.Accounts = append(plan.config.Accounts, account)
		plan.sources = append(plan.sources, source)
	}
	plan.config.NonceKey = sso.NewSecret(plan.nonceKey)
	pem, err := s.readSigningKey(&r)
	if err = errors.Join(r.Err, err); err != nil || pem == nil {
		return plan, err
	}
	plan.signingKey = pem
	if plan.config.ResponseSigningKey, err = sso.ParseSigningKey(pem); err != nil {
		return nil, fmt.Errorf("response_signing_key: %s: %w", s.ResponseSigningKey, err)
	}
	return plan, nil
}

func (c *SSOCredential) credential(apiKey, sharedKey string) sso.Credential {
	return sso.Credential{
		APIKey: apiKey, SharedKey: sso.NewSecret(sharedKey),
		Disabled: c.Disabled, Products: c.Products, Accounts: c.Accounts,
	}
}

// readSigningKey gives the content of the file, nil where none is configured.
func (s *SSO) readSigningKey(r *parse.Resolver) ([]byte, error) {
	if s.ResponseSigningKey == "" {
		return nil, nil
	}
	data, err := parse.ReadKeyFile(r.Text("response_signing_key", s.ResponseSigningKey))
	if err != nil {
		return nil, fmt.Errorf("response_signing_key: %w", err)
	}
	return data, nil
}

package caddymodule

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
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

	// How many signed requests a second each credential is answered. Default:
	// no limit.
	RateLimit int `json:"rate_limit,omitempty"`

	// The group whose members may ask with a bearer token. Default: the admin
	// group.
	Group string `json:"group,omitempty"`

	service *sso.Service
	engines []string // keys of the engines to give back
	hosts   map[string]*issuer.Engine
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

// SSOAccount says where the people of a customer account log in.
type SSOAccount struct {
	// The customer account's code. Required.
	Code string `json:"code,omitempty"`

	// The issuer whose metadata tell the login page's address. Either this or
	// `authorization_endpoint` is required.
	Issuer string `json:"issuer,omitempty"`

	// The login page's address itself.
	AuthorizationEndpoint string `json:"authorization_endpoint,omitempty"`

	// The provider, where it takes something else than `id_token token` for the
	// implicit grant. Default: plain OpenID Connect.
	Preset string `json:"preset,omitempty"`

	// The application's id at the provider. Required.
	ClientID string `json:"client_id,omitempty"`

	// Where a login may lead back to; the first where a request names none. At
	// least one is required.
	RedirectURIs []string `json:"redirect_uris,omitempty"`

	// What is asked for. Default: openid email profile.
	Scopes []string `json:"scopes,omitempty"`

	// Parameters that are sent along, such as kc_idp_hint.
	Params map[string]string `json:"params,omitempty"`

	// The products that the account has. Default: all.
	Products []string `json:"products,omitempty"`

	// What a request without response_type means: `code` or `token`. Default:
	// token.
	ResponseType string `json:"response_type,omitempty"`

	// `off` refuses the implicit grant. Default: on.
	ImplicitFlow string `json:"implicit_flow,omitempty"`
}

// provision resolves secrets and takes the engines of the accounts' issuers.
func (s *SSO) provision(logger *zap.Logger) error {
	config := sso.Config{Products: s.Products, MaxSkew: time.Duration(s.MaxSkew), RateLimit: s.RateLimit}
	var r resolver
	for _, c := range s.Credentials {
		if !hasPlaceholder(c.SharedKey) {
			logger.Warn("a shared key stands in the configuration for all to read; use {env.NAME} or {file./abs/path} instead")
		}
		config.Credentials = append(config.Credentials, sso.Credential{
			APIKey: r.text("credential", c.APIKey), SharedKey: sso.NewSecret(strings.TrimSpace(r.secret("credential", c.SharedKey))),
			Disabled: c.Disabled, Products: c.Products, Accounts: c.Accounts,
		})
	}
	for _, a := range s.Accounts {
		account, err := s.account(&r, a)
		if err != nil {
			return fmt.Errorf("account %s: %w", a.Code, err)
		}
		config.Accounts = append(config.Accounts, account)
	}
	key, err := s.signingKey(&r)
	if err = errors.Join(r.err, err); err != nil {
		return err
	}
	config.ResponseSigningKey = key
	s.service, err = sso.New(config)
	return err
}

func (s *SSO) account(r *resolver, a *SSOAccount) (sso.Account, error) {
	account := sso.Account{
		Code: a.Code, AuthorizationEndpoint: r.text("authorization_endpoint", a.AuthorizationEndpoint),
		Preset: a.Preset, ClientID: r.text("client_id", a.ClientID), RedirectURIs: r.list("redirect_uri", a.RedirectURIs),
		Scopes: a.Scopes, Params: a.Params, Products: a.Products,
		ResponseType: a.ResponseType, NoImplicitFlow: a.ImplicitFlow == "off",
	}
	if a.ImplicitFlow != "" && a.ImplicitFlow != "off" && a.ImplicitFlow != "on" {
		return account, fmt.Errorf("implicit_flow: found %q, expected on or off", a.ImplicitFlow)
	}
	if a.Issuer == "" {
		return account, nil
	}
	engine, err := s.takeEngine(issuer.Config{Issuer: r.text("issuer", a.Issuer)})
	if err != nil {
		return account, fmt.Errorf("issuer %s: %w", a.Issuer, err)
	}
	account.Metadata = engine
	return account, nil
}

// takeEngine shares the engine of an issuer with whoever else asks it.
func (s *SSO) takeEngine(source issuer.Config) (*issuer.Engine, error) {
	key := source.ID()
	if engine, ok := s.hosts[key]; ok {
		return engine, nil
	}
	engine, err := takeEngine(source)
	if err != nil {
		return nil, err
	}
	if s.hosts == nil {
		s.hosts = make(map[string]*issuer.Engine)
	}
	s.hosts[key] = engine
	s.engines = append(s.engines, key)
	return engine, nil
}

func (s *SSO) signingKey(r *resolver) (*rsa.PrivateKey, error) {
	if s.ResponseSigningKey == "" {
		return nil, nil
	}
	path := r.text("response_signing_key", s.ResponseSigningKey)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("response_signing_key: %w", err)
	}
	key, err := sso.ParseSigningKey(data)
	if err != nil {
		return nil, fmt.Errorf("response_signing_key: %s: %w", path, err)
	}
	return key, nil
}

// release gives the engines back, each as often as it was taken.
func (s *SSO) release() error {
	var errs []error
	for _, key := range s.engines {
		_, err := engines.Delete(key)
		errs = append(errs, err)
	}
	s.engines = nil
	return errors.Join(errs...)
}

package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
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

// SSOAccount says where the people of a customer account log in.
type SSOAccount struct {
	// The customer account's code. Required.
	Code string `json:"code,omitempty"`

	// The identifier of the issuer whose metadata tell the login page's address.
	// One that the app has configured is asked as it says there (`ca`,
	// `refresh`, …). Either this or `authorization_endpoint` is required.
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

// provision resolves the placeholders and takes the service. Accounts whose
// issuer is one of issuers share its engine, and with it what is said there of
// trust and of refreshing.
func (s *SSO) provision(logger *zap.Logger, issuers []*Issuer) error {
	plan, err := s.plan(issuers)
	if err != nil {
		return err
	}
	for _, c := range s.Credentials {
		if !hasPlaceholder(c.SharedKey) {
			logger.Warn("a shared key of sso stands in the configuration for all to read; use {env.NAME} or {file./abs/path} instead")
		}
	}
	s.taken, err = takeSSO(plan)
	return err
}

// service answers requests; nil before provisioning.
// group is who may ask with a bearer token.
func (s *SSO) group(admins api.Group) api.Group {
	if s.Group == "" {
		return admins
	}
	return api.Group{Name: s.Group}
}

func (s *SSO) service() *sso.Service { return s.taken.Service }

// engines gives the engines that are asked for metadata, by the issuer's
// identifier.
func (s *SSO) engines() map[string]*issuer.Engine {
	all := make(map[string]*issuer.Engine, len(s.taken.engines))
	for _, engine := range s.taken.engines {
		all[engine.Status().Issuer] = engine
	}
	return all
}

// release gives the service back, if it was taken.
func (s *SSO) release() error {
	if s.taken == nil {
		return nil
	}
	key := s.taken.key
	s.taken = nil
	_, err := ssoServices.Delete(key)
	return err
}

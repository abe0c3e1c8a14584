package sso

import (
	"errors"
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	authsso "github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
)

// Account says where the people of a customer account log in.
type Account struct {
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

	// What the application shows the provider when a login's code is exchanged: a
	// placeholder such as {env.NAME} or {file./abs/path}. Default: it is a public
	// application, and its logins use PKCE.
	ClientSecret string `json:"client_secret,omitempty"`

	// The licenses that a login to this account brings. Default: none.
	License *License `json:"license,omitempty"`

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

// resolve gives the account without its metadata, and where those come from;
// an account with an endpoint of its own has no source.
func (a *Account) resolve(r *parse.Resolver, configured func(string) (issuer.Config, bool)) (authsso.Account, *issuer.Config, error) {
	if err := parse.OnOff.Check("implicit_flow", a.ImplicitFlow); err != nil {
		return authsso.Account{}, nil, err
	}
	account := a.account(r.Text)
	identifier := r.Text("issuer", a.Issuer)
	if identifier == "" || r.Err != nil {
		return account, nil, nil
	}
	if a.AuthorizationEndpoint != "" {
		return account, nil, errors.New("issuer and authorization_endpoint are both set: give one")
	}
	source, err := metadataSource(identifier, configured)
	return account, source, err
}

// account is what the options say, each string as text resolves it.
func (a *Account) account(text func(option, value string) string) authsso.Account {
	account := authsso.Account{
		Code: a.Code, AuthorizationEndpoint: text("authorization_endpoint", a.AuthorizationEndpoint),
		Preset: a.Preset, ClientID: text("client_id", a.ClientID),
		Scopes: a.Scopes, Products: a.Products,
		ResponseType: a.ResponseType, NoImplicitFlow: a.ImplicitFlow == parse.Off, Activates: a.License != nil,
	}
	for _, uri := range a.RedirectURIs {
		account.RedirectURIs = append(account.RedirectURIs, text("redirect_uri", uri))
	}
	if len(a.Params) > 0 {
		account.Params = make(map[string]string, len(a.Params))
	}
	for name, value := range a.Params {
		account.Params[name] = text("param "+name, value)
	}
	return account
}

// metadataSource says how an issuer's metadata are fetched: as it is configured, if it is
// one whose tokens are accepted.
func metadataSource(identifier string, configured func(string) (issuer.Config, bool)) (*issuer.Config, error) {
	source, found := configured(identifier)
	if !found {
		source = issuer.Config{Issuer: identifier}
	}
	if source.JWKSFile != "" {
		return nil, fmt.Errorf("issuer %s has a jwks_file, which means no network, so its login page cannot be looked up: give authorization_endpoint instead of issuer", identifier)
	}
	discovering := source
	discovering.JWKSURI = "" // whose absence is what makes an identifier have to be a URL
	if err := discovering.Validate(); err != nil {
		return nil, err
	}
	return &source, nil
}

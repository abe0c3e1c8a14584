package sso

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

const (
	maxCodeBytes  = 256
	scopeOpenID   = "openid"
	endpointField = "authorization_endpoint"
)

// defaultScopes are asked for where an account names none.
var defaultScopes = []string{scopeOpenID, "email", "profile"}

// Account says where the people of one customer account log in. Strings are
// taken as they are: placeholders are the caller's to resolve.
type Account struct {
	// Code is the `customer_account_code` of requests, compared byte for byte.
	// At most 256 bytes. Required.
	Code string

	// AuthorizationEndpoint is the address of the login page: https, or http on
	// loopback, without a fragment; parameters of its own are kept. Either this
	// or Metadata is required.
	AuthorizationEndpoint string

	// Metadata is asked for the endpoint instead: an *issuer.Engine for the
	// account's issuer.
	Metadata MetadataSource

	// Activates says that people's logins are exchanged for something here: see
	// [Service.Identify]. Metadata must then be a [Provider], such as *issuer.Engine.
	Activates bool

	// ClientSecret is what the application shows the provider when it exchanges a code.
	// Empty: it is a public one, and uses PKCE (RFC 7636).
	ClientSecret Secret

	// HTTP asks the token endpoint. nil: [http.DefaultClient].
	HTTP *http.Client `json:"-"`

	// Preset names the provider where it takes something else than `id_token
	// token` for the implicit grant; see [Presets]. Empty: plain OpenID Connect.
	Preset string

	// ClientID is the application at the provider. Required.
	ClientID string

	// RedirectURIs are the addresses that a login may lead back to; the first is
	// used where a request names none. Each is https, http on loopback (then of
	// any port), or of an application's own scheme. At least one is required.
	RedirectURIs []string

	// Scopes are asked for. Empty: openid email profile.
	Scopes []string

	// Params are sent along, like kc_idp_hint (Keycloak), identity_provider
	// (Cognito), domain_hint (Entra) or idp (Okta).
	Params map[string]string

	// Products are those that the account has, of Config.Products. Empty: all.
	Products []string

	// ResponseType is what an absent `response_type` means: ResponseTypeCode or
	// ResponseTypeToken. Empty: ResponseTypeToken.
	ResponseType string

	// NoImplicitFlow refuses the implicit grant, as OAuth 2.0's best current
	// practice advises (RFC 9700, section 2.1.2).
	NoImplicitFlow bool
}

// account is an Account made ready.
type account struct {
	endpoint     endpoint
	clientID     string
	redirects    []redirect
	scopes       []string
	params       map[string]string
	products     []string // nil: all
	responseType string   // where a request names none
	implicit     string   // what is sent for `token`; empty: refused

	activates    bool
	provider     Provider // nil: logins do not end here
	http         *http.Client
	clientSecret Secret
}

// compile checks the account and makes it ready.
func (a Account) compile(cfg Config) (ready *account, err error) {
	if a.Code == "" || len(a.Code) > maxCodeBytes {
		return nil, fmt.Errorf("account: code %.32q has %d bytes: it must have 1 to %d", a.Code, len(a.Code), maxCodeBytes)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("account %q: %w", a.Code, err)
		}
	}()
	if a.ClientID == "" {
		return nil, errors.New("client_id is empty: give the id of the application at the provider")
	}
	for _, p := range a.Products {
		if !slices.Contains(cfg.Products, p) {
			return nil, fmt.Errorf("product %q is not one of the products %q", p, cfg.Products)
		}
	}
	if err := a.checkParams(); err != nil {
		return nil, err
	}
	ready = &account{
		clientID: a.ClientID,
		params:   maps.Clone(a.Params),
		products: slices.Clone(a.Products),
		scopes:   slices.Clone(a.Scopes),

		activates: a.Activates, clientSecret: a.ClientSecret, http: a.HTTP,
	}
	if ready.http == nil {
		ready.http = http.DefaultClient
	}
	if len(ready.scopes) == 0 {
		ready.scopes = defaultScopes
	}
	if err := a.setFlow(ready); err != nil {
		return nil, err
	}
	if a.Activates {
		if ready.provider, _ = a.Metadata.(Provider); ready.provider == nil {
			return nil, errors.New("its logins bring a license, so issuer is required: the issuer's keys verify them")
		}
		if !slices.Contains(ready.scopes, scopeOpenID) {
			return nil, fmt.Errorf("scope %q lacks openid, without which there is no ID token to give a license for: add it", strings.Join(ready.scopes, " "))
		}
	}
	if len(a.RedirectURIs) == 0 {
		return nil, errors.New("redirect_uri is missing: give the address that a login leads back to")
	}
	for _, address := range a.RedirectURIs {
		r, err := newRedirect(address)
		if err != nil {
			return nil, fmt.Errorf("redirect_uri %q %w", address, err)
		}
		ready.redirects = append(ready.redirects, r)
	}
	return ready, ready.endpoint.set(a)
}

// ownParams are set by the service itself, so that nothing else may.
var ownParams = []string{
	"client_id", paramChallenge, paramChallengeMethod, paramNonce, paramRedirect, paramResponseType, "scope", paramState,
}

func (a Account) checkParams() error {
	for _, name := range slices.Sorted(maps.Keys(a.Params)) {
		if name == "" {
			return errors.New("param has an empty name: give one like kc_idp_hint")
		}
		if slices.Contains(ownParams, name) {
			return fmt.Errorf("param %q is set by the service itself: remove it, and use the option for it", name)
		}
	}
	return nil
}

// setFlow determines what is sent to the provider for each response type.
func (a Account) setFlow(ready *account) error {
	implicit, known := presets[a.Preset]
	if !known {
		return fmt.Errorf("preset %q is not known: use one of %s, or none", a.Preset, strings.Join(Presets, ", "))
	}
	for _, s := range ready.scopes {
		if !isVisible(s) {
			return fmt.Errorf(`scope %q is none: it must be visible ASCII without " and \ (RFC 6749, section 3.3)`, s)
		}
	}
	ready.responseType = a.ResponseType
	switch a.ResponseType {
	case "":
		ready.responseType = ResponseTypeToken
	case ResponseTypeCode, ResponseTypeToken:
	default:
		return fmt.Errorf("response_type %q is not known: use %s or %s", a.ResponseType, ResponseTypeCode, ResponseTypeToken)
	}
	if a.NoImplicitFlow {
		if ready.responseType == ResponseTypeToken {
			return errors.New("the implicit flow is off, but response_type is token, the default: set it to code")
		}
		return nil
	}
	if implicit == idTokenAndToken && !slices.Contains(ready.scopes, scopeOpenID) {
		return fmt.Errorf("scope %q lacks openid, without which there is no ID token: add it, or turn the implicit flow off", strings.Join(ready.scopes, " "))
	}
	ready.implicit = implicit
	return nil
}

// The values of `response_type` in a request and in Account.ResponseType.
const (
	// ResponseTypeCode asks for the authorization code grant.
	ResponseTypeCode = "code"
	// ResponseTypeToken asks for the implicit grant.
	ResponseTypeToken = "token"
)

// What the implicit grant is called towards a provider.
const (
	idTokenAndToken = "id_token token" // OpenID Connect Core 1.0, section 3.2.2.1
	tokenAlone      = "token"          // RFC 6749, section 4.2.1
)

// presets say what each provider is sent for `token`. Cognito knows no
// `id_token token`: its `token` brings an ID token too.
var presets = map[string]string{
	"":         idTokenAndToken,
	"oidc":     idTokenAndToken,
	"auth0":    idTokenAndToken,
	"cognito":  tokenAlone,
	"entra":    idTokenAndToken,
	"google":   idTokenAndToken,
	"keycloak": idTokenAndToken,
	"okta":     idTokenAndToken,
}

// Presets lists the names of the presets, sorted. Without one, a provider is
// taken for plain OpenID Connect, which is also called `oidc`.
var Presets = slices.DeleteFunc(slices.Sorted(maps.Keys(presets)), func(name string) bool { return name == "" })

package issuer

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Metadata is what an issuer says about itself: OpenID Connect Discovery 1.0
// §3, RFC 8414 §2, and OpenID Connect RP-Initiated Logout 1.0 §2.1. It must not
// be changed.
type Metadata struct {
	// Issuer is exactly the configured one.
	Issuer string `json:"issuer"`
	// JWKSURI is where the keys are; only an address that may be fetched. It may
	// be empty only where the configuration has its own.
	JWKSURI string `json:"jwks_uri"`
	// The endpoints are empty if the issuer has none, or names one that is not
	// https (http on loopback, or with insecure_http).
	AuthorizationEndpoint string `json:"authorization_endpoint,omitempty"`
	TokenEndpoint         string `json:"token_endpoint,omitempty"`
	EndSessionEndpoint    string `json:"end_session_endpoint,omitempty"`
	// The lists are nil if the issuer does not say.
	ResponseTypesSupported []string `json:"response_types_supported,omitempty"`
	ScopesSupported        []string `json:"scopes_supported,omitempty"`
}

// errNotMetadata: the document is no metadata at all, so that another place may
// be tried.
var errNotMetadata = errors.New("it is not metadata: a JSON object with strings `issuer` and `jwks_uri`, neither twice")

// parseMetadata reads metadata and holds it against the configuration. Faults of
// members that nobody needs must not cost the key set.
func parseMetadata(cfg Config, data []byte) (*Metadata, error) {
	if len(data) > maxBodyBytes {
		return nil, errNotMetadata
	}
	found, err := pick(data, "issuer", "jwks_uri", "authorization_endpoint", "token_endpoint", "end_session_endpoint",
		"response_types_supported", "scopes_supported")
	if err != nil {
		return nil, fmt.Errorf("%w; it %w", errNotMetadata, err)
	}
	issuer, ok1 := textIn(found["issuer"])
	keys, ok2 := textIn(found["jwks_uri"])
	if !ok1 || !ok2 || issuer == "" {
		return nil, errNotMetadata
	}
	if issuer != cfg.Issuer {
		return nil, wrongIssuer(cfg.Issuer, issuer)
	}
	err = cfg.checkNamed(keys)
	switch {
	case err == nil:
	case !cfg.discovers():
		keys = "" // nobody needs it
	case keys == "":
		return nil, errors.New("its metadata has no jwks_uri: set jwks_uri in the configuration")
	default:
		return nil, fmt.Errorf("the jwks_uri of its metadata %w", err)
	}
	return &Metadata{
		Issuer:                 issuer,
		JWKSURI:                keys,
		AuthorizationEndpoint:  cfg.endpoint(found["authorization_endpoint"]),
		TokenEndpoint:          cfg.endpoint(found["token_endpoint"]),
		EndSessionEndpoint:     cfg.endpoint(found["end_session_endpoint"]),
		ResponseTypesSupported: words(found["response_types_supported"]),
		ScopesSupported:        words(found["scopes_supported"]),
	}, nil
}

// checkNamed holds an address that metadata name against the configuration. An
// issuer at https does not send to plain http, not even on this machine: what
// listens there is not the issuer's.
func (c Config) checkNamed(address string) error {
	u, err := c.parseURL(address)
	if err == nil && u.Scheme == "http" && strings.HasPrefix(strings.ToLower(c.Issuer), "https:") {
		return errors.New("is http, while the issuer is https: set jwks_uri in the configuration if that is meant")
	}
	return err
}

// textIn is the string in v; one that is absent or null is empty.
func textIn(v jsontext.Value) (text string, ok bool) {
	if !present(v) {
		return "", true
	}
	return text, json.Unmarshal(v, &text) == nil
}

// wrongIssuer explains a mismatch. The other name is quoted only where it is an
// address in form, so that no arbitrary text of the other side gets into a log.
func wrongIssuer(want, got string) error {
	if strings.TrimSuffix(want, "/") == strings.TrimSuffix(got, "/") {
		return fmt.Errorf("its metadata names issuer %q, configured is %q: they differ only by a trailing slash, and must be equal", got, want)
	}
	u, err := url.Parse(got)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || len(got) > 200 {
		return fmt.Errorf("its metadata names another issuer than the configured %q", want)
	}
	return fmt.Errorf("its metadata names issuer %q, configured is %q: they must be equal", got, want)
}

// endpoint is the address in v, empty unless it may be spoken to.
func (c Config) endpoint(v jsontext.Value) string {
	address, ok := textIn(v)
	if !ok || c.checkNamed(address) != nil {
		return ""
	}
	return address
}

// words is the list of strings in v, nil if it is something else.
func words(v jsontext.Value) []string {
	var list []string
	if len(v) == 0 || json.Unmarshal(v, &list) != nil {
		return nil
	}
	return list
}

// wellKnown lists where the metadata may be, in the order to ask: OpenID
// Connect Discovery 1.0 §4.1 appends to the issuer, RFC 8414 §3.1 inserts
// between host and path, and some insert the former's name (RFC 8414 §5).
func (c Config) wellKnown() ([]*url.URL, error) {
	u, err := c.parseURL(c.Issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer %q %w: it has no metadata", c.Issuer, err)
	}
	base := url.URL{Scheme: u.Scheme, Host: u.Host}
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	places := []string{
		base.String() + path + "/.well-known/openid-configuration",
		base.String() + "/.well-known/oauth-authorization-server" + path,
	}
	if path != "" {
		places = append(places, base.String()+"/.well-known/openid-configuration"+path)
	}
	var urls []*url.URL
	for _, p := range places {
		parsed, err := url.Parse(p)
		if err != nil {
			return nil, fmt.Errorf("issuer %q has no address of metadata: %w", c.Issuer, err)
		}
		urls = append(urls, parsed)
	}
	return urls, nil
}

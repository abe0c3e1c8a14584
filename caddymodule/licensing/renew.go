package licensing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/internal/loopback"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
	"github.com/gatehouse-proxy/gatehouse/license/vendor"
)

// Renew says whom to ask for the license to follow the one in force. It was
// activated there before, by `caddy gatehouse license activate`.
type Renew struct {
	// The address of the vendor's server: https, or http on loopback. Required.
	Server string `json:"server,omitempty"`

	// The product that the license is for, as its vendor calls it. Required.
	Product string `json:"product,omitempty"`

	// The API key and the shared key that the vendor gave; use placeholders such as
	// `{env.NAME}`. Default: requests are not signed.
	APIKey    string `json:"api_key,omitempty"`
	SharedKey string `json:"shared_key,omitempty"`

	// Instead, a bearer token; use a placeholder. Default: none.
	Token string `json:"token,omitempty"`
}

// checkRenewal refuses what cannot work together.
func (c *Config) checkRenewal() error {
	if c.RevocationList != "" && strings.Contains(c.RevocationList, "://") {
		if err := checkSecureURL(c.RevocationList); err != nil {
			return fmt.Errorf("revocation_list: %w", err)
		}
	}
	if c.Renew == nil {
		return nil
	}
	if c.File != "" || c.Inline != "" {
		return errors.New("renew: found a license that the configuration holds, expected one in storage: take `file` and `inline` out, and install the license once")
	}
	return c.Renew.check()
}

func (r *Renew) check() error {
	if !parse.HasPlaceholder(r.Server) {
		if err := checkSecureURL(r.Server); err != nil {
			return fmt.Errorf("renew: %w", err)
		}
	}
	switch {
	case r.Product == "":
		return errors.New("renew: expected `product NAME`, as the vendor calls it")
	case (r.APIKey == "") != (r.SharedKey == ""):
		return errors.New("renew: expected an API key and its shared key")
	case r.APIKey != "" && r.Token != "":
		return errors.New("renew: found credential and token, expected one of them")
	}
	return nil
}

// showsSecret tells whether a secret stands in the configuration itself.
func (r *Renew) showsSecret() bool {
	return r != nil && (r.SharedKey != "" && !parse.HasPlaceholder(r.SharedKey) || r.Token != "" && !parse.HasPlaceholder(r.Token))
}

// checkSecureURL takes https, and http on loopback.
func checkSecureURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return fmt.Errorf("found %q, expected an address such as https://license.vendor.example, without user and fragment", address)
	case u.Scheme == "http" && loopback.Host(u.Hostname()):
	case u.Scheme != "https":
		return fmt.Errorf("found %q, which is not https: expected an https address, or http on loopback", address)
	}
	return nil
}

// revocationSource is nil where there is none.
func (c *Config) revocationSource() (*active.RevocationSource, error) {
	if c.RevocationList == "" {
		return nil, nil
	}
	var r parse.Resolver
	place := r.Text("revocation_list", c.RevocationList)
	if r.Err != nil {
		return nil, r.Err
	}
	if !strings.Contains(place, "://") {
		return &active.RevocationSource{File: place}, nil
	}
	if err := checkSecureURL(place); err != nil {
		return nil, fmt.Errorf("revocation_list: %w", err)
	}
	return &active.RevocationSource{URL: place, Client: vendorClient()}, nil
}

// vendorClient asks vendors. It ends idle connections soon, as it is asked seldom.
func vendorClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
	transport.MaxIdleConnsPerHost, transport.IdleConnTimeout = 1, 5*time.Second
	transport.MaxResponseHeaderBytes = 64 << 10
	return &http.Client{Transport: transport}
}

// renewer is a [Renew] made ready.
type renewer struct {
	renew    func(context.Context, *license.License, *active.Instance) ([]byte, error) // nil: nobody is asked
	identity string                                                                    // equal for equal ones; a digest of secrets
}

// provision resolves the placeholders. The error holds no secret.
func (r *Renew) provision() (renewer, error) {
	if r == nil {
		return renewer{}, nil
	}
	var res parse.Resolver
	server, product := res.Text("server", r.Server), res.Text("product", r.Product)
	apiKey, shared, token := res.Text("credential", r.APIKey), res.Secret("credential", r.SharedKey), res.Secret("token", r.Token)
	if res.Err != nil {
		return renewer{}, res.Err
	}
	if err := checkSecureURL(server); err != nil {
		return renewer{}, err
	}
	client, err := vendor.New(vendor.Config{Server: server, HTTP: vendorClient(), Authorize: authorizer(apiKey, shared, token)})
	if err != nil {
		return renewer{}, err
	}
	return renewer{
		renew: func(ctx context.Context, held *license.License, instance *active.Instance) ([]byte, error) {
			return client.Check(ctx, vendor.Seat{Product: product, HardwareID: instance.Fingerprint()}, held.Payload.ID)
		},
		identity: strings.Join([]string{server, product, apiKey, shared, token}, "\x00"),
	}, nil
}

// authorizer signs requests as the License API has it, or sends a token.
func authorizer(apiKey, shared, token string) func(http.Header, time.Time) {
	switch {
	case apiKey != "":
		return func(h http.Header, now time.Time) { sso.Authorize(h, apiKey, sso.NewSecret(shared), now) }
	case token != "":
		return func(h http.Header, _ time.Time) { h.Set("Authorization", "Bearer "+token) }
	}
	return nil
}

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

// check refuses what cannot work together.
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

// provision resolves the placeholders, and gives what asks for the license to follow one,
// nil where nobody is asked. identity is equal for equal options. The error holds no secret.
func (r *Renew) provision() (renew func(context.Context, *license.License, *active.Instance) ([]byte, error), identity string, err error) {
	if r == nil {
		return nil, "", nil
	}
	var res parse.Resolver
	server, product := res.Text("server", r.Server), res.Text("product", r.Product)
	apiKey, shared, token := res.Text("credential", r.APIKey), res.Secret("credential", r.SharedKey), res.Secret("token", r.Token)
	if res.Err != nil {
		return nil, "", res.Err
	}
	if err := checkSecureURL(server); err != nil {
		return nil, "", err
	}
	client, err := vendor.New(server, vendorClient())
	if err != nil {
		return nil, "", err
	}
	switch { // requests are signed as the License API has it, or carry a token
	case apiKey != "":
		client.Authorize = func(h http.Header, now time.Time) { sso.Authorize(h, apiKey, sso.NewSecret(shared), now) }
	case token != "":
		client.Authorize = func(h http.Header, _ time.Time) { h.Set("Authorization", "Bearer "+token) }
	}
	return func(ctx context.Context, held *license.License, instance *active.Instance) ([]byte, error) {
		return client.Check(ctx, vendor.Seat{Product: product, HardwareID: instance.Fingerprint()}, held.Payload.ID)
	}, strings.Join([]string{server, product, apiKey, shared, token}, "\x00"), nil
}

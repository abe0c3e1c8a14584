package command

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/license/usage"
	"github.com/gatehouse-proxy/gatehouse/license/vendor"
)

// Environment variables that prove to a vendor who is asking.
const (
	vendorKeyVariable    = "GATEHOUSE_VENDOR_API_KEY"
	vendorSharedVariable = "GATEHOUSE_VENDOR_SHARED_KEY" //nolint:gosec // A name, no secret.
	vendorTokenVariable  = "GATEHOUSE_VENDOR_TOKEN"      //nolint:gosec // As above.
)

// vendorFlags say which vendor is asked for what.
type vendorFlags struct {
	server, product               string
	apiKey, sharedKeyFile, tokens string
}

func (v *vendorFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&v.server, "server", "", "Address of the vendor's server, such as https://license.vendor.example")
	f.StringVar(&v.product, "product", "", "Code of the product, as the vendor calls it")
	f.StringVar(&v.apiKey, "api-key", "", "API key that the vendor gave (default: the environment variable "+vendorKeyVariable+")")
	f.StringVar(&v.sharedKeyFile, "shared-key-file", "", "File of the shared key that goes with it (default: the environment variable "+vendorSharedVariable+")")
	f.StringVar(&v.tokens, "vendor-token-file", "", "Instead: file of a bearer token for the vendor (default: the environment variable "+vendorTokenVariable+")")
}

// vendor makes the client, with what proves who is asking.
func (p *program) vendor(cmd *cobra.Command, v *vendorFlags) (*vendor.Client, error) {
	secret := func(file, flag, variable string) (string, error) {
		if !cmd.Flags().Changed(flag) {
			return strings.TrimSpace(p.getenv(variable)), nil
		}
		text, err := readSecretFile(cmd, file)
		if err == nil && strings.TrimSpace(text) == "" {
			err = fmt.Errorf("%s is empty", file)
		}
		return strings.TrimSpace(text), err
	}
	apiKey := v.apiKey
	if apiKey == "" {
		apiKey = p.getenv(vendorKeyVariable)
	}
	shared, err := secret(v.sharedKeyFile, "shared-key-file", vendorSharedVariable)
	if err != nil {
		return nil, fmt.Errorf("reading the shared key: %w", err)
	}
	token, err := secret(v.tokens, "vendor-token-file", vendorTokenVariable)
	if err != nil {
		return nil, fmt.Errorf("reading the vendor's token: %w", err)
	}
	config := vendor.Config{Server: v.server, HTTP: &http.Client{Timeout: vendor.DefaultLimit}, Now: p.now}
	switch {
	case apiKey != "" && shared == "":
		return nil, fmt.Errorf("an API key was given without its shared key; want that in --shared-key-file or %s", vendorSharedVariable)
	case apiKey != "":
		config.Authorize = func(h http.Header, now time.Time) { sso.Authorize(h, apiKey, sso.NewSecret(shared), now) }
	case token != "":
		config.Authorize = func(h http.Header, _ time.Time) { h.Set("Authorization", "Bearer "+token) }
	}
	client, err := vendor.New(config)
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	return client, nil
}

// wanted refuses flags that are missing or empty.
func wanted(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if cmd.Flag(name).Value.String() == "" {
			return fmt.Errorf("--%s is missing; see --help", name)
		}
	}
	return nil
}

// instanceOf asks the server for its fingerprint.
func (s *server) instanceOf(ctx context.Context) (string, error) {
	var instance struct {
		Fingerprint string `json:"fingerprint"`
	}
	if _, err := s.get(ctx, request{method: http.MethodPost, path: "/api/orgs/license/instance"}, &instance); err != nil {
		return "", err
	}
	if instance.Fingerprint == "" {
		return "", errors.New("the answer of " + s.name + " holds no fingerprint; is it Caddy's admin endpoint?")
	}
	return instance.Fingerprint, nil
}

// seat is what the server's license takes at its vendor, and the license's id.
func (s *server) seat(ctx context.Context) (seat vendor.Seat, id string, err error) {
	report, err := s.usage(ctx)
	if err != nil {
		return seat, "", err
	}
	u, err := usage.Open(report)
	if err != nil {
		return seat, "", fmt.Errorf("the report of usage: %w", err)
	}
	if u.LicenseID == "" {
		return seat, "", errors.New("the server has no license with an id, so none was activated; there is no seat to give back")
	}
	return vendor.Seat{HardwareID: u.Instance}, u.LicenseID, nil
}

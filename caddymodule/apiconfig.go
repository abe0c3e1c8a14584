package caddymodule

import (
	"fmt"
	"slices"
	"strings"
)

// APIConfig says who may use Gatehouse's HTTP API.
type APIConfig struct {
	// The name of the issuer whose tokens may administer. Default: the only
	// one; with several it must be said before any route that needs a token can
	// be used.
	Issuer string `json:"issuer,omitempty"`

	// The group whose members may administer. Default: admin.
	AdminGroup string `json:"admin_group,omitempty"`

	// Lets callers of Caddy's admin endpoint administer without a token, on
	// connections that reach it on a loopback address or a unix socket. What a
	// proxy passes on and what a page of another site sends needs a token all
	// the same. The audit log names the callers admin-endpoint. Default: false.
	TrustAdminEndpoint bool `json:"trust_admin_endpoint,omitempty"`
}

const defaultAdminGroup = "admin"

// issuer is whose tokens may administer; "" where it cannot be told.
func (c *APIConfig) issuer(names []string) (string, error) {
	if c == nil || c.Issuer == "" {
		if len(names) == 1 {
			return names[0], nil
		}
		return "", nil
	}
	if !slices.Contains(names, c.Issuer) {
		return "", fmt.Errorf("api: issuer: found %q, expected one of the configured names: %s", c.Issuer, strings.Join(names, ", "))
	}
	return c.Issuer, nil
}

func (c *APIConfig) adminGroup() string {
	if c == nil || c.AdminGroup == "" {
		return defaultAdminGroup
	}
	return c.AdminGroup
}

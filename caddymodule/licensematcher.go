package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types/ref"
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// MatchLicenseFeature matches while the license in force grants all of the
// features, whatever host is asked for. Without a license that lets pass it never
// matches, `missing allow` and `enforcement log` or not: nothing is granted then.
//
// In expressions: `license_feature('sso', 'audit')`.
type MatchLicenseFeature struct {
	// The features, of which the license must grant all. At least one is
	// required.
	Features []string `json:"features,omitempty"`

	licensing *licensing
}

// CaddyModule tells Caddy about the matcher.
func (MatchLicenseFeature) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.matchers.license_feature",
		New: func() caddy.Module { return new(MatchLicenseFeature) },
	}
}

// UnmarshalCaddyfile reads the matcher. Syntax:
//
//	license_feature <name...>    # all of them
func (m *MatchLicenseFeature) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the matcher's name
	if err := appendFeatures(d, &m.Features); err != nil {
		return err
	}
	if d.NextBlock(0) {
		return d.Errf("license_feature: found %q, expected no block", d.Val())
	}
	return nil
}

// Provision finds the license.
func (m *MatchLicenseFeature) Provision(ctx caddy.Context) error {
	if len(m.Features) == 0 {
		return errors.New("license_feature: expected at least one feature")
	}
	for _, name := range m.Features {
		if err := checkFeature(name); err != nil {
			return fmt.Errorf("license_feature: %w", err)
		}
	}
	app, err := configuredApp(ctx)
	if err != nil {
		return fmt.Errorf("license_feature: %w", err)
	}
	if app.licensing == nil {
		return fmt.Errorf("license_feature: %w", errNoTrust)
	}
	m.licensing = app.licensing
	return nil
}

// Match is MatchWithError for callers that cannot take an error.
func (m *MatchLicenseFeature) Match(r *http.Request) bool {
	return m.licensing.grants(r.Context(), m.Features)
}

// MatchWithError tells whether all features are granted. It never fails.
func (m *MatchLicenseFeature) MatchWithError(r *http.Request) (bool, error) {
	return m.Match(r), nil
}

// CELLibrary makes the matcher a function of expressions.
func (*MatchLicenseFeature) CELLibrary(ctx caddy.Context) (cel.Library, error) {
	return caddyhttp.CELMatcherImpl(
		"license_feature", "license_feature_match_request_list", []*cel.Type{cel.ListType(cel.StringType)},
		func(data ref.Val) (caddyhttp.RequestMatcherWithError, error) {
			list, err := data.ConvertToNative(reflect.TypeFor[[]string]())
			if err != nil {
				return nil, fmt.Errorf("license_feature: expected names of features: %w", err)
			}
			m := &MatchLicenseFeature{Features: list.([]string)}
			return m, m.Provision(ctx)
		},
	)
}

var featureName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// checkFeature refuses what can be the name of no feature.
func checkFeature(name string) error {
	if !featureName.MatchString(name) {
		return fmt.Errorf("found %q, expected lower-case letters, digits and hyphens, as in sso or audit-log", name)
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner                 = (*MatchLicenseFeature)(nil)
	_ caddyfile.Unmarshaler             = (*MatchLicenseFeature)(nil)
	_ caddyhttp.RequestMatcherWithError = (*MatchLicenseFeature)(nil)
	_ caddyhttp.CELLibraryProducer      = (*MatchLicenseFeature)(nil)
)

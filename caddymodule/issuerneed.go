package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// An issuer is needed only where tokens are looked at. What needs one says so
// itself, so that an operator knows which option to look at.

const addIssuer = "add the global option `gatehouse { issuer https://… { audience … } }`"

// errNoIssuer words that an option needs an issuer.
func errNoIssuer(option string) error {
	if option == appID {
		return errors.New("no issuer is configured, nor anything that needs none: add `issuer https://… { audience … }`")
	}
	return fmt.Errorf("no issuer is configured, and %s needs one: add `issuer https://… { audience … }`", option)
}

// needsIssuer names the option that makes an issuer necessary where there is
// none; empty if nothing does.
func (a *App) needsIssuer() string {
	trusted := a.API != nil && a.API.TrustAdminEndpoint
	switch {
	case len(a.Issuers) > 0:
		return ""
	case a.ServiceAccounts != nil && len(a.ServiceAccounts.Accounts) > 0:
		return "service_accounts"
	case a.Signing != nil && !trusted:
		return "signing"
	case a.SSO != nil && !trusted && len(a.SSO.Credentials) == 0:
		return "sso"
	case a.License == nil && a.Signing == nil && a.SSO == nil && !sealedBuild():
		return appID
	}
	return ""
}

// apiNeedsIssuer tells whether nothing of the API could be used on a site.
func (a *App) apiNeedsIssuer() bool {
	return len(a.Issuers) == 0 && (a.SSO == nil || len(a.SSO.Credentials) == 0)
}

// tokenApp gives the app to a handler that looks at tokens: without issuers
// nobody could be let in.
func tokenApp(ctx caddy.Context) (*App, error) {
	app, err := configuredApp(ctx)
	if errors.Is(err, caddy.ErrNotConfigured) || err == nil && len(app.Issuers) == 0 {
		return nil, errors.New("no issuer is configured: " + addIssuer)
	}
	return app, err
}

// checkDirective says, with file and line, that a directive needs an issuer where
// the global option has none.
func checkDirective(h httpcaddyfile.Helper, name string, needs func(*App) bool) error {
	option, ok := h.Option(appID).(httpcaddyfile.App)
	if !ok {
		return nil // it is missing; provisioning says so
	}
	app := new(App)
	if err := json.Unmarshal(option.Value, app); err != nil || !needs(app) {
		return err
	}
	return h.Errf("%s: no issuer is configured: %s", name, addIssuer)
}

func hasNoIssuer(a *App) bool { return len(a.Issuers) == 0 }

// notedLines keeps the lines on which options stand.
type notedLines map[string]caddyfile.Token

func (n notedLines) once(name string, parse func(*caddyfile.Dispenser) error) option {
	return once(func(d *caddyfile.Dispenser) error {
		n[name] = d.Token()
		return parse(d)
	})
}

// at is a dispenser on an option's line, for errors; d where none was noted.
func (n notedLines) at(name string, d *caddyfile.Dispenser) *caddyfile.Dispenser {
	line, ok := n[name]
	if !ok {
		return d
	}
	at := caddyfile.NewDispenser([]caddyfile.Token{line})
	at.Next()
	return at
}

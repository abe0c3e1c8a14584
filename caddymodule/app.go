package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// appID is the app's module ID, and its name in a configuration's apps.
const appID = "gatehouse"

// App is the Caddy app "gatehouse": what all sites share. It knows the issuers
// whose bearer tokens are accepted, keeps their keys at hand, and remembers
// verified tokens. Sites are protected with the handler bearer_auth.
//
// Keys and remembered tokens outlive a reload as long as nothing about the
// issuers changed. The app starts with every issuer down: keys are fetched in
// the background, and kept in Caddy's storage, so that a restart serves even
// while an issuer cannot be reached.
type App struct {
	// The issuers whose tokens are accepted. Required by what looks at tokens:
	// bearer_auth, service accounts that are declared, signing and sso unless
	// there is another way to ask for them, and gatehouse_api without such an sso.
	Issuers []*Issuer `json:"issuers,omitempty"`

	// The memory for verified tokens, whose signatures need not be checked again:
	// a size such as "64MiB", or a number, which stands for as many KiB: an ordinary
	// token takes less than one. 0 turns it off. Default: 100000.
	TokenCache TokenCache `json:"token_cache,omitempty"`

	// How machines become known, and which are declared here. Default: machines
	// must be registered over the API.
	ServiceAccounts *ServiceAccounts `json:"service_accounts,omitempty"`

	// The license of this deployment, and whose licenses are believed. Required
	// by require_license and license_feature. Default: none.
	License *LicenseConfig `json:"license,omitempty"`

	// Who may sign licenses over the API, and with which key. Default: nobody
	// can, as there is no key.
	Signing *Signing `json:"signing,omitempty"`

	// The addresses of customer accounts' login pages. Default: none.
	SSO *SSO `json:"sso,omitempty"`

	// Who may use the HTTP API.
	API *APIConfig `json:"api,omitempty"`

	ctx       caddy.Context
	logger    *zap.Logger
	gate      *gate
	accounts  *accounts
	entrance  *entrance
	licensing *licensing // nil: no license is asked for
	api       *api.API
	lending   *lending

	events      *emitter
	readLicense func() licenseReading // for metrics; nil: no license is asked for
}

// CaddyModule tells Caddy about the app. Caddy asks for it with every event, at
// times when the app is being cleaned up, so it must not copy the app.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: appID, New: func() caddy.Module { return new(App) }}
}

// Provision compiles the configuration. It reads no network and no storage.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger = ctx, ctx.Logger()
	if option := a.needsIssuer(); option != "" {
		return fmt.Errorf("gatehouse: %w", errNoIssuer(option))
	}
	cacheBytes, err := a.TokenCache.bytes()
	if err != nil {
		return fmt.Errorf("gatehouse: token_cache: %w", err)
	}
	if err := a.provisionIssuers(); err != nil {
		return err
	}
	gate, err := takeGate(a.Issuers, cacheBytes)
	if err != nil {
		return fmt.Errorf("gatehouse: %w", err)
	}
	a.gate = gate
	if a.accounts, err = takeAccounts(ctx.Storage(), a.ServiceAccounts, a.knownIssuers()); err != nil {
		return fmt.Errorf("gatehouse: service_accounts: %w", err)
	}
	a.entrance = newEntrance(gate.verifier, a.accounts.view, a.ServiceAccounts.required(), newMeters(a.issuerNames()), a.begin)
	a.lending = new(lending)
	if err := registerMetrics(ctx, gauges{gate.engines, gate.verifier, a.accounts.view, a}); err != nil {
		return fmt.Errorf("gatehouse: %w", err)
	}
	if a.events, err = newEmitter(ctx); err != nil {
		return fmt.Errorf("gatehouse: %w", err)
	}
	if a.SSO != nil {
		beginSSOCounters()
		if err := a.SSO.provision(a.logger, a.Issuers); err != nil {
			return fmt.Errorf("gatehouse: sso: %w", err)
		}
	}
	if err := a.provisionLicense(); err != nil {
		return err
	}
	return a.provisionAPI()
}

// provisionIssuers resolves the issuers' placeholders and gives each a name.
func (a *App) provisionIssuers() error {
	names := make(map[string]string, len(a.Issuers))
	for _, i := range a.Issuers {
		if err := i.provision(); err != nil {
			return fmt.Errorf("gatehouse: issuer %s: %w", i.Issuer, err)
		}
		name, identifier := i.policy.Name, i.policy.Issuer
		if other, twice := names[name]; twice {
			return fmt.Errorf("gatehouse: issuers %s and %s are both named %q: give one of them another with `name`", other, identifier, name)
		}
		names[name] = identifier
		if !i.policy.TellsKinds() {
			a.logger.Warn("people and machines of this issuer are told by the marks of common issuers only, and whoever has none counts as neither: name a preset, or write kind",
				zap.String("issuer", name))
		}
	}
	return nil
}

// Start lends this configuration's storage and log to the issuers' engines and
// begins their background work.
func (a *App) Start() error {
	if err := a.checkResourceRoutes(); err != nil {
		return err
	}
	if err := a.warnOfTwoLocks(); err != nil {
		return err
	}
	if err := a.warnOfUncleaned(); err != nil {
		return err
	}
	if err := a.warnOfMisspelt(); err != nil {
		return err
	}
	if err := a.startLicense(); err != nil {
		return err
	}
	a.begin()
	streams.recheck(a.entrance.registration)
	return nil
}

// begin lends storage and log to the issuers' engines and the registry of
// accounts, and tells whether that had not been done yet.
func (a *App) begin() bool {
	return a.lending.begin(func() (detach []func()) {
		for name, engine := range a.allEngines() {
			detach = append(detach, engine.Attach(issuer.Host{
				Storage: a.ctx.Storage(),
				Observe: issuerLog{a.knownName(name), a.logger.With(zap.String("issuer", name)), a.events}.observe,
			}))
		}
		observer := accountLog{a.logger, a.accounts.view, a.knownIssuers(), a.entrance.registration, a.events}
		if a.accounts.view.Loaded() {
			observer.warn()
		}
		return append(detach, a.accounts.attach(a.ctx.Storage(), a.ServiceAccounts.refresh(), observer.observe))
	})
}

// allEngines gives the engines of the issuers of tokens, by name, and of those
// that only login pages are asked of, by identifier.
func (a *App) allEngines() map[string]*issuer.Engine {
	all := maps.Clone(a.gate.engines)
	if a.SSO == nil {
		return all
	}
	shared := slices.Collect(maps.Values(all))
	for identifier, engine := range a.SSO.engines() {
		if !slices.Contains(shared, engine) {
			all[identifier] = engine
		}
	}
	return all
}

// Stop takes storage and log back; a newer configuration may have lent its own
// by then, and judges the open streams from now on.
func (a *App) Stop() error {
	if a.lending == nil {
		return nil // provisioning failed before there was anything to lend
	}
	a.lending.end()
	if a.licensing != nil {
		a.licensing.detach()
	}
	streams.recheck(a.entrance.registration)
	return nil
}

// Cleanup lets go of what outlives a configuration. It is called too when
// provisioning failed half-way.
func (a *App) Cleanup() error {
	if err := a.Stop(); err != nil {
		return err
	}
	var errs []error
	if a.SSO != nil {
		errs = append(errs, a.SSO.release())
	}
	if a.licensing != nil {
		errs = append(errs, a.licensing.release())
		a.licensing = nil
	}
	if a.accounts != nil {
		errs = append(errs, a.accounts.release())
		a.accounts = nil
	}
	if a.gate != nil {
		errs = append(errs, a.gate.release())
		a.gate = nil
	}
	return errors.Join(errs...)
}

// knownName is the name if it is that of an issuer of tokens, else empty.
func (a *App) knownName(name string) string {
	if slices.Contains(a.issuerNames(), name) {
		return name
	}
	return ""
}

// issuerNames gives the configured names, in the order of the configuration.
func (a *App) issuerNames() []string {
	names := make([]string, 0, len(a.Issuers))
	for _, i := range a.Issuers {
		names = append(names, i.policy.Name)
	}
	return names
}

// knownIssuers gives names and identifiers, in the order of the configuration.
func (a *App) knownIssuers() account.Issuers {
	known := make(account.Issuers, 0, len(a.Issuers))
	for _, i := range a.Issuers {
		known = append(known, account.Issuer{Name: i.policy.Name, Identifier: i.policy.Issuer})
	}
	return known
}

// identifiers gives the issuer identifiers behind names; all if names is empty.
func (a *App) identifiers(names []string) []string {
	var list []string
	for _, i := range a.Issuers {
		if len(names) == 0 || slices.Contains(names, i.policy.Name) {
			list = append(list, i.policy.Issuer)
		}
	}
	return list
}

// configuredApp gives the configuration's app, which must have been configured.
func configuredApp(ctx caddy.Context) (*App, error) {
	app, err := ctx.AppIfConfigured(appID)
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, fmt.Errorf("the global option `gatehouse { … }` is missing: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return app.(*App), nil
}

// hostOf is the default name of an issuer: the host of its URL.
func hostOf(identifier string) string {
	u, err := url.Parse(identifier)
	if err != nil {
		return ""
	}
	return u.Host
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)

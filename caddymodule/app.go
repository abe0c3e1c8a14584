package caddymodule

import (
	"errors"
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuers"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/securityevents"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/signing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/stream"
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
	Issuers issuers.List `json:"issuers,omitempty"`

	// The memory for verified tokens, whose signatures need not be checked again:
	// a size such as "64MiB", or a number, which stands for as many KiB: an ordinary
	// token takes less than one. 0 turns it off. Default: 100000.
	TokenCache TokenCache `json:"token_cache,omitempty"`

	// What is asked of the proofs that come with tokens which are bound to a key by
	// DPoP. Default: the defaults of its options.
	DPoP *DPoP `json:"dpop,omitempty"`

	// How machines become known, and which are declared here. Default: machines
	// must be registered over the API.
	ServiceAccounts *ServiceAccounts `json:"service_accounts,omitempty"`

	// The license of this deployment, and whose licenses are believed. Required
	// by require_license and license_feature. Default: none.
	License *licensing.Config `json:"license,omitempty"`

	// Who may sign licenses over the API, and with which key. Default: nobody
	// can, as there is no key.
	Signing *signing.Config `json:"signing,omitempty"`

	// The addresses of customer accounts' login pages. Default: none.
	SSO *sso.Config `json:"sso,omitempty"`

	// Who may use the HTTP API.
	API *APIConfig `json:"api,omitempty"`

	ctx      caddy.Context
	logger   *zap.Logger
	placed   bool // checkPlacement has looked
	attached attachment

	// The parts, of which each knows its own details.
	verifier      *issuers.Verifier
	accounts      *accounts
	senders       *senders
	revocations   *revocations
	authenticator *authenticator
	licensing     *licensing.Licensing // nil: no license is asked for
	sso           *sso.SSO             // nil: none is configured
	receivers     *securityevents.Receivers
	events        *events.Emitter
	api           *api.API
}

// CaddyModule tells Caddy about the app. Caddy asks for it with every event, at
// times when the app is being cleaned up, so it must not copy the app.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: appID, New: func() caddy.Module { return new(App) }}
}

// Provision compiles the configuration. It reads no network and no storage.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger = ctx, ctx.Logger()
	err := a.provisionParts(ctx.Storage())
	if err != nil {
		return fmt.Errorf("gatehouse: %w", err)
	}
	a.api, err = newAPI(apiParts{
		config: a.API, issuers: a.Issuers, engines: a.verifier.Engines, accounts: a.accounts.registry, revocations: a.revocations.registry, authenticator: a.authenticator,
		licensing: a.licensing, signing: a.Signing, ssoConfig: a.SSO, sso: a.sso, events: a.events, receivers: a.receivers, storage: ctx.Storage(), logger: a.logger,
	})
	return err
}

// provisionParts makes the parts, each from those that it needs.
func (a *App) provisionParts(storage certmagic.Storage) (err error) {
	if option := a.needsIssuer(); option != "" {
		return errNoIssuer(option)
	}
	cacheBytes, err := a.TokenCache.bytes()
	if err != nil {
		return fmt.Errorf("token_cache: %w", err)
	}
	if a.verifier, err = issuers.Take(a.Issuers, cacheBytes, a.logger); err != nil {
		return err
	}
	if a.accounts, err = takeAccounts(storage, a.ServiceAccounts, a.Issuers.Known()); err != nil {
		return fmt.Errorf("service_accounts: %w", err)
	}
	if a.revocations, err = takeRevocations(storage); err != nil {
		return err
	}
	if a.senders, err = takeSenders(a.DPoP); err != nil {
		return fmt.Errorf("dpop: %w", err)
	}
	a.authenticator = newAuthenticator(a.Issuers, a.verifier.Verifier, a.senders, a.accounts, a.revocations, a.attach)
	if a.events, err = events.New(a.ctx); err != nil {
		return err
	}
	if err = a.Signing.Provision(a.logger); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	storageID := pool.StorageID(storage)
	a.sso, err = sso.Take(a.SSO, sso.Host{
		Source: a.Issuers.Source, Signing: a.Signing, StorageID: storageID, Events: a.events, Audit: auditing(a.logger), Logger: a.logger,
	})
	if err != nil {
		return fmt.Errorf("sso: %w", err)
	}
	if a.licensing, err = licensing.Take(a.License, storage, a.accounts.registry, a.logger); err != nil {
		return fmt.Errorf("license: %w", err)
	}
	a.authenticator.licensing = a.licensing
	a.receivers, err = a.Issuers.Receivers(a.verifier.Engines, securityevents.Host{
		StorageID: storageID, Revoked: a.revocations.registry, Events: a.events, Audit: auditing(a.logger), Logger: a.logger,
	})
	if err != nil {
		return err
	}
	return metrics.Register(a.ctx, a.verifier.Show, a.accounts.show, a.revocations.show, a.receivers.Show, a.sso.Show, a.licensing.Show)
}

// Start looks at the routes, which are all made by now, gives storage and log to
// what outlives this configuration, and so begins the background work.
func (a *App) Start() error {
	if err := checkRoutes(a.ctx, a.logger); err != nil {
		return err
	}
	sites, err := findSites(a.ctx)
	if err != nil {
		return err
	}
	a.licensing.Start(a.ctx.Storage(), a.ServiceAccounts.refresh(), sites, a.events)
	a.senders.start()
	a.attach()
	a.recheckStreams()
	return nil
}

// attach gives storage and log to the issuers' engines and the registry of
// accounts, and tells whether that had not been done yet.
func (a *App) attach() bool {
	return a.attached.begin(func() []func() {
		storage := a.ctx.Storage()
		detach := a.verifier.Attach(storage, a.logger, a.events)
		detach = append(detach, a.sso.Attach(a.verifier.Engines, storage, a.ServiceAccounts.refresh(), a.logger)...)
		revoked := a.revocations.attach(storage, a.ServiceAccounts.refresh(), a.Issuers.Known(), a.logger, a.events, a.recheckStreams)
		detach = append(detach, a.receivers.Attach(storage, a.ServiceAccounts.refresh())...)
		return append(detach, a.accounts.attach(storage, a.logger, a.events, a.recheckStreams), revoked, lastHour.keep(),
			a.licensing.Attach(storage, a.ServiceAccounts.refresh()), a.senders.attach(storage, a.logger))
	})
}

// recheckStreams cuts the open streams of callers who are no longer let in by the
// configuration that runs. One that is starting may not get that far, and one that
// stops has made room for the next, so their own rules count only where none runs.
func (a *App) recheckStreams() {
	stream.Recheck(func() *auth.Registration {
		if running, err := runningApp(); err == nil {
			return running.authenticator.registration
		}
		return a.authenticator.registration
	})
}

// Stop takes storage and log back; a newer configuration may have given its own
// by then, and judges the open streams from now on.
func (a *App) Stop() error {
	if a.authenticator == nil {
		return nil // provisioning failed before there was anything to give
	}
	a.attached.end()
	a.licensing.Stop()
	a.recheckStreams()
	return nil
}

// Cleanup gives back what outlives a configuration. It is called too when
// provisioning failed half-way.
func (a *App) Cleanup() error {
	if err := a.Stop(); err != nil {
		return err
	}
	err := errors.Join(a.receivers.Release(), a.sso.Release(), a.licensing.Release(), a.accounts.release(), a.revocations.release(), a.verifier.Release())
	a.senders.release()
	a.licensing, a.accounts, a.revocations, a.verifier, a.receivers = nil, nil, nil, nil, nil
	return err
}

// needsIssuer names the option that makes an issuer necessary where there is
// none; empty if nothing does.
func (a *App) needsIssuer() string {
	trusted := a.API != nil && a.API.TrustAdminEndpoint
	_, gives := a.SSO.GivesLicenses()
	switch {
	case len(a.Issuers) > 0:
		return ""
	case a.ServiceAccounts != nil && len(a.ServiceAccounts.Accounts) > 0:
		return "service_accounts"
	case a.Signing != nil && !trusted && !gives:
		return "signing"
	case a.SSO != nil && !trusted && len(a.SSO.Credentials) == 0:
		return "sso"
	case a.License == nil && a.Signing == nil && a.SSO == nil && !licensing.Sealed():
		return appID
	}
	return ""
}

// apiNeedsIssuer tells whether nothing of the API could be used on a site.
func (a *App) apiNeedsIssuer() bool {
	return len(a.Issuers) == 0 && (a.SSO == nil || len(a.SSO.Credentials) == 0)
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

// runningApp gives the app of the configuration that runs.
func runningApp() (*App, error) {
	ctx := caddy.ActiveContext()
	if ctx.Context == nil {
		return nil, errors.New("caddy runs no configuration")
	}
	return configuredApp(ctx)
}

// authenticatorOf gives a handler that looks at tokens what verifies them: without
// issuers nobody could be let in.
func authenticatorOf(ctx caddy.Context) (*authenticator, error) {
	app, err := configuredApp(ctx)
	if errors.Is(err, caddy.ErrNotConfigured) || err == nil && len(app.Issuers) == 0 {
		return nil, errors.New("no issuer is configured: " + addIssuer)
	}
	if err != nil {
		return nil, err
	}
	return app.authenticator, nil
}

// Licensing is what the configuration makes of the license; nil: none is asked for.
func (a *App) Licensing() *licensing.Licensing { return a.licensing }

// CheckPlacement looks at the routes around the modules of Gatehouse.
func (*App) CheckPlacement(ctx caddy.Context) error { return checkPlacement(ctx) }

// attachment is what a configuration gives for a time to what outlives it: its
// storage, its log. It begins with Start, or with the first request that needs it,
// as Caddy may serve before every app has started; and it ends once.
type attachment struct {
	mu     sync.Mutex
	begun  bool
	detach []func()
}

// begin attaches, unless that was done before, and tells whether it did.
func (a *attachment) begin(attach func() (detach []func())) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.begun {
		return false
	}
	a.begun = true
	a.detach = attach()
	return true
}

// end detaches, for good.
func (a *attachment) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.begun = true
	for _, detach := range a.detach {
		detach()
	}
	a.detach = nil
}

const addIssuer = "add the global option `gatehouse { issuer https://… { audience … } }`"

// errNoIssuer words that an option needs an issuer.
func errNoIssuer(option string) error {
	if option == appID {
		return errors.New("no issuer is configured, nor anything that needs none: add `issuer https://… { audience … }`")
	}
	return fmt.Errorf("no issuer is configured, and %s needs one: add `issuer https://… { audience … }`", option)
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)

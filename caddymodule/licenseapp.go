package caddymodule

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// What the app does about the license, beside what a request meets.

// provisionLicense reads the options about the license and about signing.
func (a *App) provisionLicense() (err error) {
	if a.licensing, err = takeLicensing(a.ctx.Storage(), a.License, a.logger); err != nil {
		return fmt.Errorf("gatehouse: license: %w", err)
	}
	if a.licensing != nil {
		a.readLicense = a.licensing.reading
		beginLicenseCounters()
	}
	if a.Signing == nil {
		return nil
	}
	beginSigningCounters()
	if err := a.Signing.provision(a.logger); err != nil {
		return fmt.Errorf("gatehouse: signing: %w", err)
	}
	return nil
}

// startLicense begins to look after the license.
func (a *App) startLicense() error {
	behind, err := findSites(a.ctx)
	if err != nil || a.licensing == nil {
		return err
	}
	a.licensing.attach(a.ctx.Storage(), a.ServiceAccounts.refresh(), behind, a.events.licenseEvent)
	return nil
}

// lendLicense gives the API what it needs to know of licenses.
func (a *App) lendLicense(services *api.Services) {
	services.SigningGroup = a.Signing.group(services.AdminGroup)
	services.Sign = a.Signing.sign
	services.Signed = active.NewRecord(a.ctx.Storage(), active.Options{})
	services.OnSigned = func(actor string, e active.Entry) {
		countLicenseSigned(e.License.Payload.Type)
		a.events.licenseSigned(actor, e.ID, e.KeyID, &e.License.Payload)
	}
	if a.licensing == nil {
		return
	}
	services.License = a.licensing
	services.Operation.License = a.licensing.status
}

// status is what operators see.
func (l *licensing) status() api.LicenseStatus {
	s := api.LicenseStatus{
		Status: l.Standing().Status(l.Host()), Sealed: sealedBuild(),
		Source: l.keeper.Source().String(), ClockSuspect: l.keeper.ClockSuspect(),
	}
	if fault := l.keeper.Fault(); fault != nil {
		s.SourceError = fault.Error()
	}
	return s
}

// reading is what the metrics show.
func (l *licensing) reading() licenseReading {
	standing := l.keeper.Standing()
	r := licenseReading{
		State: standing.State(), Refuses: l.refuses(standing.State()), SourceFault: l.keeper.Fault() != nil, ClockSuspect: l.keeper.ClockSuspect(),
	}
	if held := genuine(standing); held != nil {
		r.ExpiresAt = time.Unix(held.Payload.ExpireAt, 0)
	}
	return r
}

// refuses tells whether all requests are refused in a state.
func (l *licensing) refuses(state license.State) bool {
	return !state.Passes() && !l.advisory && (state != license.StateMissing || !l.missingAllow)
}

// Standing is where the deployment stands.
func (l *licensing) Standing() *license.Standing { return l.keeper.Standing() }

// Host is the host that a status is about where none is asked for.
func (l *licensing) Host() string {
	behind := l.sites.Load()
	if behind == nil {
		return ""
	}
	return behind.main(l.keeper.Standing().Hosts())
}

// Install makes a license the one in force on all nodes, if it is of use here.
func (l *licensing) Install(ctx context.Context, data []byte, forHost string) error {
	if l.keeper.Source().Configured() {
		return active.ErrConfigured
	}
	found := l.verifier.Open(data)
	if err := found.Err(); err != nil {
		return err
	}
	if err := l.checkUse(found, forHost); err != nil {
		return err
	}
	return l.keeper.Install(ctx, data)
}

func (l *licensing) checkUse(found *license.Standing, forHost string) error {
	if forHost != "" {
		pattern, err := host.Parse(forHost)
		if found.Hosts().Match(forHost) || err == nil && found.Hosts().Covers(pattern) {
			return nil
		}
		return &license.Error{Reason: license.ReasonHost, Detail: fmt.Sprintf("the license does not cover the host %.255q", forHost)}
	}
	behind := l.sites.Load()
	if behind == nil || behind.served(found) {
		return nil
	}
	return &license.Error{
		Reason: license.ReasonHost,
		Detail: "the license covers none of the hosts behind require_license: " + strings.Join(behind.shown(), ", "),
	}
}

// Interface guards
var _ api.Licensing = (*licensing)(nil)

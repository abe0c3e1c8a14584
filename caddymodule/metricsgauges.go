package caddymodule

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// gauges are what is read anew at each scrape, so that it is never out of date
// and costs nothing in between. They belong to one configuration.
type gauges struct {
	engines  map[string]*issuer.Engine // by the issuer's name
	verifier *auth.Verifier
	accounts account.View
	app      *App
}

var (
	jwksAge = describe("jwks_age_seconds",
		"Age of an issuer's keys. Absent while there are none.", "issuer")
	tokenCacheBytes = describe("token_cache_bytes",
		"Memory that the verified tokens take which are kept, in bytes; token_cache is its bound.")
	licenseExpiry = describe("license_expiry_timestamp_seconds",
		"When the license in force ends, in Unix time, without its grace. Absent without one.")
	licenseState = describe("license_state",
		"1 for the state that the license is in, 0 for the others. Absent where no license is asked for.", "state")
	serviceAccounts = describe("service_accounts",
		"Known service accounts by status: active, inactive or expired.", "status")
	storageSynced = describe("storage_sync_timestamp_seconds",
		"When storage last confirmed the known service accounts, in Unix time; 0 before the first time. It falls behind while storage is out of reach.")
	storageConflict = describe("storage_conflict",
		"1 while storage holds other service accounts than this node, or none any more: an operator decides by service-account repair.")
	licenseRefuses = describe("license_refuses",
		"1 while the license's state refuses every request behind require_license; 0 also where enforcement log or missing allow lets them pass. Absent where no license is asked for.")
	licenseSourceFault = describe("license_source_fault",
		"1 while a license is in force that its source no longer holds, so that a restart would lose it. Absent where no license is asked for.")
	clockSuspect = describe("clock_suspect",
		"1 while the clock is more than a day behind a time that was seen before. Absent where no license is asked for.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(metricsNamespace, metricsSubsystem, name), help, labels, nil)
}

// licenseReading is what the metrics show of the license.
type licenseReading struct {
	State        license.State
	ExpiresAt    time.Time // zero: no license
	Refuses      bool      // every request
	SourceFault  bool
	ClockSuspect bool
}

var licenseStates = []license.State{
	license.StateMissing, license.StateInvalid, license.StateNotYetValid, license.StateValid,
	license.StateExpiring, license.StateGrace, license.StateExpired,
}

// Describe names the gauges.
func (g gauges) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{jwksAge, tokenCacheBytes, licenseExpiry, licenseState, licenseRefuses, licenseSourceFault, serviceAccounts, storageSynced, storageConflict, clockSuspect} {
		out <- desc
	}
}

// Collect reads them.
func (g gauges) Collect(out chan<- prometheus.Metric) {
	show := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for name, engine := range g.engines {
		if fetched := engine.Status().FetchedAt; !fetched.IsZero() {
			show(jwksAge, time.Since(fetched).Seconds(), name)
		}
	}
	_, bytes := g.verifier.Cached()
	show(tokenCacheBytes, float64(bytes))
	counts := g.accounts.Counts()
	show(serviceAccounts, float64(counts.Active), "active")
	show(serviceAccounts, float64(counts.Inactive), "inactive")
	show(serviceAccounts, float64(counts.Expired), "expired")
	show(storageSynced, unixOf(g.accounts.Synced()))
	standing := g.accounts.Standing()
	show(storageConflict, oneIf(standing == account.Emptied || standing == account.Diverged))
	if g.app.readLicense != nil {
		collectLicense(g.app.readLicense(), show)
	}
}

func collectLicense(now licenseReading, show func(*prometheus.Desc, float64, ...string)) {
	for _, state := range licenseStates {
		show(licenseState, oneIf(state == now.State), string(state))
	}
	if !now.ExpiresAt.IsZero() {
		show(licenseExpiry, unixOf(now.ExpiresAt))
	}
	show(licenseRefuses, oneIf(now.Refuses))
	show(licenseSourceFault, oneIf(now.SourceFault))
	show(clockSuspect, oneIf(now.ClockSuspect))
}

func unixOf(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

func oneIf(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// Interface guards
var _ prometheus.Collector = gauges{}

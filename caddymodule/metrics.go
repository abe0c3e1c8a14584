package caddymodule

import (
	"cmp"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/auth/secevent"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/activation"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// Counters are made once a process, so that they go on counting over reloads;
// each configuration registers them on its own registry. All labels come from
// closed sets: names in the configuration, and words listed here.
var (
	tokensTotal = counter("tokens_total",
		"Requests with a token, or refused for want of one, by the configured issuer that the token claims and what became of it: let_in or the reason of the refusal.",
		"issuer", "result")
	tokenVerifySeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "token_verify_duration_seconds",
		Help:    "Time to verify a good token that was not remembered, with any wait for the issuer's keys and for its answer.",
		Buckets: []float64{.000025, .00005, .0001, .00025, .0005, .001, .0025, .01, .05, .25, 1, 5},
	}, []string{"issuer"})
	tokenCacheTotal = counter("token_cache_total",
		"Tokens looked up in the cache of those verified before: hit or miss.", "result")
	jwksFetchesTotal = counter("jwks_fetches_total",
		"Fetches of an issuer's key set: success or failure.", "issuer", "result")
	introspectionsTotal = counter("introspections_total",
		"Questions to an issuer about tokens: active, inactive, failed where there was no answer, or limited where none was asked because too many before brought no good answer.",
		"issuer", "result")
	introspectionSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: "introspection_duration_seconds",
		Help:    "Time that an issuer took to answer a question about a token, or to fail to.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"issuer"})
	licenseDenialsTotal = counter("license_denials_total",
		"Requests refused for the license, by the code of the refusal.", "code")
	licenseWaivedTotal = counter("license_waived_total",
		"Requests that the license did not let pass and that passed nevertheless, because of enforcement log or missing allow, by the code of the refusal.", "code")
	overLimitTotal = counter("license_over_limit_total",
		"New people, and new service accounts, beyond what the license is for: let_in or refused.", "limit", "result")
	securityEventsTotal = counter("security_events_total",
		"Events of an issuer (logout tokens, security event tokens, global revocations), by what they say and what became of them.",
		"issuer", "kind", "outcome")
	securityEventPollsTotal = counter("security_event_polls_total",
		"Requests to fetch an issuer's events: success or failure.", "issuer", "result")
	licensesSignedTotal = counter("licenses_signed_total",
		"Licenses signed here, by their type.", "type")
	ssoURLsTotal = counter("sso_urls_total",
		"Requests for the address of a login page, by the response type asked for and what became of it: ok or the code of the error.",
		"response_type", "result")
	activationsTotal = counter("activations_total",
		"Requests for a license in exchange for a login, or about one, by the operation and what became of it: ok or the code of the error.",
		"operation", "result")
)

const (
	metricsNamespace = "caddy"
	metricsSubsystem = "gatehouse"
)

// Values of labels beside those of the packages that the words belong to.
const (
	resultLetIn   = "let_in"
	resultRefused = "refused"
	resultHit     = "hit"
	resultMiss    = "miss"
	resultSuccess = "success"
	resultFailure = "failure"
	resultOK      = "ok"
	labelOther    = "other" // whatever is in no closed set
)

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: name, Help: help,
	}, labels)
}

// registerMetrics shows the process's counters, and this configuration's
// gauges, on the configuration's registry.
func registerMetrics(ctx caddy.Context, gauges prometheus.Collector) error {
	registry := ctx.GetMetricsRegistry()
	for _, collector := range []prometheus.Collector{
		tokensTotal, tokenVerifySeconds, tokenCacheTotal, jwksFetchesTotal,
		introspectionsTotal, introspectionSeconds,
		licenseDenialsTotal, licenseWaivedTotal, overLimitTotal, licensesSignedTotal, ssoURLsTotal, activationsTotal, securityEventsTotal, securityEventPollsTotal, gauges,
	} {
		if err := registry.Register(collector); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// licenseCodes are the codes of refusals for the license.
var licenseCodes = func() (codes []string) {
	for _, reason := range []license.Reason{
		license.ReasonMissing, license.ReasonForm, license.ReasonRevokedID, license.ReasonInstance, license.ReasonExpired,
		license.ReasonNotYetValid, license.ReasonHost, license.ReasonFeature,
	} {
		codes = append(codes, reason.Code())
	}
	return codes
}()

var (
	licenseTypes     = []string{string(license.OSS), string(license.Enterprise)}
	ssoResponseTypes = []string{"", sso.ResponseTypeCode, sso.ResponseTypeToken}
)

// The counters of what a configuration uses begin at zero, as those of
// [newMeters] do.

func beginLicenseCounters() {
	for _, code := range licenseCodes {
		licenseDenialsTotal.WithLabelValues(code)
		licenseWaivedTotal.WithLabelValues(code)
	}
}

func beginLimitCounters() {
	for _, name := range countedLimits {
		overLimitTotal.WithLabelValues(name, resultLetIn)
		overLimitTotal.WithLabelValues(name, resultRefused)
	}
}

func beginEventCounters(issuer string, c *IssuerEvents) {
	for _, kind := range secevent.Kinds {
		for _, outcome := range secevent.Outcomes {
			securityEventsTotal.WithLabelValues(issuer, string(kind), string(outcome))
		}
	}
	if c.Poll != nil {
		securityEventPollsTotal.WithLabelValues(issuer, resultSuccess)
		securityEventPollsTotal.WithLabelValues(issuer, resultFailure)
	}
}

func beginSigningCounters() {
	for _, t := range licenseTypes {
		licensesSignedTotal.WithLabelValues(t)
	}
}

func beginSSOCounters() {
	for _, t := range ssoResponseTypes {
		ssoURLsTotal.WithLabelValues(t, resultOK)
		for _, code := range sso.Codes() {
			ssoURLsTotal.WithLabelValues(t, string(code))
		}
	}
}

func beginActivationCounters() {
	for _, op := range activation.Operations() {
		activationsTotal.WithLabelValues(string(op), resultOK)
	}
}

// countActivation counts a request about a license in exchange for a login. Its code is
// of a closed set.
func countActivation(o activation.Outcome) {
	activationsTotal.WithLabelValues(string(o.Operation), cmp.Or(string(o.Code), resultOK)).Inc()
}

// countLicenseSigned counts a license that was signed here.
func countLicenseSigned(t license.Type) {
	licensesSignedTotal.WithLabelValues(known(licenseTypes, string(t))).Inc()
}

// countSSOURL counts an answer about a login page: its code is empty for an
// address, and else the error's.
func countSSOURL(responseType string, code sso.Code) {
	result := resultOK
	if code != "" {
		result = string(code)
	}
	ssoURLsTotal.WithLabelValues(known(ssoResponseTypes, responseType), result).Inc()
}

// known keeps whatever is not in a closed set out of labels.
func known(set []string, value string) string {
	for _, one := range set {
		if one == value {
			return value
		}
	}
	return labelOther
}

// countFetch counts a fetch of an issuer's keys.
func countFetch(name string, e issuer.Event) {
	switch e.Kind {
	case issuer.FetchSucceeded:
		jwksFetchesTotal.WithLabelValues(name, resultSuccess).Inc()
	case issuer.FetchFailed:
		jwksFetchesTotal.WithLabelValues(name, resultFailure).Inc()
	}
}

// gauges are what is read anew at each scrape, so that it is never out of date
// and costs nothing in between. They belong to one configuration.
type gauges struct {
	engines     map[string]*issuer.Engine // by the issuer's name
	verifier    *auth.Verifier
	accounts    account.View
	revocations *revocation.Registry
	license     func() licenseReading // nil: none is asked for
	limits      *limits               // nil: as above
	events      *eventReceivers

	activations *activations // nil: no login brings a license
}

var (
	jwksAge = describe("jwks_age_seconds",
		"Age of an issuer's keys. Absent while there are none.", "issuer")
	tokenCacheBytes = describe("token_cache_bytes",
		"Memory that the verified tokens take which are kept, in bytes; token_cache is its bound.")
	securityEventTime = describe("security_event_timestamp_seconds",
		"When an issuer whose events are taken last sent one that it had signed, in Unix time; while there was none, when this process began to wait for it.", "issuer")
	licenseExpiry = describe("license_expiry_timestamp_seconds",
		"When the license in force ends, in Unix time, without its grace. Absent without one.")
	licenseState = describe("license_state",
		"1 for the state that the license is in, 0 for the others. Absent where no license is asked for.", "state")
	serviceAccounts = describe("service_accounts",
		"Known service accounts by status: active, inactive or expired.", "status")
	revocationsHeld = describe("revocations",
		"Revocations that are in force.")
	storageSynced = describe("storage_sync_timestamp_seconds",
		"When storage last confirmed the known service accounts, in Unix time; 0 before the first time. It falls behind while storage is out of reach.")
	storageConflict = describe("storage_conflict",
		"1 while storage holds other service accounts than this node, or none any more: an operator decides by service-account repair.")
	licenseRefuses = describe("license_refuses",
		"1 while the license's state refuses every request behind require_license; 0 also where enforcement log or missing allow lets them pass. Absent where no license is asked for.")
	licenseSourceFault = describe("license_source_fault",
		"1 while a license is in force that its source no longer holds, so that a restart would lose it. Absent where no license is asked for.")
	licenseLimit = describe("license_limit",
		"What the license in force is for at most. Absent for a limit that it does not have.", "limit")
	licenseUsed = describe("license_used",
		"How much of a limit of the license is used: people who were seen within 30 days, or service accounts. Absent for a limit that it does not have.", "limit")
	revocationsLate = describe("license_revocation_list_late",
		"1 while the list of revoked licenses is older than it should be, or none ever came. Absent without revocation_list.")
	revocationsNext = describe("license_revocation_list_next_update_timestamp_seconds",
		"By when the list of revoked licenses should be followed by a newer one, in Unix time. Absent while none is known.")
	renewalFault = describe("license_renewal_fault",
		"1 while the last try to renew the license came to nothing, or what the vendor sent was kept aside. Absent without renew.")
	seatsTaken = describe("seats",
		"Instances that have a license in exchange for a login, by the customer account. Absent where no login brings one.", "account")
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

	Revocations *active.RevocationStatus // nil: there is no source of any
	Renewal     *active.RenewalStatus    // nil: it is not renewed
}

// Describe names the gauges.
func (g gauges) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{jwksAge, securityEventTime, tokenCacheBytes, licenseExpiry, licenseState, licenseRefuses, licenseSourceFault, licenseLimit, licenseUsed,
		revocationsLate, revocationsNext, renewalFault, serviceAccounts, revocationsHeld, storageSynced, storageConflict, clockSuspect, seatsTaken} {
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
	g.events.collect(show)
	_, bytes := g.verifier.Cached()
	show(tokenCacheBytes, float64(bytes))
	counts := g.accounts.Counts()
	show(serviceAccounts, float64(counts.Active), "active")
	show(serviceAccounts, float64(counts.Inactive), "inactive")
	show(serviceAccounts, float64(counts.Expired), "expired")
	show(revocationsHeld, float64(g.revocations.Count()))
	show(storageSynced, unixOf(g.accounts.Synced()))
	found := g.accounts.StorageState()
	show(storageConflict, oneIf(found == account.Emptied || found == account.Diverged))
	if g.activations != nil {
		for code, taken := range g.activations.taken() {
			show(seatsTaken, float64(taken), code)
		}
	}
	if g.license == nil {
		return
	}
	now := g.license()
	for _, state := range license.States() {
		show(licenseState, oneIf(state == now.State), string(state))
	}
	if !now.ExpiresAt.IsZero() {
		show(licenseExpiry, unixOf(now.ExpiresAt))
	}
	show(licenseRefuses, oneIf(now.Refuses))
	show(licenseSourceFault, oneIf(now.SourceFault))
	show(clockSuspect, oneIf(now.ClockSuspect))
	for _, name := range countedLimits {
		if limit, limited := g.limits.limit(name); limited {
			show(licenseLimit, float64(limit.Most), name)
			show(licenseUsed, float64(g.limits.used(name)), name)
		}
	}
	if list := now.Revocations; list != nil {
		show(revocationsLate, oneIf(list.Late))
		if list.Version > 0 {
			show(revocationsNext, float64(list.NextUpdate))
		}
	}
	if now.Renewal != nil {
		show(renewalFault, oneIf(now.Renewal.Error != ""))
	}
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

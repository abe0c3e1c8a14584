package caddymodule

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/license"
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
		Help:    "Time to verify a good token that was not remembered, with any wait for the issuer's keys.",
		Buckets: []float64{.000025, .00005, .0001, .00025, .0005, .001, .0025, .01, .05, .25, 1, 5},
	}, []string{"issuer"})
	tokenCacheTotal = counter("token_cache_total",
		"Tokens looked up in the cache of those verified before: hit or miss.", "result")
	jwksFetchesTotal = counter("jwks_fetches_total",
		"Fetches of an issuer's key set: success or failure.", "issuer", "result")
	licenseDenialsTotal = counter("license_denials_total",
		"Requests refused for the license, by the code of the refusal.", "code")
	licenseWaivedTotal = counter("license_waived_total",
		"Requests that the license did not let pass and that passed nevertheless, because of enforcement log or missing allow, by the code of the refusal.", "code")
	licensesSignedTotal = counter("licenses_signed_total",
		"Licenses signed here, by their type.", "type")
	ssoURLsTotal = counter("sso_urls_total",
		"Requests for the address of a login page, by the response type asked for and what became of it: ok or the code of the error.",
		"response_type", "result")
)

const (
	metricsNamespace = "caddy"
	metricsSubsystem = "gatehouse"
)

// Values of labels beside those of the packages that the words belong to.
const (
	resultLetIn   = "let_in"
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
		licenseDenialsTotal, licenseWaivedTotal, licensesSignedTotal, ssoURLsTotal, gauges,
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
		license.ReasonMissing, license.ReasonForm, license.ReasonExpired,
		license.ReasonNotYetValid, license.ReasonHost, license.ReasonFeature,
	} {
		codes = append(codes, reason.Code())
	}
	return codes
}()

// countLicenseDenial counts a request that was refused for the license. The code
// is [license.Error.Code]'s.
func countLicenseDenial(code string) {
	licenseDenialsTotal.WithLabelValues(known(licenseCodes, code)).Inc()
	recentRefusals.add(known(licenseCodes, code))
}

// countLicenseWaived counts a request that passed although the license did not
// let it.
func countLicenseWaived(code string) {
	licenseWaivedTotal.WithLabelValues(known(licenseCodes, code)).Inc()
}

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

// meters are the counters that a request touches, looked up beforehand.
type meters struct {
	hit, miss prometheus.Counter
	issuers   map[string]*issuerMeters // by name; "" for tokens of no configured issuer
}

type issuerMeters struct {
	letIn   prometheus.Counter
	refused map[string]prometheus.Counter // by reason
	seconds prometheus.Observer           // nil for ""
}

// newMeters makes the meters of a configuration's issuers. A series begins at
// zero, so that a rate over it sees its first event.
func newMeters(names []string) *meters {
	m := &meters{
		hit:     tokenCacheTotal.WithLabelValues(resultHit),
		miss:    tokenCacheTotal.WithLabelValues(resultMiss),
		issuers: map[string]*issuerMeters{"": newIssuerMeters("")},
	}
	for _, name := range names {
		m.issuers[name] = newIssuerMeters(name)
		m.issuers[name].seconds = tokenVerifySeconds.WithLabelValues(name)
		jwksFetchesTotal.WithLabelValues(name, resultSuccess)
		jwksFetchesTotal.WithLabelValues(name, resultFailure)
	}
	return m
}

func newIssuerMeters(name string) *issuerMeters {
	m := &issuerMeters{
		letIn:   tokensTotal.WithLabelValues(name, resultLetIn),
		refused: make(map[string]prometheus.Counter),
	}
	for _, refusal := range auth.Refusals() {
		m.refused[refusal.Reason] = tokensTotal.WithLabelValues(name, refusal.Reason)
	}
	return m
}

func (m *meters) of(issuer string) *issuerMeters {
	if found, ok := m.issuers[issuer]; ok {
		return found
	}
	return m.issuers[""]
}

// verified counts what the verifier did for a token.
func (m *meters) verified(v *auth.Verdict) {
	if v.Remembered {
		m.hit.Inc()
		return
	}
	if v.Refusal == auth.ErrMalformedHeader {
		return // no token that could be remembered
	}
	m.miss.Inc()
	if seconds := m.of(v.Issuer).seconds; v.Refusal == nil && seconds != nil {
		seconds.Observe(v.Took.Seconds())
	}
}

// letIn counts a request that was let in on a token.
func (m *meters) letIn(issuer string) { m.of(issuer).letIn.Inc() }

// refused counts a request that was refused, whether for its token or the lack
// of one.
func (m *meters) refused(issuer string, refusal *auth.Refusal) {
	if refused, ok := m.of(issuer).refused[refusal.Reason]; ok {
		refused.Inc()
	}
	recentRefusals.add(refusal.Reason)
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

// outcome counts what became of a request and tells its trace.
func (m *meters) outcome(r *http.Request, issuer string, caller *auth.Principal, refusal *auth.Refusal) {
	if refusal != nil {
		m.refused(issuer, refusal)
		traceRefusal(r.Context(), issuer, refusal)
		return
	}
	m.letIn(issuer)
	traceCaller(r.Context(), caller)
}

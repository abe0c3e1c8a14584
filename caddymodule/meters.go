package caddymodule

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

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
	if v.Cached {
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

// outcome counts what became of a request, whether it was refused for its token or
// for want of one, and adds it to the request's trace.
func (m *meters) outcome(r *http.Request, issuer string, caller *auth.Principal, refusal *auth.Refusal) {
	counters := m.of(issuer)
	if refusal == nil {
		counters.letIn.Inc()
		traceCaller(r.Context(), caller)
		return
	}
	if refused, ok := counters.refused[refusal.Reason]; ok {
		refused.Inc()
	}
	recentRefusals.add(refusal.Reason)
	traceRefusal(r.Context(), issuer, refusal)
}

// recentRefusals are those of the last hour, over all configurations.
var recentRefusals = newTally(time.Now)

const tallyMinutes = 60

// tally counts words of a closed set by the minute, and forgets them after an
// hour.
type tally struct {
	now func() time.Time

	mu      sync.Mutex
	minutes [tallyMinutes]tallyMinute
}

type tallyMinute struct {
	minute int64 // since 1970
	counts map[string]int
}

func newTally(now func() time.Time) *tally { return &tally{now: now} }

func (t *tally) add(word string) {
	minute := t.now().Unix() / 60
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := &t.minutes[minute%tallyMinutes]
	if slot.minute != minute || slot.counts == nil {
		*slot = tallyMinute{minute, make(map[string]int)}
	}
	slot.counts[word]++
}

// sums gives how often each word came in the last hour; never nil.
func (t *tally) sums() map[string]int {
	oldest := t.now().Unix()/60 - tallyMinutes
	t.mu.Lock()
	defer t.mu.Unlock()
	sums := make(map[string]int)
	for i := range t.minutes {
		if t.minutes[i].minute <= oldest {
			continue
		}
		for word, n := range t.minutes[i].counts {
			sums[word] += n
		}
	}
	return sums
}

// Attributes on the span of Caddy's own handler `tracing`, where it is on. None
// holds a token or says who is calling.
const (
	traceResult = attribute.Key("gatehouse.result") // let_in or the reason of the refusal
	traceIssuer = attribute.Key("gatehouse.issuer") // the configured name
	traceKind   = attribute.Key("gatehouse.kind")   // user, service_account or unclear
)

func traceRefusal(ctx context.Context, issuer string, refusal *auth.Refusal) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(traceResult.String(refusal.Reason), traceIssuer.String(issuer))
	}
}

func traceCaller(ctx context.Context, caller *auth.Principal) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(
			traceResult.String(resultLetIn),
			traceIssuer.String(caller.Issuer()),
			traceKind.String(string(caller.Kind())),
		)
	}
}

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

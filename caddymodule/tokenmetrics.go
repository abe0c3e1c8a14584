package caddymodule

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuerkeys"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
)

var (
	tokensTotal = metrics.Counter("tokens_total",
		"Requests with a token, or refused for want of one, by the configured issuer that the token claims and what became of it: let_in or the reason of the refusal.",
		"issuer", "result")
	tokenVerifySeconds = metrics.Histogram("token_verify_duration_seconds",
		"Time to verify a valid token that was not remembered, with any wait for the issuer's keys and for its answer.",
		[]float64{.000025, .00005, .0001, .00025, .0005, .001, .0025, .01, .05, .25, 1, 5}, "issuer")
	tokenCacheTotal = metrics.Counter("token_cache_total",
		"Tokens looked up in the cache of those verified before: hit or miss.", "result")
)

// Values of the label result.
const (
	resultHit  = "hit"
	resultMiss = "miss"
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
		issuers: make(map[string]*issuerMeters),
	}
	for _, name := range append([]string{""}, names...) {
		counters := &issuerMeters{
			letIn:   tokensTotal.WithLabelValues(name, metrics.LetIn),
			refused: make(map[string]prometheus.Counter),
		}
		for _, refusal := range append(auth.Refusals(), auth.SenderRefusals()...) {
			counters.refused[refusal.Reason] = tokensTotal.WithLabelValues(name, refusal.Reason)
		}
		if name != "" {
			counters.seconds = tokenVerifySeconds.WithLabelValues(name)
			issuerkeys.Count(name)
		}
		m.issuers[name] = counters
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
	} else if refused, ok := counters.refused[refusal.Reason]; ok {
		refused.Inc()
	}
	traceOutcome(r.Context(), issuer, caller, refusal)
}

// lastHour is what became of requests in the last hour, over all configurations.
var lastHour = &history{now: time.Now, read: readCounters, marks: []reading{{at: time.Now()}}}

const historyMinutes = 60

// history tells how counters rose in each minute. It reads them once a minute, so
// that counting itself costs nothing more. While a configuration runs, one goroutine
// does so, which the first begins and the last ends.
type history struct {
	now  func() time.Time
	read func() map[outcomeLabels]int

	mu    sync.Mutex
	marks []reading // the newest last; the first may be older than an hour
	users int
	end   func()
}

// reading is what the counters had reached when a minute began. Those at zero are left
// out.
type reading struct {
	at     time.Time
	counts map[outcomeLabels]int
}

type outcomeLabels struct{ issuer, result string }

// keep marks each minute until it is let go of.
func (h *history) keep() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users++; h.users == 1 {
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { h.run(ctx) })
		h.end = func() { cancel(); running.Wait() }
	}
	return func() {
		h.mu.Lock()
		h.users--
		end, last := h.end, h.users == 0
		h.mu.Unlock()
		if last {
			end()
		}
	}
}

func (h *history) run(ctx context.Context) {
	for {
		now := h.now()
		next := time.NewTimer(now.Truncate(time.Minute).Add(time.Minute).Sub(now))
		select {
		case <-next.C:
			h.mark()
		case <-ctx.Done():
			next.Stop()
			return
		}
	}
}

// mark notes where the counters stand, and forgets what is older than an hour but
// for the newest of these, from which the first minute is counted.
func (h *history) mark() {
	made := reading{h.now(), h.read()}
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.marks) > 1 && h.marks[len(h.marks)-1].at.After(made.at) {
		h.marks = h.marks[:len(h.marks)-1] // the clock was set back
	}
	h.marks = append(h.marks, made)
	oldest := made.at.Add(-historyMinutes * time.Minute)
	for len(h.marks) > 2*historyMinutes || len(h.marks) > 1 && h.marks[1].at.Before(oldest) {
		h.marks = h.marks[1:]
	}
}

// hour gives the minutes up to the one that runs; the first began an hour less a
// minute before it.
func (h *history) hour() api.Hour {
	counts := h.read()
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.now().UTC().Truncate(time.Minute)
	hour := api.Hour{Begin: last.Add(-(historyMinutes - 1) * time.Minute), Series: []api.Minutes{}}
	// How far the counters had come at the beginning of each minute, and now.
	var reached [historyMinutes + 1]map[outcomeLabels]int
	reached[historyMinutes] = counts
	for i, next := 0, 0; i < historyMinutes; i++ {
		// A mark is made a moment after its minute has begun.
		for next+1 < len(h.marks) && h.marks[next+1].at.Before(hour.Begin.Add(time.Duration(i)*time.Minute+30*time.Second)) {
			next++
		}
		reached[i] = h.marks[next].counts
	}
	for labels, count := range counts {
		if count <= reached[0][labels] {
			continue
		}
		minutes := make([]int, historyMinutes)
		for i := range minutes {
			minutes[i] = max(0, reached[i+1][labels]-reached[i][labels])
		}
		hour.Series = append(hour.Series, api.Minutes{Issuer: labels.issuer, Result: labels.result, Counts: minutes})
	}
	slices.SortFunc(hour.Series, func(a, b api.Minutes) int {
		return cmp.Or(strings.Compare(a.Issuer, b.Issuer), strings.Compare(a.Result, b.Result))
	})
	return hour
}

// readCounters reads what became of requests: the refusals for their token, for the
// license, and the others.
func readCounters() map[outcomeLabels]int {
	counts := make(map[outcomeLabels]int)
	for _, counters := range []*prometheus.CounterVec{tokensTotal, licensing.DenialsTotal} {
		metrics := make(chan prometheus.Metric)
		go func() {
			defer close(metrics)
			counters.Collect(metrics)
		}()
		for metric := range metrics {
			var read dto.Metric
			if err := metric.Write(&read); err != nil || read.GetCounter().GetValue() == 0 {
				continue
			}
			var labels outcomeLabels
			for _, label := range read.GetLabel() {
				if label.GetName() == "issuer" {
					labels.issuer = label.GetValue()
				} else {
					labels.result = label.GetValue()
				}
			}
			counts[labels] = int(read.GetCounter().GetValue())
		}
	}
	return counts
}

// Attributes on the span of Caddy's own handler `tracing`, where it is on. None
// holds a token or says who is calling.
const (
	traceResult = attribute.Key("gatehouse.result") // let_in or the reason of the refusal
	traceIssuer = attribute.Key("gatehouse.issuer") // the configured name
	traceKind   = attribute.Key("gatehouse.kind")   // user, service_account or unclear
)

func traceOutcome(ctx context.Context, issuer string, caller *auth.Principal, refusal *auth.Refusal) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	if refusal != nil {
		span.SetAttributes(traceResult.String(refusal.Reason), traceIssuer.String(issuer))
		return
	}
	span.SetAttributes(
		traceResult.String(metrics.LetIn),
		traceIssuer.String(caller.Issuer()),
		traceKind.String(string(caller.Kind())),
	)
}

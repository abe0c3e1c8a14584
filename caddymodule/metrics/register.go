// Package metrics puts Gatehouse's metrics on Caddy's registry. Each is defined by the
// feature that it is about, as a variable of its package. All labels come from closed
// sets: names in the configuration, and words in the code.
package metrics

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	namespace = "caddy"
	subsystem = "gatehouse"
)

// Values of labels that several metrics have.
const (
	LetIn   = "let_in"
	Refused = "refused"
	Success = "success"
	Failure = "failure"
	OK      = "ok"
	Other   = "other" // whatever is in no closed set
)

var (
	// counters are made once a process, so that they go on counting over reloads;
	// each configuration registers them on its own registry.
	counters []prometheus.Collector

	descriptions []*prometheus.Desc // of the gauges
)

// Counter makes a counter of the process. It must be called by the initialization of a
// package's variable.
func Counter(name, help string, labels ...string) *prometheus.CounterVec {
	made := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
	counters = append(counters, made)
	return made
}

// Histogram makes a histogram of the process, as Counter makes a counter.
func Histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	made := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, Buckets: buckets,
	}, labels)
	counters = append(counters, made)
	return made
}

// Gauge describes a gauge, which is read anew at each scrape, so that it is never out of
// date and costs nothing in between. It must be called as Counter must.
func Gauge(name, help string, labels ...string) *prometheus.Desc {
	made := prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
	descriptions = append(descriptions, made)
	return made
}

// Show takes the value that a gauge has now.
type Show = func(desc *prometheus.Desc, value float64, labels ...string)

// Register shows the process's counters, and a configuration's gauges as they are read,
// on the configuration's registry.
func Register(ctx caddy.Context, read ...func(Show)) error {
	registry := ctx.GetMetricsRegistry()
	for _, collector := range append(slices.Clone(counters), gauges(read)) {
		if err := registry.Register(collector); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// gauges are those of one configuration.
type gauges []func(Show)

// Describe names all gauges.
func (gauges) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range descriptions {
		out <- desc
	}
}

// Collect reads them.
func (g gauges) Collect(out chan<- prometheus.Metric) {
	for _, read := range g {
		read(func(desc *prometheus.Desc, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
		})
	}
}

// Known keeps whatever is not in a closed set out of labels.
func Known(set []string, value string) string {
	if slices.Contains(set, value) {
		return value
	}
	return Other
}

// Unix is a time as a gauge has it; 0 for none.
func Unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// OneIf is 1 if it holds, else 0.
func OneIf(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

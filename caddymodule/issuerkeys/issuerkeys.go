// Package issuerkeys shares the engines that keep the keys and metadata of issuers: over
// reloads, and among all parts of a configuration that ask an issuer in the same way.
package issuerkeys

import (
	"io"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
)

// Shared are the engines by their IDs. Each must be released as often as it was taken.
var Shared = pool.New(func(e *issuer.Engine) error { return CloseLater(e) })

// Take gives the engine of an issuer.
func Take(source issuer.Config) (*issuer.Engine, error) {
	return Shared.Take(source.ID(), func() (*issuer.Engine, error) { return issuer.New(source, issuer.Options{}) })
}

// lateRequests is how long what requests need outlives the last configuration with it:
// Caddy cleans a configuration up while requests that came to it are still being
// served, and those must not find their keys gone.
const lateRequests = 10 * time.Second

// CloseLater closes what requests need that are still being served.
func CloseLater(what io.Closer) error {
	if caddy.Exiting() {
		return what.Close()
	}
	time.AfterFunc(lateRequests, func() { _ = what.Close() })
	return nil
}

var (
	fetches = metrics.Counter("jwks_fetches_total",
		"Fetches of an issuer's key set: success or failure.", "issuer", "result")
	age = metrics.Gauge("jwks_age_seconds",
		"Age of an issuer's keys. Absent while there are none.", "issuer")
)

// Count begins to count an issuer's fetches, at zero.
func Count(name string) {
	fetches.WithLabelValues(name, metrics.Success)
	fetches.WithLabelValues(name, metrics.Failure)
}

// ShowAge shows how old the keys of engines are, by the issuer's name.
func ShowAge(engines map[string]*issuer.Engine, show metrics.Show) {
	for name, engine := range engines {
		if fetched := engine.Status().FetchedAt; !fetched.IsZero() {
			show(age, time.Since(fetched).Seconds(), name)
		}
	}
}

// Log writes one line for each change of state of an issuer's keys, counts fetches and
// emits events. What goes well over and over again is no change and stays at DEBUG.
type Log struct {
	Name   string // of the issuer; "" of one that only login pages are asked of
	Logger *zap.Logger
	Events *events.Emitter
}

// Attach gives an engine storage, and what happens to it to the log.
func (l Log) Attach(engine *issuer.Engine, storage certmagic.Storage) (detach func()) {
	return engine.Attach(issuer.Host{Storage: storage, Observe: l.observe})
}

func (l Log) observe(e issuer.Event) {
	if l.Name != "" {
		l.report(e)
	}
	switch e.Kind {
	case issuer.FetchSucceeded:
		l.Logger.Debug("key set fetched")
	case issuer.FetchFailed:
		l.Logger.Debug("key set could not be fetched", zap.Error(e.Err))
	case issuer.Unavailable:
		l.Logger.Warn("the issuer's keys cannot be fetched; the last good ones, if any, stay in force", zap.Error(e.Err))
	case issuer.Recovered:
		l.Logger.Info("the issuer's keys can be fetched again")
	case issuer.KeysChanged:
		l.Logger.Info("the issuer's keys changed", zap.Strings("added", e.Added), zap.Strings("removed", e.Removed))
	case issuer.Restored:
		l.Logger.Info("the issuer's keys were restored from storage", zap.Strings("keys", e.Added))
	case issuer.Warned:
		l.Logger.Warn("the issuer's metadata or keys are not as they should be", zap.Error(e.Err))
	}
}

// report counts a fetch, and emits the beginning and the end of an outage.
func (l Log) report(e issuer.Event) {
	event := ""
	switch e.Kind {
	case issuer.FetchSucceeded:
		fetches.WithLabelValues(l.Name, metrics.Success).Inc()
		return
	case issuer.FetchFailed:
		fetches.WithLabelValues(l.Name, metrics.Failure).Inc()
		return
	case issuer.Unavailable:
		event = events.JWKSUnavailable
	case issuer.Recovered:
		event = events.JWKSRecovered
	default:
		return
	}
	l.Events.Emit(event, func() map[string]any {
		data := map[string]any{"issuer": l.Name, "identifier": e.Issuer}
		if e.Err != nil {
			data["error"] = e.Err.Error()
		}
		return data
	})
}

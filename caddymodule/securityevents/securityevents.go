// Package securityevents takes the events that issuers send: that somebody logged out, a
// session was revoked or an account disabled. It makes auth/secevent a part of Caddy.
package securityevents

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/time/rate"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/auth/secevent"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuerkeys"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// Receivers take the events of a configuration's issuers. The memory of those that were
// taken, and the keys of transmitters that are not issuers, outlive a reload.
type Receivers struct {
	host    Host
	list    []*receiver // in the order of the issuers; nil: no issuer has events
	memory  *secevent.Memory
	taken   bool                      // the memory was
	engines map[string]*issuer.Engine // of transmitters, by the issuer's name
	keys    []string                  // of these, to give them back
}

// Host is what the rest of a configuration has to give.
type Host struct {
	StorageID string
	Revoked   *revocation.Registry
	Events    *events.Emitter
	Audit     func(api.AuditEntry)
	Logger    *zap.Logger
}

// Issuer is an issuer whose events are taken.
type Issuer struct {
	Config   *Config
	Policy   auth.Policy
	Source   issuer.Config
	Keys     *issuer.Engine
	Lifetime time.Duration // of its tokens, at most
}

type receiver struct {
	*secevent.Receiver
	config *Config          // without placeholders
	poller *secevent.Poller // nil: nothing is fetched
	log    *eventLog
}

var memories = pool.New((*secevent.Memory).Close)

// New makes receivers of no issuer.
func New(h Host) *Receivers {
	return &Receivers{host: h, engines: make(map[string]*issuer.Engine)}
}

// Add takes the events of an issuer. What it needs is taken, and must be released, also
// if there is an error.
func (r *Receivers) Add(i Issuer) error {
	if !r.taken {
		memory, err := memories.Take(r.host.StorageID, func() (*secevent.Memory, error) { return secevent.NewMemory(registry.Options{}), nil })
		if err != nil {
			return err
		}
		r.memory, r.taken = memory, true
	}
	config, err := i.Config.resolved(i)
	if err != nil {
		return err
	}
	keys, err := r.keysOf(i, config)
	if err != nil {
		return err
	}
	source, err := secevent.NewSource(config.source(i, keys))
	if err != nil {
		return err
	}
	name := i.Policy.Name
	beginCounters(name, config)
	log := &eventLog{name: name, logger: r.host.Logger.With(zap.String("issuer", name)), audit: r.host.Audit, events: r.host.Events, times: timesOf(name), refused: rate.Sometimes{Interval: time.Minute}}
	one := &receiver{config: config, log: log, Receiver: secevent.NewReceiver(source, r.host.Revoked, r.memory, log.received)}
	if config.Poll != nil {
		if one.poller, err = config.Poll.poller(i.Source.CA, one.Receiver, log.polled); err != nil {
			return err
		}
	}
	r.list = append(r.list, one)
	return nil
}

// keysOf gives the keys by which an issuer's events are signed: those of its transmitter,
// or its own.
func (r *Receivers) keysOf(i Issuer, config *Config) (*issuer.Engine, error) {
	if config.Transmitter == "" {
		return i.Keys, nil
	}
	source := i.Source
	source.Issuer, source.JWKSURI, source.JWKSFile = config.Transmitter, config.TransmitterJWKSURI, ""
	if err := source.Validate(); err != nil {
		return nil, fmt.Errorf("events: transmitter: %w", err)
	}
	engine, err := issuerkeys.Take(source)
	if err != nil {
		return nil, fmt.Errorf("events: transmitter: %w", err)
	}
	r.keys = append(r.keys, source.ID())
	r.engines[i.Policy.Name] = engine
	return engine, nil
}

// poller fetches events, over connections that trust the authorities in a file.
func (p *Poll) poller(ca string, to *secevent.Receiver, polled func(error)) (*secevent.Poller, error) {
	transport, err := issuer.NewTransport(ca)
	if err != nil {
		return nil, fmt.Errorf("events: poll: %w", err)
	}
	config := secevent.PollConfig{URL: p.URL, Every: time.Duration(p.Every), Token: p.Token, Client: &http.Client{Transport: transport}}
	if c := p.ClientCredentials; c != nil {
		config.ClientCredentials = &clientcredentials.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret, TokenURL: c.TokenURL, Scopes: c.Scopes}
	}
	return secevent.NewPoller(config, to, polled), nil
}

// Attach gives storage and log, and begins to fetch. What was fetched and not
// acknowledged when that ends, the next configuration fetches again.
func (r *Receivers) Attach(storage certmagic.Storage, refresh time.Duration) (detach []func()) {
	if !r.taken {
		return nil
	}
	detach = append(detach, r.memory.Attach(secevent.MemoryHost{Storage: storage, Refresh: refresh}))
	for name, engine := range r.engines {
		log := issuerkeys.Log{Name: name, Logger: r.host.Logger.With(zap.String("issuer", name), zap.String("keys_of", "transmitter")), Events: r.host.Events}
		detach = append(detach, log.Attach(engine, storage))
	}
	for _, one := range r.list {
		if one.poller == nil {
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		var polling sync.WaitGroup
		polling.Go(func() { one.poller.Run(ctx) })
		detach = append(detach, func() { cancel(); polling.Wait() })
	}
	return detach
}

// Release gives back what outlives a configuration.
func (r *Receivers) Release() error {
	if r == nil {
		return nil
	}
	var errs []error
	if r.taken {
		errs = append(errs, memories.Release(r.host.StorageID))
	}
	for _, key := range r.keys {
		errs = append(errs, issuerkeys.Shared.Release(key))
	}
	r.taken, r.keys = false, nil
	return errors.Join(errs...)
}

// Service is what the API serves of an issuer; nil: nothing.
func (r *Receivers) Service(name string) *api.EventReceiver {
	for _, one := range r.list {
		if one.log.name != name {
			continue
		}
		c := one.config
		service := &api.EventReceiver{
			Ways: c.ways(), Receiver: one.Receiver, Poller: one.poller, LastEvent: one.log.times.lastEvent,
			Logout: len(c.BackChannelLogout) > 0, Push: c.Push != nil, Global: c.GlobalRevocation != nil,
		}
		if c.Push != nil {
			service.Bearer = c.Push.Bearer
		}
		return service
	}
	return nil
}

// eventLog counts and reports what becomes of an issuer's events.
type eventLog struct {
	name    string // of the issuer
	logger  *zap.Logger
	audit   func(api.AuditEntry)
	events  *events.Emitter
	times   *eventTimes
	refused rate.Sometimes // logged
	failing atomic.Bool    // the last poll failed
}

func (l *eventLog) received(what secevent.Received) {
	eventsTotal.WithLabelValues(l.name, string(what.Kind), string(what.Outcome)).Inc()
	l.logger.Debug("event", zap.String("kind", string(what.Kind)), zap.String("outcome", string(what.Outcome)), zap.Error(what.Err))
	if what.Outcome != secevent.Refused && what.Outcome != secevent.Failed {
		l.times.last.Store(time.Now().Unix())
	}
	switch what.Outcome {
	case secevent.Refused:
		l.refused.Do(func() {
			l.logger.Warn("an event was refused; others in this minute are only counted", zap.String("kind", string(what.Kind)), zap.Error(what.Err))
		})
	case secevent.Revoked:
		for _, subject := range what.Subjects {
			l.audit(api.AuditEntry{
				Actor: "issuer " + l.name, Action: "event." + string(what.Kind), Target: string(subject.Target) + " " + subject.Name, Outcome: "done",
			})
		}
		l.events.Emit(events.SecurityEvent, func() map[string]any {
			return map[string]any{"issuer": l.name, "kind": string(what.Kind), "subjects": subjectsData(what.Subjects)}
		})
	}
}

func subjectsData(subjects []secevent.Subject) []any {
	list := make([]any, 0, len(subjects))
	for _, one := range subjects {
		list = append(list, map[string]any{"target": string(one.Target), "name": one.Name})
	}
	return list
}

func (l *eventLog) polled(err error) {
	result := metrics.Success
	if err != nil {
		result = metrics.Failure
	}
	pollsTotal.WithLabelValues(l.name, result).Inc()
	if failed := err != nil; l.failing.Swap(failed) == failed {
		return
	}
	if err != nil {
		l.logger.Warn("events cannot be fetched; the sender keeps them until they can", zap.Error(err))
		return
	}
	l.logger.Info("events can be fetched again")
}

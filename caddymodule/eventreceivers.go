package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/secevent"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/engines"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// eventReceivers take the events of a configuration's issuers. The memory of those
// that were taken, and the keys of transmitters that are not issuers, outlive a
// reload.
type eventReceivers struct {
	list    []*eventReceiver // in the order of the issuers; nil: no issuer has events
	memory  *secevent.Memory
	key     string                    // of the memory, to give it back; "": it was not taken
	engines map[string]*issuer.Engine // of transmitters, by the issuer's name
	taken   []string                  // their keys, to give them back
}

type eventReceiver struct {
	config   *IssuerEvents // without placeholders
	receiver *secevent.Receiver
	poller   *secevent.Poller // nil: nothing is fetched
	log      *eventLog
}

var eventMemories = pool.New((*secevent.Memory).Close)

// takeEventReceivers makes the receivers; they must be released exactly once, also if
// there is an error.
func takeEventReceivers(storage certmagic.Storage, issuers issuerList, keys map[string]*issuer.Engine, revoked *revocations, logger *zap.Logger, emitter *events.Emitter) (*eventReceivers, error) {
	r := &eventReceivers{engines: make(map[string]*issuer.Engine)}
	for _, i := range issuers {
		if i.Events == nil {
			continue
		}
		if r.key == "" {
			key := pool.StorageID(storage)
			memory, err := eventMemories.Take(key, func() (*secevent.Memory, error) { return secevent.NewMemory(registry.Options{}), nil })
			if err != nil {
				return r, err
			}
			r.memory, r.key = memory, key
		}
		log := &eventLog{name: i.policy.Name, logger: logger.With(zap.String("issuer", i.policy.Name)), audit: auditing(logger), events: emitter, times: timesOf(i.policy.Name)}
		one, err := r.take(i, keys[i.policy.Name], revoked, issuers.lifetime(i.policy.Issuer), log)
		if err != nil {
			return r, fmt.Errorf("issuer %s: %w", i.Issuer, err)
		}
		r.list = append(r.list, one)
	}
	return r, nil
}

func (r *eventReceivers) take(i *Issuer, engine *issuer.Engine, revoked *revocations, lifetime time.Duration, log *eventLog) (*eventReceiver, error) {
	config, err := i.Events.resolved(i)
	if err != nil {
		return nil, err
	}
	if config.Transmitter != "" {
		source := i.source
		source.Issuer, source.JWKSURI, source.JWKSFile = config.Transmitter, config.TransmitterJWKSURI, ""
		if err := source.Validate(); err != nil {
			return nil, fmt.Errorf("events: transmitter: %w", err)
		}
		if engine, err = engines.Take(source); err != nil {
			return nil, fmt.Errorf("events: transmitter: %w", err)
		}
		r.taken = append(r.taken, source.ID())
		r.engines[i.policy.Name] = engine
	}
	source, err := secevent.NewSource(config.source(i, engine, lifetime))
	if err != nil {
		return nil, err
	}
	beginCounters(log.name, config)
	one := &eventReceiver{config: config, log: log}
	one.receiver = secevent.NewReceiver(source, revoked.registry, r.memory, log.received)
	if config.Poll == nil {
		return one, nil
	}
	transport, err := issuer.NewTransport(i.source.CA)
	if err != nil {
		return nil, fmt.Errorf("events: poll: %w", err)
	}
	poll := secevent.PollConfig{URL: config.Poll.URL, Every: time.Duration(config.Poll.Every), Token: config.Poll.Token, Client: &http.Client{Transport: transport}}
	if c := config.Poll.ClientCredentials; c != nil {
		poll.ClientCredentials = &clientcredentials.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret, TokenURL: c.TokenURL, Scopes: c.Scopes}
	}
	one.poller = secevent.NewPoller(poll, one.receiver, log.polled)
	return one, nil
}

// attach gives storage and log, and begins to fetch. What was fetched and not
// acknowledged when that ends, the next configuration fetches again.
func (r *eventReceivers) attach(storage certmagic.Storage, refresh time.Duration, logger *zap.Logger, emitter *events.Emitter) (detach []func()) {
	if r.key == "" {
		return nil
	}
	detach = append(detach, r.memory.Attach(secevent.MemoryHost{Storage: storage, Refresh: refresh}))
	for name, engine := range r.engines {
		log := engines.Log{Name: name, Logger: logger.With(zap.String("issuer", name), zap.String("keys_of", "transmitter")), Events: emitter}
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

// release gives back what outlives a configuration.
func (r *eventReceivers) release() error {
	if r == nil {
		return nil
	}
	var errs []error
	if r.key != "" {
		errs = append(errs, eventMemories.Release(r.key))
	}
	for _, key := range r.taken {
		errs = append(errs, engines.Release(key))
	}
	r.key, r.taken = "", nil
	return errors.Join(errs...)
}

// service is what the API serves of an issuer; nil: nothing.
func (r *eventReceivers) service(name string) *api.EventReceiver {
	for _, one := range r.list {
		if one.log.name != name {
			continue
		}
		c := one.config
		service := &api.EventReceiver{
			Ways: c.ways(), Receiver: one.receiver, Poller: one.poller, LastEvent: one.log.times.lastEvent,
			Logout: len(c.BackChannelLogout) > 0, Push: c.Push != nil, Global: c.GlobalRevocation != nil,
		}
		if c.Push != nil {
			service.Bearer = c.Push.Bearer
		}
		return service
	}
	return nil
}

var (
	eventsTotal = metrics.Counter("security_events_total",
		"Events of an issuer (logout tokens, security event tokens, global revocations), by what they say and what became of them.",
		"issuer", "kind", "outcome")
	pollsTotal = metrics.Counter("security_event_polls_total",
		"Requests to fetch an issuer's events: success or failure.", "issuer", "result")
	lastEvent = metrics.Gauge("security_event_timestamp_seconds",
		"When an issuer whose events are taken last sent one that it had signed, in Unix time; while there was none, when this process began to wait for it.", "issuer")
)

// beginCounters has the counters of an issuer's events begin at zero.
func beginCounters(issuer string, c *IssuerEvents) {
	for _, kind := range secevent.Kinds {
		for _, outcome := range secevent.Outcomes {
			eventsTotal.WithLabelValues(issuer, string(kind), string(outcome))
		}
	}
	if c.Poll != nil {
		pollsTotal.WithLabelValues(issuer, metrics.Success)
		pollsTotal.WithLabelValues(issuer, metrics.Failure)
	}
}

// show shows since when each issuer has sent no event.
func (r *eventReceivers) show(show metrics.Show) {
	for _, one := range r.list {
		at := one.log.times.lastEvent()
		if at.IsZero() {
			at = one.log.times.began
		}
		show(lastEvent, metrics.Unix(at), one.log.name)
	}
}

// warnOfUnheardEvents warns where an issuer is to send events and no site takes them.
func warnOfUnheardEvents(ctx caddy.Context, logger *zap.Logger) error {
	app, err := configuredApp(ctx)
	if err != nil {
		return err
	}
	var waiting []string
	for _, i := range app.Issuers {
		if e := i.Events; e != nil && (len(e.BackChannelLogout) > 0 || e.Push != nil || e.GlobalRevocation != nil) {
			waiting = append(waiting, i.policy.Name)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	heard := false
	err = eachHandler(ctx, func(handler caddyhttp.MiddlewareHandler, _ []caddyhttp.Route) error {
		_, isAPI := handler.(*GatehouseAPI)
		heard = heard || isAPI
		return nil
	})
	if err == nil && !heard {
		logger.Warn("issuers are to send events, and no site has gatehouse_api, which takes them: add it to the site that they are sent to", zap.Strings("issuers", waiting))
	}
	return err
}

// eventLog counts and reports what becomes of an issuer's events.
type eventLog struct {
	name    string // of the issuer
	logger  *zap.Logger
	audit   func(api.AuditEntry)
	events  *events.Emitter
	times   *eventTimes
	refused atomic.Int64 // Unix nanoseconds from when a refusal is logged again
	failing atomic.Bool  // the last poll failed
}

// eventTimes are when an issuer's events came. They outlive configurations, so that a
// reload is not taken for an event.
type eventTimes struct {
	began time.Time // when they were first waited for
	last  atomic.Int64
}

var timesOfEvents sync.Map // of *eventTimes, by the issuer's name

func timesOf(name string) *eventTimes {
	times, _ := timesOfEvents.LoadOrStore(name, &eventTimes{began: time.Now()})
	return times.(*eventTimes)
}

func (t *eventTimes) lastEvent() time.Time {
	if last := t.last.Load(); last > 0 {
		return time.Unix(last, 0)
	}
	return time.Time{}
}

func (l *eventLog) received(what secevent.Received) {
	eventsTotal.WithLabelValues(l.name, string(what.Kind), string(what.Outcome)).Inc()
	l.logger.Debug("event", zap.String("kind", string(what.Kind)), zap.String("outcome", string(what.Outcome)), zap.Error(what.Err))
	if what.Outcome != secevent.Refused && what.Outcome != secevent.Failed {
		l.times.last.Store(time.Now().Unix())
	}
	switch what.Outcome {
	case secevent.Refused:
		now := time.Now()
		if next := l.refused.Load(); now.UnixNano() >= next && l.refused.CompareAndSwap(next, now.Add(time.Minute).UnixNano()) {
			l.logger.Warn("an event was refused; others in this minute are only counted", zap.String("kind", string(what.Kind)), zap.Error(what.Err))
		}
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

package sso

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/google/uuid"
	"go.uber.org/zap"

	authsso "github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/activation"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/signing"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// Activations are the licenses that logins bring, of one configuration. The store
// outlives a reload.
type Activations struct {
	*activation.Service
	store  *activation.Store
	key    string         // of the store, to give it back
	seats  map[string]int // that there are, by the code of each account that has licenses
	events *events.Emitter
	logger *zap.Logger
	audit  func(api.AuditEntry)
}

var stores = pool.New(func(s *activation.Store) error { return s.Close() })

// takeActivations gives the activations, nil if no account has licenses; they must be
// released exactly once.
func takeActivations(c *Config, login *authsso.Service, h Host) (*Activations, error) {
	if _, found := c.GivesLicenses(); !found {
		return nil, nil
	}
	for _, op := range activation.Operations() {
		activationsTotal.WithLabelValues(string(op), metrics.OK)
	}
	a := &Activations{key: h.StorageID, seats: map[string]int{}, events: h.Events, logger: h.Logger, audit: h.Audit}
	config := activation.Config{SSO: login, Terms: map[string]activation.Terms{}, Signer: h.Signing.Signer(), Observe: a.observe}
	for _, account := range c.Accounts {
		if account.License == nil {
			continue
		}
		terms, err := account.License.terms()
		if err != nil {
			return nil, fmt.Errorf("account %q: license: %w", account.Code, err)
		}
		config.Terms[account.Code] = terms
		a.seats[account.Code] = terms.Seats
	}
	var err error
	if a.store, err = stores.Take(a.key, func() (*activation.Store, error) { return activation.NewStore(registry.Options{}), nil }); err != nil {
		return nil, err
	}
	config.Store = a.store
	if a.Service, err = activation.New(config); err != nil {
		return nil, errors.Join(err, a.release())
	}
	return a, nil
}

// attach gives the store this configuration's storage and log.
func (a *Activations) attach(storage certmagic.Storage, refresh time.Duration) (detach func()) {
	return a.store.Attach(registry.Host[activation.Record]{Storage: storage, Refresh: refresh, Observe: a.notice})
}

// release gives the store back, if it was taken.
func (a *Activations) release() error {
	if a == nil {
		return nil
	}
	return stores.Release(a.key)
}

// State is what operators see of the seats.
func (a *Activations) State() api.SeatState {
	state := api.SeatState{Storage: a.store.StorageState(), Taken: append([]activation.Count{}, a.store.Active()...)}
	for i := range state.Taken {
		state.Taken[i].Seats = a.seats[state.Taken[i].Account]
	}
	return state
}

var (
	activationsTotal = metrics.Counter("activations_total",
		"Requests for a license in exchange for a login, or about one, by the operation and what became of it: ok or the code of the error.",
		"operation", "result")
	seatsTaken = metrics.Gauge("seats",
		"Instances that have a license in exchange for a login, by the customer account. Absent where no login brings one.", "account")
)

// show shows the seats of each account that has licenses.
func (a *Activations) show(show metrics.Show) {
	counts := make(map[string]int, len(a.seats))
	for _, n := range a.store.Active() {
		counts[n.Account] += n.Taken
	}
	for code := range a.seats {
		show(seatsTaken, float64(counts[code]), code)
	}
}

// List is that of the store.
func (a *Activations) List(ctx context.Context, q activation.Query) ([]*activation.Record, error) {
	return a.store.List(ctx, q)
}

// Free gives a seat back for an operator, and reports it.
func (a *Activations) Free(ctx context.Context, id uuid.UUID) (*activation.Record, error) {
	seat, err := a.store.Free(ctx, id)
	if err == nil {
		a.emit(events.ActivationDeleted, seat)
	}
	return seat, err
}

// observe counts, logs and reports what became of a request.
func (a *Activations) observe(o activation.Outcome) {
	activationsTotal.WithLabelValues(string(o.Operation), cmp.Or(string(o.Code), metrics.OK)).Inc()
	if o.Signed != "" {
		signing.Count(o.Signed)
	}
	action, event := "activation.create", events.ActivationCreated
	switch o.Operation {
	case activation.Check:
		return
	case activation.Deactivate, activation.DeactivateOffline:
		action, event = "activation.delete", events.ActivationDeleted
	}
	entry := api.AuditEntry{Action: action, Actor: o.Subject, Outcome: "done"}
	if o.Code != "" {
		entry.Outcome = "refused"
		if o.Code.Status() >= 500 {
			entry.Outcome = "failed"
		}
	}
	switch {
	case o.Seat != nil:
		entry.Target = o.Seat.ID.String()
		entry.Actor = o.Seat.Account + "/" + o.Seat.Subject
	case o.Subject == "":
		return // nobody is known to have asked
	}
	a.audit(entry)
	if o.Code == "" && (o.New || event == events.ActivationDeleted) {
		a.emit(event, o.Seat)
	}
}

// emit emits what became of the seat of an instance.
func (a *Activations) emit(event string, seat *activation.Record) {
	a.events.Emit(event, func() map[string]any {
		return map[string]any{
			"id": seat.ID.String(), "account": seat.Account, "product": seat.Product, "hardware_id": seat.Name,
			"subject": seat.Subject, "ends_at": seat.Ends,
		}
	})
}

// notice logs what happens to the activations and their storage.
func (a *Activations) notice(e registry.Event[activation.Record]) {
	switch e.Kind {
	case registry.Ended:
		for _, changed := range e.Changes {
			if seat := changed.Record(); seat.Seat() {
				a.audit(api.AuditEntry{Action: "activation.expire", Actor: seat.Account + "/" + seat.Subject, Target: seat.ID.String(), Outcome: "done"})
				a.emit(events.ActivationExpired, seat)
			}
		}
	case registry.Unavailable:
		a.logger.Error("the storage of the activations cannot be used; no license can be handed out", zap.String("storage", string(e.StorageState)), zap.Error(e.Err))
	case registry.Recovered:
		a.logger.Info("the storage of the activations can be used again")
	case registry.Damaged:
		a.logger.Error("a record of activations is damaged; its last good content stays in force", zap.String("record", e.Record), zap.Error(e.Err))
	case registry.Mended, registry.Overwritten, registry.Older, registry.Healed:
		a.logger.Warn("the storage of the activations was put right", zap.String("why", string(e.Kind)))
	}
}

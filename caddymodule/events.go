package caddymodule

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/activation"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// The events that Gatehouse emits on Caddy's events app. Their data never hold a
// token or a key.
const (
	eventJWKSUnavailable       = "jwks_unavailable"
	eventJWKSRecovered         = "jwks_recovered"
	eventServiceAccountChanged = "service_account_changed"
	eventRevocationChanged     = "revocation_changed"
	eventLicenseStateChanged   = "license_state_changed"
	eventLicenseSigned         = "license_signed"
	eventActivationCreated     = "activation_created"
	eventActivationDeleted     = "activation_deleted"
	eventActivationExpired     = "activation_expired"
	eventSecurityEvent         = "security_event"
)

// emitter emits the events of one configuration. Apps start in no particular
// order, and the events app must not be asked while it starts, so what happens
// before all have started waits until then.
type emitter struct {
	ctx caddy.Context
	app *caddyevents.App

	mu      sync.Mutex
	started bool
	waiting []func()
}

// maxWaitingEvents bounds what happens before all apps have started.
const maxWaitingEvents = 1000

// newEmitter must be called while the configuration is provisioned.
func newEmitter(ctx caddy.Context) (*emitter, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("the events app: %w", err)
	}
	e := &emitter{ctx: ctx, app: app.(*caddyevents.App)}
	if err := e.app.On("started", startListener{e}); err != nil {
		return nil, fmt.Errorf("the events app: %w", err)
	}
	return e, nil
}

// emit calls the listeners; data is made only if there are any. It waits for them,
// so it must not be called on the path of a request. Before all apps have started,
// the event is kept until then.
func (e *emitter) emit(name string, data func() map[string]any) {
	e.mu.Lock()
	started := e.started
	if !started && len(e.waiting) < maxWaitingEvents {
		e.waiting = append(e.waiting, func() { e.emit(name, data) })
	}
	e.mu.Unlock()
	if !started || e.ctx.Err() != nil || !e.app.ShouldEmit(name) {
		return
	}
	e.app.Emit(e.ctx, name, data())
}

// startListener is called when all apps have started.
type startListener struct{ emitter *emitter }

// Handle emits what waited.
func (l startListener) Handle(context.Context, caddy.Event) error {
	e := l.emitter
	e.mu.Lock()
	waiting := e.waiting
	e.started, e.waiting = true, nil
	e.mu.Unlock()
	for _, emit := range waiting {
		emit()
	}
	return nil
}

// issuerEvent tells of an outage of an issuer's keys, and of its end.
func (e *emitter) issuerEvent(name string, ev issuer.Event) {
	event := ""
	switch ev.Kind {
	case issuer.Unavailable:
		event = eventJWKSUnavailable
	case issuer.Recovered:
		event = eventJWKSRecovered
	default:
		return
	}
	e.emit(event, func() map[string]any {
		data := map[string]any{"issuer": name, "identifier": ev.Issuer}
		if ev.Err != nil {
			data["error"] = ev.Err.Error()
		}
		return data
	})
}

// maxAccountEvents bounds the events of one change: a million accounts may be
// imported at once, and a listener is asked before the next one.
const maxAccountEvents = 1000

// accountEvent tells of each account that changed, by this node or another one.
// Of more than a thousand at once, the last event says how many more there are.
func (e *emitter) accountEvent(ev account.Event) {
	if ev.Kind != account.Updated && ev.Kind != account.AccountsExpired {
		return
	}
	for i, changed := range ev.Changes {
		if i == maxAccountEvents {
			e.emit(eventServiceAccountChanged, func() map[string]any {
				return map[string]any{"change": "more", "accounts": len(ev.Changes) - i}
			})
			return
		}
		e.emit(eventServiceAccountChanged, func() map[string]any { return accountData(ev, changed) })
	}
}

func accountData(ev account.Event, changed account.Changed) map[string]any {
	data := map[string]any{"subject": changed.Record().Subject(), "change": "updated"}
	switch {
	case ev.Kind == account.AccountsExpired:
		data["change"] = "expired"
	case changed.Before == nil:
		data["change"] = "created"
	case changed.After == nil:
		data["change"] = "deleted"
	}
	if changed.After != nil {
		data["issuer"] = changed.After.Issuer()
		data["status"] = changed.After.State(time.Now()).String()
	}
	return data
}

// licenseStateChanged tells that the license is in another state than before;
// words is a sentence for people.
func (e *emitter) licenseStateChanged(from, to license.State, words string) {
	e.emit(eventLicenseStateChanged, func() map[string]any {
		return map[string]any{"from": string(from), "to": string(to), "reason": words}
	})
}

// activation tells what became of the seat of an instance.
func (e *emitter) activation(event string, seat *activation.Record) {
	e.emit(event, func() map[string]any {
		return map[string]any{
			"id": seat.ID.String(), "account": seat.Account, "product": seat.Product, "hardware_id": seat.Name,
			"subject": seat.Subject, "ends_at": seat.Ends,
		}
	})
}

// licenseSigned tells that a license was signed here, and by whom.
func (e *emitter) licenseSigned(actor, id, keyID string, p *license.Payload) {
	e.emit(eventLicenseSigned, func() map[string]any {
		return map[string]any{
			"actor": actor, "id": id, "key_id": keyID, "type": string(p.Type),
			"allowed_hosts": p.AllowedHosts, "description": p.Description, "expire_at": p.ExpireAt,
		}
	})
}

// Package events emits Gatehouse's events on Caddy's events app. Their data never
// hold a token or a key. What happened is put into words by the feature that it
// happened to.
package events

import (
	"context"
	"fmt"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// The names of the events.
const (
	JWKSUnavailable       = "jwks_unavailable"
	JWKSRecovered         = "jwks_recovered"
	ServiceAccountChanged = "service_account_changed"
	RevocationChanged     = "revocation_changed"
	LicenseStateChanged   = "license_state_changed"
	LicenseSigned         = "license_signed"
	ActivationCreated     = "activation_created"
	ActivationDeleted     = "activation_deleted"
	ActivationExpired     = "activation_expired"
	SecurityEvent         = "security_event"
)

// Emitter emits the events of one configuration. Apps start in no particular
// order, and the events app must not be asked while it starts, so what happens
// before all have started waits until then.
type Emitter struct {
	ctx caddy.Context
	app *caddyevents.App

	mu      sync.Mutex
	started bool
	waiting []func()
}

const (
	// MaxOfChange bounds the events of one change: a million accounts may be
	// imported at once, and a listener is asked before the next one.
	MaxOfChange = 1000

	maxWaiting = 1000 // before all apps have started
)

// New must be called while the configuration is provisioned.
func New(ctx caddy.Context) (*Emitter, error) {
	app, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("the events app: %w", err)
	}
	e := &Emitter{ctx: ctx, app: app.(*caddyevents.App)}
	if err := e.app.On("started", startListener{e}); err != nil {
		return nil, fmt.Errorf("the events app: %w", err)
	}
	return e, nil
}

// Emit calls the listeners; data is made only if there are any. It waits for them,
// so it must not be called on the path of a request. Before all apps have started,
// the event is kept until then.
func (e *Emitter) Emit(name string, data func() map[string]any) {
	e.mu.Lock()
	started := e.started
	if !started && len(e.waiting) < maxWaiting {
		e.waiting = append(e.waiting, func() { e.Emit(name, data) })
	}
	e.mu.Unlock()
	if !started || e.ctx.Err() != nil || !e.app.ShouldEmit(name) {
		return
	}
	e.app.Emit(e.ctx, name, data())
}

// startListener is called when all apps have started.
type startListener struct{ emitter *Emitter }

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

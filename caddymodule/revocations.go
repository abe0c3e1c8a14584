package caddymodule

import (
	"cmp"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// revocations are what was revoked. Their registry outlives a reload, as that of the
// service accounts does.
type revocations struct {
	registry *revocation.Registry
	key      string // of the registry, to give it back
}

var revocationRegistries = pool.New((*revocation.Registry).Close)

// takeRevocations gives the revocations; they must be released exactly once.
func takeRevocations(storage certmagic.Storage) (*revocations, error) {
	key := pool.StorageID(storage)
	shared, err := revocationRegistries.Take(key, func() (*revocation.Registry, error) { return revocation.New(registry.Options{}), nil })
	if err != nil {
		return nil, err
	}
	return &revocations{shared, key}, nil
}

// attach gives the registry this configuration's storage and log; recheck cuts the
// streams of callers whose tokens were revoked.
func (r *revocations) attach(storage certmagic.Storage, refresh time.Duration, issuers account.Issuers, logger *zap.Logger, emitter *events.Emitter, recheck func()) (detach func()) {
	log := &registryLog[revocation.Revocation]{
		logger: logger, events: emitter, recheck: recheck,
		records: "revocations", count: "revocations", event: events.RevocationChanged,
		data: func(changed registry.Changed[revocation.Revocation]) func() map[string]any {
			if changed.After == nil && changed.Before.IsOver(time.Now()) {
				return nil // that it is over was reported before
			}
			return func() map[string]any {
				r := changed.Record()
				key := r.Key()
				return map[string]any{
					"id": r.ID(), "issuer": cmp.Or(issuers.Name(key.Issuer), key.Issuer), "target": string(key.Target), "name": key.Name, "by": r.By(), "reason": r.Reason(),
					"issued_before": r.IssuedBefore, "expires_at": time.Unix(r.Expires, 0).UTC().Format(time.RFC3339),
				}
			}
		},
		other: func(e registry.Event[revocation.Revocation]) {
			switch e.Kind {
			case registry.Loaded:
				recheck() // before, nobody could tell what is revoked
			case registry.Unavailable:
				logger.Warn("the storage of the revocations cannot be used; those known stay in force",
					zap.String("storage", string(e.StorageState)), zap.Error(e.Err))
			case registry.Overwritten, registry.Older, registry.Healed:
				logger.Warn("storage lacked revocations that are known; they were written again", zap.String("why", string(e.Kind)))
			}
		},
	}
	return r.registry.Attach(registry.Host[revocation.Revocation]{Storage: storage, Refresh: refresh, Observe: log.observe})
}

var revocationsHeld = metrics.Gauge("revocations", "Revocations that are in force.")

// show shows how many there are.
func (r *revocations) show(show metrics.Show) { show(revocationsHeld, float64(r.registry.Count())) }

// release gives the registry back, if it was taken.
func (r *revocations) release() error {
	if r == nil {
		return nil
	}
	return revocationRegistries.Release(r.key)
}

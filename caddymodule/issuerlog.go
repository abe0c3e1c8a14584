package caddymodule

import (
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// issuerLog writes one line for each change of state of an issuer's keys, counts
// fetches and emits events. What goes well over and over again is no change and
// stays at DEBUG.
type issuerLog struct {
	name   string // of the issuer; "" of one that only login pages are asked of
	logger *zap.Logger
	events *emitter
}

func (l issuerLog) observe(e issuer.Event) {
	if l.name != "" {
		countFetch(l.name, e)
		l.events.issuerEvent(l.name, e)
	}
	switch e.Kind {
	case issuer.FetchSucceeded:
		l.logger.Debug("key set fetched")
	case issuer.FetchFailed:
		l.logger.Debug("key set could not be fetched", zap.Error(e.Err))
	case issuer.Unavailable:
		l.logger.Warn("the issuer's keys cannot be fetched; the last good ones, if any, stay in force", zap.Error(e.Err))
	case issuer.Recovered:
		l.logger.Info("the issuer's keys can be fetched again")
	case issuer.KeysChanged:
		l.logger.Info("the issuer's keys changed", zap.Strings("added", e.Added), zap.Strings("removed", e.Removed))
	case issuer.Restored:
		l.logger.Info("the issuer's keys were restored from storage", zap.Strings("keys", e.Added))
	case issuer.Warned:
		l.logger.Warn("the issuer's metadata or keys are not as they should be", zap.Error(e.Err))
	}
}

// Package issuers has the issuers whose tokens are accepted: what a configuration says of
// them, how they are asked about tokens, and the verifier that outlives a reload.
package issuers

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuerkeys"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
)

// Verifier is what outlives a reload: the verifier with its cache of tokens, and
// the engines that keep the issuers' keys. Configurations that ask for the same
// share one, so a reload that changes nothing about the issuers keeps the cache. One
// that changes something starts with an empty cache, because the tokens in it were
// verified by other rules; engines are shared even then, issuer by issuer.
type Verifier struct {
	*auth.Verifier
	Engines map[string]*issuer.Engine // by the issuer's name
	key     string
	taken   []string // keys of the engines to give back
}

var verifiers = pool.New((*Verifier).end)

// Take provisions the issuers and gives their verifier, with a cache of so many bytes;
// it must be released exactly once.
func Take(list List, cacheBytes int64, logger *zap.Logger) (*Verifier, error) {
	if err := list.provision(logger); err != nil {
		return nil, err
	}
	key, err := verifierKey(list, cacheBytes)
	if err != nil {
		return nil, err
	}
	return verifiers.Take(key, func() (*Verifier, error) { return newVerifier(key, list, cacheBytes) })
}

// verifierKey is equal for configurations that ask for the same.
func verifierKey(list List, cacheBytes int64) (string, error) {
	type entry struct {
		Policy auth.Policy
		Source string
		Asked  string
	}
	entries := make([]entry, 0, len(list))
	for _, i := range list {
		one := entry{Policy: i.policy, Source: i.source.ID()}
		if i.asked != nil {
			one.Asked = i.asked.ID()
		}
		entries = append(entries, one)
	}
	key, err := json.Marshal(struct {
		Issuers    []entry
		CacheBytes int64
	}{entries, cacheBytes})
	return string(key), err
}

func newVerifier(key string, list List, cacheBytes int64) (*Verifier, error) {
	v := &Verifier{key: key, Engines: make(map[string]*issuer.Engine, len(list))}
	config := auth.VerifierConfig{CacheBytes: cacheBytes}
	for _, i := range list {
		engine, err := issuerkeys.Take(i.source)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("issuer %s: %w", i.Issuer, err), v.end())
		}
		v.taken = append(v.taken, i.source.ID())
		v.Engines[i.policy.Name] = engine
		accepted := auth.AcceptedIssuer{Policy: i.policy, Keys: engine, Introspection: i.asked}
		if i.asked != nil {
			accepted.Count = countQuestions(i.policy.Name)
		}
		config.Issuers = append(config.Issuers, accepted)
	}
	var err error
	if v.Verifier, err = auth.NewVerifier(config); err != nil {
		return nil, errors.Join(err, v.end())
	}
	return v, nil
}

// Attach gives the engines a configuration's storage and log.
func (v *Verifier) Attach(storage certmagic.Storage, logger *zap.Logger, events *events.Emitter) (detach []func()) {
	for name, engine := range v.Engines {
		log := issuerkeys.Log{Name: name, Logger: logger.With(zap.String("issuer", name)), Events: events}
		detach = append(detach, log.Attach(engine, storage))
		if asked := v.Introspection(name); asked != nil {
			detach = append(detach, asked.Attach(observeIntrospection(log.Logger)))
		}
	}
	return detach
}

// Release gives the verifier back, if it was taken; the last user's release ends it.
func (v *Verifier) Release() error {
	if v == nil {
		return nil
	}
	return verifiers.Release(v.key)
}

// end ends the questions to issuers, a little later, and gives the engines back,
// each as often as it was taken.
func (v *Verifier) end() error {
	var errs []error
	if v.Verifier != nil {
		errs = append(errs, issuerkeys.CloseLater(v.Verifier))
	}
	for _, key := range v.taken {
		errs = append(errs, issuerkeys.Shared.Release(key))
	}
	v.taken = nil
	return errors.Join(errs...)
}

var tokenCacheBytes = metrics.Gauge("token_cache_bytes",
	"Memory that the verified tokens take which are kept, in bytes; token_cache is its bound.")

// Show shows how much memory the cache takes, and how old the issuers' keys are.
func (v *Verifier) Show(show metrics.Show) {
	_, bytes := v.Cached()
	show(tokenCacheBytes, float64(bytes))
	issuerkeys.ShowAge(v.Engines, show)
}

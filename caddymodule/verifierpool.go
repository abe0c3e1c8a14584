package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// sharedVerifier is what outlives a reload: the verifier with its cache of tokens, and
// the engines that keep the issuers' keys. Configurations that ask for the same
// share one, so a reload that changes nothing about the issuers forgets
// nothing; one that changes something starts with an empty cache, because what
// was verified before was verified by other rules. Engines are shared even
// then, issuer by issuer.
type sharedVerifier struct {
	*auth.Verifier
	key     string
	engines map[string]*issuer.Engine // by the issuer's name
	taken   []string                  // keys of the engines to give back
}

var (
	verifiers = caddy.NewUsagePool()
	engines   = caddy.NewUsagePool()
)

// takeVerifier provisions the issuers and gives their verifier; it must be
// released exactly once.
func takeVerifier(issuers issuerList, cache TokenCache, logger *zap.Logger) (*sharedVerifier, error) {
	cacheBytes, err := cache.bytes()
	if err != nil {
		return nil, fmt.Errorf("token_cache: %w", err)
	}
	if err := issuers.provision(logger); err != nil {
		return nil, err
	}
	key, err := verifierKey(issuers, cacheBytes)
	if err != nil {
		return nil, err
	}
	taken, _, err := verifiers.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newVerifier(key, issuers, cacheBytes)
	})
	if err != nil {
		return nil, err
	}
	return taken.(*sharedVerifier), nil
}

// verifierKey is equal for configurations that ask for the same.
func verifierKey(issuers issuerList, cacheBytes int64) (string, error) {
	type entry struct {
		Policy auth.Policy
		Source string
	}
	list := make([]entry, 0, len(issuers))
	for _, i := range issuers {
		list = append(list, entry{i.policy, i.source.ID()})
	}
	key, err := json.Marshal(struct {
		Issuers    []entry
		CacheBytes int64
	}{list, cacheBytes})
	return string(key), err
}

func newVerifier(key string, issuers issuerList, cacheBytes int64) (*sharedVerifier, error) {
	v := &sharedVerifier{key: key, engines: make(map[string]*issuer.Engine, len(issuers))}
	config := auth.VerifierConfig{CacheBytes: cacheBytes}
	for _, i := range issuers {
		engine, err := takeEngine(i.source)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("issuer %s: %w", i.Issuer, err), v.Destruct())
		}
		v.taken = append(v.taken, i.source.ID())
		v.engines[i.policy.Name] = engine
		config.Issuers = append(config.Issuers, auth.AcceptedIssuer{Policy: i.policy, Keys: engine})
	}
	verifier, err := auth.NewVerifier(config)
	if err != nil {
		return nil, errors.Join(err, v.Destruct())
	}
	v.Verifier = verifier
	return v, nil
}

// attach gives the engines a configuration's storage and log.
func (v *sharedVerifier) attach(storage certmagic.Storage, logger *zap.Logger, events *emitter) (detach []func()) {
	for name, engine := range v.engines {
		log := issuerLog{name, logger.With(zap.String("issuer", name)), events}
		detach = append(detach, log.attach(engine, storage))
	}
	return detach
}

// release gives the verifier back, if it was taken; the last user's release ends it.
func (v *sharedVerifier) release() error {
	if v == nil {
		return nil
	}
	_, err := verifiers.Delete(v.key)
	return err
}

// Destruct gives the engines back, each as often as it was taken.
func (v *sharedVerifier) Destruct() error {
	var errs []error
	for _, key := range v.taken {
		_, err := engines.Delete(key)
		errs = append(errs, err)
	}
	v.taken = nil
	return errors.Join(errs...)
}

// takeEngine gives the engine of an issuer; giving its key back to engines.Delete
// releases it.
func takeEngine(source issuer.Config) (*issuer.Engine, error) {
	taken, _, err := engines.LoadOrNew(source.ID(), func() (caddy.Destructor, error) {
		engine, err := issuer.New(source, issuer.Options{})
		return pooledEngine{engine}, err
	})
	if err != nil {
		return nil, err
	}
	return taken.(pooledEngine).Engine, nil
}

// pooledEngine ends an engine when its last user is gone.
type pooledEngine struct{ *issuer.Engine }

// lateRequests is how long an engine outlives the last configuration with it:
// Caddy cleans a configuration up while requests that came to it are still being
// served, and those must not find their keys gone.
const lateRequests = 10 * time.Second

// Destruct ends the engine's background work, a little later.
func (e pooledEngine) Destruct() error {
	if caddy.Exiting() {
		return e.Close()
	}
	time.AfterFunc(lateRequests, func() { _ = e.Close() })
	return nil
}

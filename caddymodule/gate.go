package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// gate is what outlives a reload: the verifier with its cache of tokens, and
// the engines that keep the issuers' keys. Configurations that ask for the same
// share one, so a reload that changes nothing about the issuers forgets
// nothing; one that changes something starts with an empty cache, because what
// was verified before was verified by other rules. Engines are shared even
// then, issuer by issuer.
type gate struct {
	key      string
	verifier *auth.Verifier
	engines  map[string]*issuer.Engine // by the issuer's name
	taken    []string                  // keys of the engines to give back
}

var (
	gates   = caddy.NewUsagePool()
	engines = caddy.NewUsagePool()
)

// takeGate gives the gate of these issuers; it must be released exactly once.
func takeGate(issuers []*Issuer, cacheBytes int64) (*gate, error) {
	key, err := gateKey(issuers, cacheBytes)
	if err != nil {
		return nil, err
	}
	taken, _, err := gates.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newGate(key, issuers, cacheBytes)
	})
	if err != nil {
		return nil, err
	}
	return taken.(*gate), nil
}

// gateKey is equal for configurations that ask for the same.
func gateKey(issuers []*Issuer, cacheBytes int64) (string, error) {
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

func newGate(key string, issuers []*Issuer, cacheBytes int64) (*gate, error) {
	g := &gate{key: key, engines: make(map[string]*issuer.Engine, len(issuers))}
	config := auth.VerifierConfig{CacheBytes: cacheBytes}
	for _, i := range issuers {
		engine, err := takeEngine(i.source)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("issuer %s: %w", i.Issuer, err), g.Destruct())
		}
		g.taken = append(g.taken, i.source.ID())
		g.engines[i.policy.Name] = engine
		config.Issuers = append(config.Issuers, auth.AcceptedIssuer{Policy: i.policy, Keys: engine})
	}
	verifier, err := auth.NewVerifier(config)
	if err != nil {
		return nil, errors.Join(err, g.Destruct())
	}
	g.verifier = verifier
	return g, nil
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

// release gives the gate back; the last user's release ends it.
func (g *gate) release() error {
	_, err := gates.Delete(g.key)
	return err
}

// Destruct gives the engines back, each as often as it was taken.
func (g *gate) Destruct() error {
	var errs []error
	for _, key := range g.taken {
		_, err := engines.Delete(key)
		errs = append(errs, err)
	}
	g.taken = nil
	return errors.Join(errs...)
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

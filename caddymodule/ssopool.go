package caddymodule

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
)

// ssoService is what outlives a reload: rate limits are counted in it, and it
// holds the engines of its accounts' issuers. Configurations that ask for the
// same share one.
type ssoService struct {
	*sso.Service
	key     string
	engines map[string]*issuer.Engine // by the source's ID, to give them back
}

var ssoServices = caddy.NewUsagePool()

// takeSSO gives the service of a plan; it must be released exactly once.
func takeSSO(plan *ssoPlan) (*ssoService, error) {
	key, err := plan.key()
	if err != nil {
		return nil, err
	}
	taken, _, err := ssoServices.LoadOrNew(key, func() (caddy.Destructor, error) { return newSSO(key, plan) })
	if err != nil {
		return nil, err
	}
	return taken.(*ssoService), nil
}

func newSSO(key string, plan *ssoPlan) (*ssoService, error) {
	s := &ssoService{key: key, engines: make(map[string]*issuer.Engine)}
	if err := s.fill(plan); err != nil {
		return nil, errors.Join(err, s.Destruct())
	}
	return s, nil
}

func (s *ssoService) fill(plan *ssoPlan) (err error) {
	for i, source := range plan.sources {
		if source == nil {
			continue
		}
		engine, err := s.engine(*source)
		if err != nil {
			return fmt.Errorf("account %q: issuer %s: %w", plan.config.Accounts[i].Code, source.Issuer, err)
		}
		plan.config.Accounts[i].Metadata = engine
	}
	s.Service, err = sso.New(plan.config)
	return err
}

// engine takes the engine of an issuer, once for all accounts with it.
func (s *ssoService) engine(source issuer.Config) (*issuer.Engine, error) {
	id := source.ID()
	if engine, ok := s.engines[id]; ok {
		return engine, nil
	}
	engine, err := takeEngine(source)
	if err == nil {
		s.engines[id] = engine
	}
	return engine, err
}

// Destruct gives the engines back, each as often as it was taken.
func (s *ssoService) Destruct() error {
	var errs []error
	for id := range s.engines {
		_, err := engines.Delete(id)
		errs = append(errs, err)
	}
	s.engines = nil
	return errors.Join(errs...)
}

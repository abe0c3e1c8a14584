// Package licensing is what a configuration makes of the license: its options, the handler
// require_license and the matcher license_feature, renewal, limits, and what is logged and
// counted of it. What decides about a license is in the package license.
package licensing

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// Licensing is what one configuration makes of the license. Its keeper outlives a reload
// as long as license, trust and storage are configured alike. It may be used by requests
// that outlive their configuration. Where it may be nil, no license is asked for.
type Licensing struct {
	// Limits holds the deployment to the numbers that the license says.
	Limits *Limits

	keeper       *active.Keeper
	key          string // of the keeper, to give it back
	listed       bool   // there is a list of revoked licenses
	log          *eventLog
	placeholders caddy.ReplacerFunc
	sites        atomic.Pointer[Sites] // nil until Start
	detach       func()                // nil until Start
}

var keepers = pool.New(func(k *active.Keeper) error { return k.Close() })

// Take gives what the configuration makes of the license, nil if it says nothing of it; it
// must be released exactly once.
func Take(config *Config, storage certmagic.Storage, accounts *account.Registry, logger *zap.Logger) (*Licensing, error) {
	if config == nil {
		if !Sealed() {
			return nil, nil
		}
		config = new(Config)
	}
	terms, err := config.terms()
	if err != nil {
		return nil, err
	}
	place := pool.StorageID(storage)
	l := &Licensing{
		key:    fmt.Sprintf("%x %s", sha256.Sum256([]byte(terms.identity)), place),
		listed: terms.revocations != nil,
		log: &eventLog{
			logger: logger.Named("license"), missingAllow: config.Missing == answerAllow, advisory: config.Enforcement == answerLog,
			refused: make(map[string]map[string]struct{}),
		},
	}
	shows := func(secret string) bool { return secret != "" && !parse.HasPlaceholder(secret) }
	if r := config.Renew; r != nil && (shows(r.SharedKey) || shows(r.Token)) {
		l.log.logger.Warn("what proves to the vendor who is asking stands in the configuration for all to read; use {env.NAME} or {file./abs/path} instead")
	}
	known := knownBefore(terms.source, place) // which must not be asked while one is made
	l.keeper, err = keepers.Take(l.key, func() (*active.Keeper, error) {
		return active.New(active.Config{
			Source: terms.source, Verifier: terms.verifier, Facts: terms.facts,
			Revocations: terms.revocations, Renew: terms.renew, Known: known,
		}, active.Options{})
	})
	if err != nil {
		return nil, err
	}
	if l.Limits, err = takeLimits(place, l.keeper, accounts, l.log); err != nil {
		return nil, errors.Join(err, keepers.Release(l.key))
	}
	for _, code := range refusalCodes { // so that a rate sees the first event
		DenialsTotal.WithLabelValues(code)
		waivedTotal.WithLabelValues(code)
	}
	l.placeholders = l.resolve
	return l, nil
}

// knownBefore is the license of the configuration that runs, if it comes from the same
// source and storage: a change of other options must not lose it.
func knownBefore(source active.Source, place string) (text []byte) {
	keepers.Each(func(key string, k *active.Keeper) bool {
		if _, keptIn, _ := strings.Cut(key, " "); keptIn == place && k.Source() == source {
			text = k.Known()
		}
		return text == nil
	})
	return text
}

// Release gives back what was taken.
func (l *Licensing) Release() error {
	if l == nil {
		return nil
	}
	return errors.Join(peopleCounters.Release(l.Limits.key), keepers.Release(l.key))
}

// Start gives the keeper this configuration's storage and log, and compares the sites
// with the license.
func (l *Licensing) Start(storage certmagic.Storage, refresh time.Duration, sites *Sites, events *events.Emitter) {
	if l == nil {
		return
	}
	l.sites.Store(sites)
	l.log.sites, l.log.events, l.log.replaced = sites, events, l.Limits.recount
	if l.keeper.Looked() {
		l.log.compare(l.keeper.Validity())
	}
	l.detach = l.keeper.Attach(active.Host{Storage: storage, Refresh: refresh, Observe: l.log.observe})
}

// Stop takes storage and log back; it may be called repeatedly.
func (l *Licensing) Stop() {
	if l != nil && l.detach != nil {
		l.detach()
	}
}

// lookLimit is how long a request waits for the first look for a license, which
// may have to come from storage. Until then nobody can say that there is none.
const lookLimit = 5 * time.Second

// check decides about a request: nil lets it pass.
func (l *Licensing) check(ctx context.Context, host string, features []string) *license.Error {
	if l.listed && !l.keeper.Informed() {
		wait(ctx, l.keeper.AwaitFacts)
	}
	err := l.keeper.Check(host, features...)
	if err == nil {
		return nil
	}
	return l.judge(ctx, host, features, err)
}

// judge is the part of check that the path of a good request does not reach.
func (l *Licensing) judge(ctx context.Context, host string, features []string, err error) *license.Error {
	if !l.keeper.Looked() {
		if l.log.advisory {
			return nil
		}
		wait(ctx, l.keeper.Await)
		err = l.keeper.Check(host, features...)
	}
	if errors.Is(err, &license.Error{Reason: license.ReasonInstance}) && !l.keeper.Informed() {
		wait(ctx, l.keeper.AwaitFacts)
		err = l.keeper.Check(host, features...)
	}
	var fault *license.Error
	if !errors.As(err, &fault) {
		return nil
	}
	if fault.Reason == license.ReasonMissing && l.log.missingAllow {
		waivedTotal.WithLabelValues(metrics.Known(refusalCodes, fault.Code())).Inc()
		return nil
	}
	l.log.refusal(fault, host)
	if l.log.advisory {
		waivedTotal.WithLabelValues(metrics.Known(refusalCodes, fault.Code())).Inc()
		return nil
	}
	DenialsTotal.WithLabelValues(metrics.Known(refusalCodes, fault.Code())).Inc()
	return fault
}

// grants reports whether the license in force grants all of the features, whatever is done
// about one that does not.
func (l *Licensing) grants(ctx context.Context, features []string) bool {
	if l.keeper.Validity().Grants(features...) {
		return true
	}
	if l.keeper.Looked() {
		return false
	}
	wait(ctx, l.keeper.Await)
	return l.keeper.Validity().Grants(features...)
}

// wait waits for a limited time. What is known then decides.
func wait(ctx context.Context, until func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	_ = until(ctx)
}

// Status is what operators see.
func (l *Licensing) Status() api.LicenseStatus {
	s := api.LicenseStatus{
		Status: l.Validity().Status(l.Host()), Sealed: Sealed(),
		Source: l.keeper.Source().String(), ClockSuspect: l.keeper.ClockSuspect(),
		Usage: l.Limits.usage().Limits,
	}
	if fault := l.keeper.Fault(); fault != nil {
		s.SourceError = fault.Error()
	}
	if list, configured := l.keeper.Revocations(); configured {
		s.Revocations = &list
	}
	if renewal, configured := l.keeper.Renewal(); configured {
		s.Renewal = &renewal
	}
	if instance := l.keeper.Instance(); instance != nil {
		s.Instance = instance.Fingerprint()
	}
	return s
}

// Validity is what is known of the license now.
func (l *Licensing) Validity() *license.Validity { return l.keeper.Validity() }

// Install makes a license the one in force on all nodes, if it is of use here.
func (l *Licensing) Install(ctx context.Context, data []byte, forHost string) error {
	if l.keeper.Source().Configured() {
		return active.ErrConfigured
	}
	found := l.keeper.Open(data)
	if err := found.Err(); err != nil {
		return err
	}
	if err := l.checkUse(found, forHost); err != nil {
		return err
	}
	return l.keeper.Install(ctx, data)
}

// Instance is this deployment as its vendor knows it.
func (l *Licensing) Instance(ctx context.Context) (*active.Instance, error) {
	return l.keeper.MakeInstance(ctx)
}

// OpenResponse opens the file of a vendor's response to a request of that id.
func (l *Licensing) OpenResponse(data []byte, requestID string) (*license.OfflineResponse, error) {
	return l.keeper.OpenResponse(data, requestID)
}

// Interface guards
var _ api.Licensing = (*Licensing)(nil)

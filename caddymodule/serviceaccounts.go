package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuers"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

// ServiceAccounts says how machines become known. Accounts are kept in Caddy's
// storage and changed over the API; some may be declared here besides.
type ServiceAccounts struct {
	// `required` refuses machines that are not registered; `optional` lets them
	// in as what their token says. An issuer's own `registration` counts instead for
	// its machines. Default: required.
	Registration string `json:"registration,omitempty"`

	// How soon a change made by another node is seen: of accounts, and also of
	// revocations, events, seats and an installed license. Default: 1s.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// Accounts that are declared in the configuration: read-only over the API,
	// and in front of stored ones with the same issuer and subject.
	Accounts []*DeclaredAccount `json:"accounts,omitempty"`
}

// DeclaredAccount is a service account that the configuration itself declares.
type DeclaredAccount struct {
	// The subject of the machine's tokens, or its client id. Required.
	Subject string `json:"subject,omitempty"`

	// Which of the two it is: `subject` (of any caller), or `client` (of callers
	// that are known to be machines). Default: `either`, of callers that are known
	// to be machines.
	By string `json:"by,omitempty"`

	// The name of the issuer of its tokens. Default: the only one; with several
	// it must be said.
	Issuer string `json:"issuer,omitempty"`

	// A name for people. Default: none.
	Name string `json:"name,omitempty"`

	// Groups that the account is in, besides those in its tokens.
	Groups []string `json:"groups,omitempty"`

	// `active` or `inactive`, which refuses its tokens. Default: active.
	Status string `json:"status,omitempty"`
}

func (s *ServiceAccounts) refresh() time.Duration {
	if s == nil || s.Refresh == 0 {
		return registry.DefaultRefresh
	}
	return time.Duration(s.Refresh)
}

// declared are the accounts of the configuration.
func (s *ServiceAccounts) declared(known account.Issuers) ([]account.Draft, error) {
	if s == nil {
		return nil, nil
	}
	if err := issuers.Registrations.Check("registration", s.Registration); err != nil {
		return nil, err
	}
	if s.Refresh != 0 && time.Duration(s.Refresh) < registry.MinRefresh {
		return nil, fmt.Errorf("refresh: found %s, expected at least %s", time.Duration(s.Refresh), registry.MinRefresh)
	}
	drafts := make([]account.Draft, 0, len(s.Accounts))
	for _, d := range s.Accounts {
		draft := account.Draft{
			Subject: d.Subject, Name: d.Name, Groups: d.Groups, Issuer: d.Issuer,
			Status: account.Status(cmp.Or(d.Status, string(account.StatusActive))), By: account.By(d.By),
		}
		if err := draft.SetIssuer(known); err != nil {
			return nil, fmt.Errorf("account %s: %w", d.Subject, err)
		}
		drafts = append(drafts, draft)
	}
	return drafts, nil
}

// accounts are the service accounts of one configuration: those that it
// declares, laid over those in storage. The registry of the latter outlives a
// reload, so that a million accounts are not read again each time;
// configurations share one as long as their storage is the same.
type accounts struct {
	registry *account.Registry
	config   *ServiceAccounts
	issuers  account.Issuers
	key      string // of the registry, to give it back
}

var registries = pool.New((*account.Registry).Close)

// takeAccounts gives the service accounts; they must be released exactly once.
func takeAccounts(storage certmagic.Storage, config *ServiceAccounts, issuers account.Issuers) (*accounts, error) {
	declared, err := config.declared(issuers)
	if err != nil {
		return nil, err
	}
	key := pool.StorageID(storage)
	shared, err := registries.Take(key, func() (*account.Registry, error) { return account.New(registry.Options{}), nil })
	if err != nil {
		return nil, err
	}
	a := &accounts{shared, config, issuers, key}
	if config != nil {
		if a.registry, err = shared.WithDeclared(declared); err != nil {
			return nil, errors.Join(err, a.release())
		}
	}
	return a, nil
}

// attach gives the registry this configuration's storage and log; recheck cuts the
// streams of accounts that are no longer let in.
func (a *accounts) attach(storage certmagic.Storage, logger *zap.Logger, emitter *events.Emitter, recheck func()) (detach func()) {
	log := &registryLog[account.Account]{
		logger: logger, events: emitter, recheck: recheck,
		records: "service accounts", count: "accounts", event: events.ServiceAccountChanged, data: accountData,
		other: func(e registry.Event[account.Account]) { a.log(e, logger, recheck) },
	}
	if a.registry.Loaded() {
		a.warn(logger)
	}
	return a.registry.Attach(registry.Host[account.Account]{Storage: storage, Refresh: a.config.refresh(), Observe: log.observe})
}

// release gives the registry back, if it was taken.
func (a *accounts) release() error {
	if a == nil {
		return nil
	}
	return registries.Release(a.key)
}

var (
	serviceAccounts = metrics.Gauge("service_accounts",
		"Known service accounts by status: active, inactive or expired.", "status")
	storageSynced = metrics.Gauge("storage_sync_timestamp_seconds",
		"When storage last confirmed the known service accounts, in Unix time; 0 before the first time. It falls behind while storage is out of reach.")
	storageConflict = metrics.Gauge("storage_conflict",
		"1 while storage holds other service accounts than this node, or none any more: an operator decides by service-account repair.")
)

// show shows how many accounts there are, and how their storage is.
func (a *accounts) show(show metrics.Show) {
	counts := a.registry.Counts()
	show(serviceAccounts, float64(counts.Active), "active")
	show(serviceAccounts, float64(counts.Inactive), "inactive")
	show(serviceAccounts, float64(counts.Expired), "expired")
	show(storageSynced, metrics.Unix(a.registry.Synced()))
	found := a.registry.StorageState()
	show(storageConflict, metrics.OneIf(found == registry.Emptied || found == registry.Diverged))
}

// log writes a line for a change of state that only these have.
func (a *accounts) log(e registry.Event[account.Account], logger *zap.Logger, recheck func()) {
	switch e.Kind {
	case registry.Loaded:
		logger.Info("service accounts loaded", zap.Int("accounts", a.registry.Counts().Total()))
		recheck() // before, nobody could tell who is registered
		a.warn(logger)
	case registry.Unavailable:
		if e.StorageState != registry.Emptied && e.StorageState != registry.Diverged {
			logger.Warn("the storage of the service accounts cannot be used; those known stay in force", zap.Error(e.Err))
			return
		}
		logger.Error("the storage of the service accounts is not what it was; those known stay in force until an operator decides: caddy gatehouse service-account repair",
			zap.String("storage", string(e.StorageState)), zap.Error(e.Err))
	case registry.Overwritten:
		logger.Warn("storage held service accounts without changes that were made; they were made again")
	case registry.Older:
		logger.Warn("storage showed an older state of the service accounts than was written; the newest that is known was written again")
	case registry.Healed:
		logger.Warn("records of service accounts were gone from storage and were written again", zap.Int("records", e.Records))
	}
}

func accountData(changed registry.Changed[account.Account]) func() map[string]any {
	return func() map[string]any {
		data := map[string]any{"subject": changed.Record().Subject()}
		if changed.After != nil {
			data["issuer"] = changed.After.Traits().Issuer
			data["status"] = string(changed.After.Status(time.Now()))
		}
		return data
	}
}

// warn logs which accounts were registered for another issuer of the same name.
func (a *accounts) warn(logger *zap.Logger) {
	for was, n := range a.registry.Unconfirmed(a.issuers) {
		logger.Warn("service accounts are for another issuer that had this name, and let nobody in; check its identifier first (https, a slash at the end), and if this one is meant: caddy gatehouse service-account confirm --issuer "+was.Name,
			zap.String("issuer", was.Name), zap.String("identifier", a.issuers.Identifier(was.Name)), zap.String("registered_for", was.Identifier), zap.Int("accounts", n))
	}
}

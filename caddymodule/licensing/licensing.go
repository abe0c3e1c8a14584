package licensing

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// Licensing is what one configuration makes of the license. Its keeper outlives
// a reload as long as license, trust and storage are configured alike. It may be
// used by requests that outlive their configuration.
type Licensing struct {
	keeper       *active.Keeper
	key          string // of the keeper, to give it back
	missingAllow bool
	advisory     bool
	listed       bool // there is a list of revoked licenses
	logger       *zap.Logger

	// Placeholders gives the values of what begins with [PlaceholderPrefix].
	Placeholders caddy.ReplacerFunc

	refusals   refusalLog
	sites      atomic.Pointer[Sites] // nil until Start
	detachHost func()                // nil until Start
}

var keepers = caddy.NewUsagePool()

// pooledKeeper ends a keeper when its last user is gone.
type pooledKeeper struct {
	*active.Keeper
	storage string
}

// Destruct ends the keeper's background work. Requests that are still being
// served are judged by what was known.
func (k pooledKeeper) Destruct() error { return k.Close() }

// Take gives what the configuration makes of the license, nil if it
// says nothing of it; it must be released exactly once.
func Take(storage certmagic.Storage, config *Config, logger *zap.Logger) (*Licensing, error) {
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
		key:          fmt.Sprintf("%x %s", sha256.Sum256([]byte(terms.identity)), place),
		missingAllow: config.Missing == answerAllow,
		advisory:     config.Enforcement == answerLog,
		logger:       logger.Named("license"),
	}
	l.refusals.logger, l.refusals.advisory = l.logger, l.advisory
	if config.Renew.showsSecret() {
		l.logger.Warn("what proves to the vendor who is asking stands in the configuration for all to read; use {env.NAME} or {file./abs/path} instead")
	}
	known := knownBefore(terms.source, place) // which must not be asked while one is made
	taken, _, err := keepers.LoadOrNew(l.key, func() (caddy.Destructor, error) {
		keeper, err := active.New(active.Config{
			Source: terms.source, Verifier: terms.verifier, Facts: terms.facts,
			Revocations: terms.revocations, Renew: terms.renew, Known: known,
		}, active.Options{})
		return pooledKeeper{keeper, place}, err
	})
	if err != nil {
		return nil, err
	}
	beginLicenseCounters()
	l.keeper = taken.(pooledKeeper).Keeper
	l.listed = terms.revocations != nil
	l.Placeholders = l.resolve
	return l, nil
}

// knownBefore is the license of the configuration that runs, if it comes from
// the same source and storage: a change of other options must not lose it.
func knownBefore(source active.Source, storage string) (text []byte) {
	keepers.Range(func(_, value any) bool {
		k, ok := value.(pooledKeeper)
		if ok && k.storage == storage && k.Source() == source {
			text = k.Known()
		}
		return text == nil
	})
	return text
}

// Release gives the keeper back, if it was taken.
func (l *Licensing) Release() error {
	if l == nil {
		return nil
	}
	_, err := keepers.Delete(l.key)
	return err
}

// Attach gives the keeper this configuration's storage and log, and compares the
// sites with the license.
func (l *Licensing) Attach(storage certmagic.Storage, refresh time.Duration, behind *Sites, events *events.Emitter, replaced func()) {
	l.sites.Store(behind)
	log := &licenseLog{replaced: replaced, logger: l.logger, missingAllow: l.missingAllow, advisory: l.advisory, sites: behind, events: events}
	if l.keeper.Looked() {
		log.compare(l.keeper.Validity())
	}
	l.detachHost = l.keeper.Attach(active.Host{Storage: storage, Refresh: refresh, Observe: log.observe})
}

// Detach takes storage and log back; it may be called repeatedly.
func (l *Licensing) Detach() {
	if l != nil && l.detachHost != nil {
		l.detachHost()
	}
}

// lookLimit is how long a request waits for the first look for a license, which
// may have to come from storage. Until then nobody can say that there is none.
const lookLimit = 5 * time.Second

// Check decides about a request: nil lets it pass.
func (l *Licensing) Check(ctx context.Context, host string, features []string) *license.Error {
	if l.listed && !l.keeper.Informed() {
		l.awaitFacts(ctx)
	}
	err := l.keeper.Check(host, features...)
	if err == nil {
		return nil
	}
	return l.judge(ctx, host, features, err)
}

// judge is the part of Check that the path of a good request does not reach.
func (l *Licensing) judge(ctx context.Context, host string, features []string, err error) *license.Error {
	if !l.keeper.Looked() {
		if l.advisory {
			return nil
		}
		l.await(ctx)
		err = l.keeper.Check(host, features...)
	}
	if errors.Is(err, &license.Error{Reason: license.ReasonInstance}) && !l.keeper.Informed() {
		l.awaitFacts(ctx)
		err = l.keeper.Check(host, features...)
	}
	var fault *license.Error
	if !errors.As(err, &fault) {
		return nil
	}
	if fault.Reason == license.ReasonMissing && l.missingAllow {
		countLicenseWaived(fault.Code())
		return nil
	}
	l.refusals.tell(fault, host)
	if l.advisory {
		countLicenseWaived(fault.Code())
		return nil
	}
	countLicenseDenial(fault.Code())
	return fault
}

// Grants tells whether the license in force grants all of the features, whatever
// is done about one that does not.
func (l *Licensing) Grants(ctx context.Context, features []string) bool {
	if l.keeper.Validity().Grants(features...) {
		return true
	}
	if l.keeper.Looked() {
		return false
	}
	l.await(ctx)
	return l.keeper.Validity().Grants(features...)
}

// await waits for the first look, for a limited time. What is known then decides.
func (l *Licensing) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	_ = l.keeper.Await(ctx)
}

// awaitFacts waits for what a license's validity depends on beside the license, for a
// limited time.
func (l *Licensing) awaitFacts(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	_ = l.keeper.AwaitFacts(ctx)
}

// Status is what operators see.
func (l *Licensing) Status() api.LicenseStatus {
	s := api.LicenseStatus{
		Status: l.Validity().Status(l.Host()), Sealed: Sealed(),
		Source: l.keeper.Source().String(), ClockSuspect: l.keeper.ClockSuspect(),
	}
	if fault := l.keeper.Fault(); fault != nil {
		s.SourceError = fault.Error()
	}
	s.Revocations, s.Renewal = l.revocations(), l.renewal()
	if instance := l.keeper.Instance(); instance != nil {
		s.Instance = instance.Fingerprint()
	}
	return s
}

// revocations is nil where there is no source of any.
func (l *Licensing) revocations() *active.RevocationStatus {
	if status, configured := l.keeper.Revocations(); configured {
		return &status
	}
	return nil
}

// renewal is nil where the license is not renewed.
func (l *Licensing) renewal() *active.RenewalStatus {
	if status, configured := l.keeper.Renewal(); configured {
		return &status
	}
	return nil
}

// PlaceholderPrefix begins the placeholders that tell of the license.
const PlaceholderPrefix = "http.license."

// CodePlaceholder says why a request was refused for the license.
const CodePlaceholder = PlaceholderPrefix + "code"

// resolve gives the value of a placeholder, from the license at the moment of
// asking. What an absent or unbelievable license does not tell is empty.
func (l *Licensing) resolve(key string) (any, bool) {
	name, ours := strings.CutPrefix(key, PlaceholderPrefix)
	if !ours {
		return nil, false
	}
	validity := l.keeper.Validity()
	switch name {
	case "state":
		return string(validity.State()), true
	case "code": // of a request that was not refused
		return "", true
	case "type", "description", "expire_at", "key_id", "features":
	default:
		return nil, false
	}
	held := genuine(validity)
	if held == nil {
		return "", true
	}
	switch name {
	case "type":
		return string(held.Payload.Type), true
	case "description":
		return held.Payload.Description, true
	case "expire_at":
		return strconv.FormatInt(held.Payload.ExpireAt, 10), true
	case "key_id":
		return held.KeyID, true
	}
	return strings.Join(validity.Status("").Features, ","), true
}

// Validity is what is known of the license now.
func (l *Licensing) Validity() *license.Validity { return l.keeper.Validity() }

// Host is the host that a status is about where none is asked for.
func (l *Licensing) Host() string {
	behind := l.sites.Load()
	if behind == nil {
		return ""
	}
	return behind.main(l.keeper.Validity().Hosts())
}

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

func (l *Licensing) checkUse(found *license.Validity, forHost string) error {
	if forHost != "" {
		pattern, err := host.Parse(forHost)
		if found.Hosts().Match(forHost) || err == nil && found.Hosts().Covers(pattern) {
			return nil
		}
		return &license.Error{Reason: license.ReasonHost, Detail: fmt.Sprintf("the license does not cover the host %.255q", forHost)}
	}
	behind := l.sites.Load()
	if behind == nil || behind.served(found) {
		return nil
	}
	return &license.Error{
		Reason: license.ReasonHost,
		Detail: "the license covers none of the hosts behind require_license: " + strings.Join(behind.shown(), ", "),
	}
}

// Interface guards
var _ api.Licensing = (*Licensing)(nil)

package caddymodule

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// licensing is what one configuration makes of the license. Its keeper outlives
// a reload as long as license, trust and storage are configured alike. It may be
// used by requests that outlive their configuration.
type licensing struct {
	keeper       *active.Keeper
	verifier     *license.Verifier
	key          string // of the keeper, to give it back
	missingAllow bool
	advisory     bool
	sealed       bool
	logger       *zap.Logger
	told         told
	placeholders caddy.ReplacerFunc
	sites        atomic.Pointer[sites]  // nil until Start
	compared     atomic.Pointer[string] // what was last said of them
	detachHost   func()                 // nil until Start
}

var keepers = caddy.NewUsagePool()

// pooledKeeper ends a keeper when its last user is gone.
type pooledKeeper struct {
	*active.Keeper
	storage string
}

// Destruct ends the keeper's background work. Requests that are still being
// served go on being judged by what was known.
func (k pooledKeeper) Destruct() error { return k.Close() }

// takeLicensing gives what the configuration makes of the license, nil if it
// says nothing of it; it must be released exactly once.
func takeLicensing(storage certmagic.Storage, config *LicenseConfig, logger *zap.Logger) (*licensing, error) {
	if config == nil {
		if !sealedBuild() {
			return nil, nil
		}
		config = new(LicenseConfig)
	}
	terms, err := config.terms()
	if err != nil {
		return nil, err
	}
	place := storageID(storage)
	l := &licensing{
		verifier:     terms.verifier,
		key:          fmt.Sprintf("%x %s", sha256.Sum256([]byte(terms.identity)), place),
		missingAllow: config.Missing == answerAllow,
		advisory:     config.Enforcement == answerLog,
		sealed:       sealedBuild(),
		logger:       logger.Named("license"),
	}
	known := knownBefore(terms.source, place) // which must not be asked while one is made
	taken, _, err := keepers.LoadOrNew(l.key, func() (caddy.Destructor, error) {
		keeper, err := active.New(active.Config{
			Source: terms.source, Verifier: terms.verifier, Known: known,
		}, active.Options{})
		return pooledKeeper{keeper, place}, err
	})
	if err != nil {
		return nil, err
	}
	beginLicenseCounters()
	l.keeper = taken.(pooledKeeper).Keeper
	l.placeholders = l.resolve
	return l, nil
}

// knownBefore is the license of the configuration that runs, if it comes from
// the same place: a change of the other options does not lose it.
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

// release gives the keeper back, if it was taken.
func (l *licensing) release() error {
	if l == nil {
		return nil
	}
	_, err := keepers.Delete(l.key)
	return err
}

// attach gives the keeper this configuration's storage and log, and compares the
// sites with the license.
func (l *licensing) attach(storage certmagic.Storage, refresh time.Duration, behind *sites, events *emitter) {
	l.sites.Store(behind)
	log := licenseLog{l, events.licenseEvent}
	if l.keeper.Looked() {
		log.compare(l.keeper.Standing())
	}
	l.detachHost = l.keeper.Attach(active.Host{Storage: storage, Refresh: refresh, Observe: log.observe})
}

// detach takes storage and log back; it may be called repeatedly.
func (l *licensing) detach() {
	if l != nil && l.detachHost != nil {
		l.detachHost()
	}
}

// lookLimit is how long a request waits for the first look for a license, which
// may have to come from storage. Until then nobody can say that there is none.
const lookLimit = 5 * time.Second

// check decides about a request: nil lets it pass.
func (l *licensing) check(ctx context.Context, host string, features []string) *license.Error {
	err := l.keeper.Check(host, features...)
	if err == nil {
		return nil
	}
	return l.judge(ctx, host, features, err)
}

// judge is the part of check that the path of a good request does not reach.
func (l *licensing) judge(ctx context.Context, host string, features []string, err error) *license.Error {
	if !l.keeper.Looked() {
		if l.advisory {
			return nil
		}
		l.await(ctx)
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
	l.tell(fault, host)
	if l.advisory {
		countLicenseWaived(fault.Code())
		return nil
	}
	countLicenseDenial(fault.Code())
	return fault
}

// grants tells whether the license in force grants all of the features, whatever
// is done about one that does not.
func (l *licensing) grants(ctx context.Context, features []string) bool {
	if l.keeper.Standing().Grants(features...) {
		return true
	}
	if l.keeper.Looked() {
		return false
	}
	l.await(ctx)
	return l.keeper.Standing().Grants(features...)
}

// await waits for the first look. However it ends, what is known then decides.
func (l *licensing) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	_ = l.keeper.Await(ctx)
}

// licenseLog writes one line for each thing that happens to the license, and
// hands it on to next.
type licenseLog struct {
	*licensing
	next func(active.Event)
}

func (l licenseLog) observe(e active.Event) {
	l.write(e)
	if e.Kind == active.StateChanged || e.Kind == active.Replaced {
		l.compare(e.Standing)
	}
	if l.next != nil {
		l.next(e)
	}
}

func (l licenseLog) write(e active.Event) {
	source := zap.String("source", e.Source)
	switch e.Kind {
	case active.StateChanged:
		l.stateChanged(e, source)
	case active.Replaced:
		l.logger.Info("another license is in force", append(describeLicense(e.Standing), source)...)
	case active.Deferred:
		l.logger.Warn("a license was found that does not let pass now; the one in force stays until its end", source, zap.Error(e.Err))
	case active.Rejected:
		l.logger.Error("what was found is no license to be believed; the one in force stays until its end", source, zap.Error(e.Err))
	case active.Vanished:
		l.logger.Warn("the license is no longer where it came from; it stays in force until its end, but not after a restart", source, zap.Error(e.Err))
	case active.Mended:
		l.logger.Info("the license is where it should be again", source)
	case active.Unavailable:
		l.logger.Warn("the storage of the license cannot be used; what is known stays in force", zap.Error(e.Err))
	case active.Recovered:
		l.logger.Info("the storage of the license can be used again")
	case active.ClockSuspect:
		l.logger.Warn("the clock is behind a time that was seen before", zap.String("why", e.Words))
	case active.ClockFine:
		l.logger.Info("the clock is right again", zap.String("why", e.Words))
	case active.Damaged:
		l.logger.Warn("the record of the highest time seen was damaged and is written anew", zap.Error(e.Err))
	}
}

func (l licenseLog) stateChanged(e active.Event, source zap.Field) {
	fields := append([]zap.Field{
		zap.String("state", string(e.To)), zap.String("before", string(e.From)), zap.String("why", e.Words), source,
	}, describeLicense(e.Standing)...)
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	switch {
	case e.To == license.StateValid:
		l.logger.Info("the license is valid", fields...)
	case e.To.Passes():
		l.logger.Warn("the license needs to be renewed", fields...)
	case e.To == license.StateMissing && l.missingAllow:
		l.logger.Info("there is no license, which is allowed", fields...)
	case l.advisory:
		l.logger.Warn("the license would not let requests pass; enforcement is log", fields...)
	default:
		l.logger.Error("the license does not let requests pass", fields...)
	}
}

// describeLicense tells a genuine license from others.
func describeLicense(standing *license.Standing) []zap.Field {
	held := genuine(standing)
	if held == nil {
		return nil
	}
	return []zap.Field{
		zap.String("key_id", held.KeyID),
		zap.String("description", held.Payload.Description),
		zap.Int64("expire_at", held.Payload.ExpireAt),
	}
}

// genuine is the license if it is to be believed, whatever the time, else nil.
func genuine(standing *license.Standing) *license.License {
	if standing == nil || !standing.Genuine() {
		return nil
	}
	return standing.License()
}

// maxTold bounds how many hosts are told of one by one, for each reason.
const maxTold = 64

// told is what has been told of requests that the license does not let pass, by
// the reason's code and by host.
type told struct {
	mu    sync.Mutex
	hosts map[string]map[string]struct{}
}

// first tells whether a reason and a host are to be told of: they are new, and
// there is room. last is true for the host that fills it.
func (t *told) first(code, host string) (is, last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hosts := t.hosts[code]
	if _, again := hosts[host]; again || len(hosts) >= maxTold {
		return false, false
	}
	if hosts == nil {
		hosts = make(map[string]struct{})
		if t.hosts == nil {
			t.hosts = make(map[string]map[string]struct{})
		}
		t.hosts[code] = hosts
	}
	hosts[host] = struct{}{}
	return true, len(hosts) == maxTold
}

// tell warns once of each reason and host for which a request is refused, or
// would be.
func (l *licensing) tell(fault *license.Error, host string) {
	is, last := l.told.first(fault.Code(), strings.ToLower(host))
	if !is {
		return
	}
	message := "requests are refused for the license; more of this reason and host are told at DEBUG only"
	if l.advisory {
		message = "a request would have been refused for the license; enforcement is log"
	}
	l.logger.Warn(message, zap.String("code", fault.Code()), zap.String("host", host), zap.String("why", fault.Error()))
	if last {
		l.logger.Warn("further hosts are counted, but not told of", zap.String("code", fault.Code()))
	}
}

// status is what operators see.
func (l *licensing) status() api.LicenseStatus {
	s := api.LicenseStatus{
		Status: l.Standing().Status(l.Host()), Sealed: sealedBuild(),
		Source: l.keeper.Source().String(), ClockSuspect: l.keeper.ClockSuspect(),
	}
	if fault := l.keeper.Fault(); fault != nil {
		s.SourceError = fault.Error()
	}
	return s
}

// reading is what the metrics show.
func (l *licensing) reading() licenseReading {
	standing := l.keeper.Standing()
	r := licenseReading{
		State: standing.State(), Refuses: l.refuses(standing.State()), SourceFault: l.keeper.Fault() != nil, ClockSuspect: l.keeper.ClockSuspect(),
	}
	if held := genuine(standing); held != nil {
		r.ExpiresAt = time.Unix(held.Payload.ExpireAt, 0)
	}
	return r
}

// refuses tells whether all requests are refused in a state.
func (l *licensing) refuses(state license.State) bool {
	return !state.Passes() && !l.advisory && (state != license.StateMissing || !l.missingAllow)
}

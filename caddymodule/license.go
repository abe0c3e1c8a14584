package caddymodule

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

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

func (l *licensing) release() error {
	_, err := keepers.Delete(l.key)
	return err
}

// attach lends the keeper this configuration's storage and log, and compares the
// sites with the license.
func (l *licensing) attach(storage certmagic.Storage, refresh time.Duration, behind *sites, observe func(active.Event)) {
	l.sites.Store(behind)
	log := licenseLog{l, observe}
	if l.keeper.Looked() {
		log.compare(l.keeper.Standing())
	}
	l.detachHost = l.keeper.Attach(active.Host{Storage: storage, Refresh: refresh, Observe: log.observe})
}

// detach takes storage and log back; it may be called repeatedly.
func (l *licensing) detach() {
	if l.detachHost != nil {
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

package licensing

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
	"github.com/gatehouse-proxy/gatehouse/license/usage"
)

// Limits hold a deployment to the numbers that its license says. The counter of people
// outlives a reload as long as the storage is the same.
type Limits struct {
	keeper   *active.Keeper
	accounts account.View
	people   *usage.Counter
	key      string // of the counter, to give it back
	advisory bool
	logger   *zap.Logger

	// mark is what callers bear who need not be looked at again: another one after
	// each change of the license, and each day.
	mark atomic.Uint64
	over [2]atomic.Bool // as it was told, by the place in countedLimits
}

// countedLimits are the limits that are counted here.
var countedLimits = []string{license.LimitUsers, license.LimitServiceAccounts}

var (
	peopleCounters = caddy.NewUsagePool()
	// lastMark makes marks that no other configuration of this process has.
	lastMark atomic.Uint32
)

// pooledPeople ends a counter when its last user is gone.
type pooledPeople struct{ *usage.Counter }

// Destruct ends the counter's background work.
func (p pooledPeople) Destruct() error { return p.Close() }

// TakeLimits gives the limits of a configuration that has a license, nil else; they
// must be released exactly once.
func TakeLimits(storage certmagic.Storage, l *Licensing, accounts account.View) (*Limits, error) {
	if l == nil {
		return nil, nil
	}
	key := pool.StorageID(storage)
	taken, _, err := peopleCounters.LoadOrNew(key, func() (caddy.Destructor, error) {
		return pooledPeople{usage.New(nil)}, nil
	})
	if err != nil {
		return nil, err
	}
	beginLimitCounters()
	h := &Limits{
		keeper: l.keeper, accounts: accounts, people: taken.(pooledPeople).Counter, key: key,
		advisory: l.advisory, logger: l.logger,
	}
	h.Recount()
	return h, nil
}

// Release gives the counter back, if it was taken.
func (l *Limits) Release() error {
	if l == nil {
		return nil
	}
	_, err := peopleCounters.Delete(l.key)
	return err
}

// Attach gives the counter this configuration's storage.
func (l *Limits) Attach(storage certmagic.Storage, refresh time.Duration) (detach func()) {
	if l == nil {
		return func() {}
	}
	l.tell()
	return l.people.Attach(usage.Host{
		Storage: storage, Refresh: refresh,
		Secret: func(ctx context.Context) ([]byte, error) {
			instance, err := l.keeper.MakeInstance(ctx)
			if err != nil {
				return nil, err
			}
			return instance.Secret("gatehouse: people who use it"), nil
		},
		Counts: func() bool {
			l.tell()
			_, limited := l.limit(license.LimitUsers)
			return limited
		},
		Unavailable: func(err error) {
			if err != nil {
				l.logger.Warn("the storage of the people counted for the license cannot be used; those known count on", zap.Error(err))
				return
			}
			l.logger.Info("the storage of the people counted for the license can be used again")
		},
	})
}

// Recount has every caller looked at anew: the license is another one.
func (l *Limits) Recount() {
	if l != nil {
		l.mark.Store(uint64(lastMark.Add(1)) << 32)
		l.people.Wake()
	}
}

// limit is one of the license in force. Where its enforcement is only logged, so is a
// limit.
func (l *Limits) limit(name string) (limit license.Limit, limited bool) {
	limit, limited = l.keeper.Validity().Limit(name)
	limit.Deny = limit.Deny && !l.advisory
	return limit, limited
}

const secondsOfDay = 24 * 60 * 60

// Admit counts a caller who is let in, and refuses one more person than the license
// is for, if it says so. Whoever was counted already today costs one look.
func (l *Limits) Admit(ctx context.Context, caller *auth.Principal, now time.Time) *auth.Refusal {
	if l == nil {
		return nil
	}
	mark := l.mark.Load() | uint64(uint32(now.Unix()/secondsOfDay)) //nolint:gosec // days since 1970
	if caller.Mark().Load() == mark {
		return nil
	}
	return l.count(ctx, caller, mark)
}

// count is the part of Admit that the path of those who are counted does not reach.
func (l *Limits) count(ctx context.Context, caller *auth.Principal, mark uint64) *auth.Refusal {
	limit, limited := l.limit(license.LimitUsers)
	if !limited || !caller.IsPerson() {
		caller.Mark().Store(mark)
		return nil
	}
	if limit.Deny {
		l.await(ctx)
	}
	switch l.people.See(caller.Issuer(), caller.Subject(), limit.Most, limit.Deny) {
	case usage.Unknown:
		return nil
	case usage.Refused:
		overLimitTotal.WithLabelValues(limit.Name, metrics.Refused).Inc()
		l.tell()
		return auth.ErrUserLimit
	case usage.Over:
		overLimitTotal.WithLabelValues(limit.Name, metrics.LetIn).Inc()
		l.tell()
	}
	caller.Mark().Store(mark)
	return nil
}

// await waits for the first reading of who was seen before, so that nobody of them
// seems new.
func (l *Limits) await(ctx context.Context) {
	ready, first := l.people.Ready()
	if ready {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	select {
	case <-first:
	case <-ctx.Done():
	}
}

// used is how much of a limit is used.
func (l *Limits) used(name string) int64 {
	if name == license.LimitUsers {
		return int64(l.people.Count())
	}
	return int64(l.accounts.Counts().Total())
}

// tell logs once that a limit is exceeded, and once that it is not any more.
func (l *Limits) tell() {
	for i, name := range countedLimits {
		limit, limited := l.limit(name)
		used := l.used(name)
		over := limited && used > limit.Most
		if l.over[i].Swap(over) == over {
			continue
		}
		fields := []zap.Field{zap.String("limit", name), zap.Int64("used", used)}
		if over {
			l.logger.Warn("more is used than the license is for", append(fields, zap.Int64("most", limit.Most), zap.Bool("refuses", limit.Deny))...)
			continue
		}
		l.logger.Info("the license is for what is used again", fields...)
	}
}

// Room refuses so many new service accounts if the license says so, and else counts
// those that are over its limit.
func (l *Limits) Room(more int) error {
	limit, limited := l.limit(license.LimitServiceAccounts)
	excess := min(l.used(limit.Name)+int64(more)-limit.Most, int64(more))
	if !limited || more == 0 || excess <= 0 {
		return nil
	}
	if limit.Deny {
		overLimitTotal.WithLabelValues(limit.Name, metrics.Refused).Add(float64(excess))
		return &api.Problem{
			Status:  http.StatusForbidden,
			Message: fmt.Sprintf("the license is for at most %d service accounts, and there would be more; nothing was written", limit.Most),
		}
	}
	overLimitTotal.WithLabelValues(limit.Name, metrics.LetIn).Add(float64(excess))
	return nil
}

// Usage is what is used of the license, for operators and for its vendor.
func (l *Limits) Usage() usage.Usage {
	u := usage.Usage{At: time.Now().Unix(), Limits: make(map[string]usage.Share)}
	validity := l.keeper.Validity()
	if held := genuine(validity); held != nil {
		u.LicenseID = held.Payload.ID
	}
	for _, name := range countedLimits {
		limit, limited := validity.Limit(name)
		share := usage.Share{Used: l.used(name), Limit: -1, Enforcement: license.Advisory}
		if limited {
			share.Limit = limit.Most
		}
		if limit.Deny {
			share.Enforcement = license.Deny
		}
		if limited || name == license.LimitServiceAccounts { // people are counted for a limit only
			u.Limits[name] = share
		}
	}
	return u
}

// Report is Usage, signed by the instance.
func (l *Limits) Report(ctx context.Context) (*usage.Report, error) {
	instance, err := l.keeper.MakeInstance(ctx)
	if err != nil {
		return nil, err
	}
	return usage.Sign(l.Usage(), instance)
}

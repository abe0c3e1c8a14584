package licensing

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

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
	accounts *account.Registry
	people   *usage.Counter
	key      string // of the counter, to give it back
	log      *eventLog

	// mark is what callers bear who need not be looked at again: another one after
	// each change of the license, and each day.
	mark atomic.Uint64
	over [2]atomic.Bool // as it was reported, by the place in countedLimits
}

// countedLimits are the limits that are counted here.
var countedLimits = []string{license.LimitUsers, license.LimitServiceAccounts}

var (
	peopleCounters = pool.New(func(c *usage.Counter) error { return c.Close() })
	// lastMark makes marks that no other configuration of this process has.
	lastMark atomic.Uint32
)

// takeLimits gives the limits of a configuration, whose counter must be released exactly
// once.
func takeLimits(place string, keeper *active.Keeper, accounts *account.Registry, log *eventLog) (*Limits, error) {
	people, err := peopleCounters.Take(place, func() (*usage.Counter, error) { return usage.New(nil), nil })
	if err != nil {
		return nil, err
	}
	for _, name := range countedLimits { // so that a rate sees the first event
		overLimitTotal.WithLabelValues(name, metrics.LetIn)
		overLimitTotal.WithLabelValues(name, metrics.Refused)
	}
	l := &Limits{keeper: keeper, accounts: accounts, people: people, key: place, log: log}
	l.recount()
	return l, nil
}

// Attach gives the counter of people this configuration's storage.
func (l *Licensing) Attach(storage certmagic.Storage, refresh time.Duration) (detach func()) {
	if l == nil {
		return func() {}
	}
	limits := l.Limits
	limits.report()
	return limits.people.Attach(usage.Host{
		Storage: storage, Refresh: refresh,
		Secret: func(ctx context.Context) ([]byte, error) {
			instance, err := l.keeper.MakeInstance(ctx)
			if err != nil {
				return nil, err
			}
			return instance.Secret("gatehouse: people who use it"), nil
		},
		Counts: func() bool {
			limits.report()
			_, limited := limits.limit(license.LimitUsers)
			return limited
		},
		Unavailable: func(err error) {
			if err != nil {
				l.log.logger.Warn("the storage of the people counted for the license cannot be used; those known count on", zap.Error(err))
				return
			}
			l.log.logger.Info("the storage of the people counted for the license can be used again")
		},
	})
}

// recount has every caller looked at anew: the license is another one.
func (l *Limits) recount() {
	l.mark.Store(uint64(lastMark.Add(1)) << 32)
	l.people.Wake()
}

// limit is one of the license in force. Where its enforcement is only logged, so is a
// limit.
func (l *Limits) limit(name string) (limit license.Limit, limited bool) {
	limit, limited = l.keeper.Validity().Limit(name)
	limit.Deny = limit.Deny && !l.log.advisory
	return limit, limited
}

const secondsOfDay = 24 * 60 * 60

// Admit counts a caller who is let in, and refuses one more person than the license
// is for, if it says so. Whoever was counted already today costs one look.
func (l *Licensing) Admit(ctx context.Context, caller *auth.Principal, now time.Time) *auth.Refusal {
	if l == nil {
		return nil
	}
	mark := l.Limits.mark.Load() | uint64(uint32(now.Unix()/secondsOfDay)) //nolint:gosec // days since 1970
	if caller.Mark.Load() == mark {
		return nil
	}
	return l.Limits.count(ctx, caller, mark)
}

// count is the part of Admit that the path of those who are counted does not reach.
func (l *Limits) count(ctx context.Context, caller *auth.Principal, mark uint64) *auth.Refusal {
	limit, limited := l.limit(license.LimitUsers)
	if !limited || !caller.IsPerson() {
		caller.Mark.Store(mark)
		return nil
	}
	if ready, first := l.people.Ready(); limit.Deny && !ready {
		wait(ctx, func(ctx context.Context) error { // or those who were seen before would seem new
			select {
			case <-first:
			case <-ctx.Done():
			}
			return nil
		})
	}
	switch l.people.See(caller.Issuer(), caller.Subject(), limit.Most, limit.Deny) {
	case usage.Unknown:
		return nil
	case usage.Refused:
		overLimitTotal.WithLabelValues(limit.Name, metrics.Refused).Inc()
		l.report()
		return auth.ErrUserLimit
	case usage.Over:
		overLimitTotal.WithLabelValues(limit.Name, metrics.LetIn).Inc()
		l.report()
	}
	caller.Mark.Store(mark)
	return nil
}

// used is how much of a limit is used.
func (l *Limits) used(name string) int64 {
	if name == license.LimitUsers {
		return int64(l.people.Count())
	}
	return int64(l.accounts.Counts().Total())
}

// report logs once that a limit is exceeded, and once that it is not any more.
func (l *Limits) report() {
	for i, name := range countedLimits {
		limit, limited := l.limit(name)
		used := l.used(name)
		over := limited && used > limit.Most
		if l.over[i].Swap(over) == over {
			continue
		}
		fields := []zap.Field{zap.String("limit", name), zap.Int64("used", used)}
		if over {
			l.log.logger.Warn("more is used than the license is for", append(fields, zap.Int64("most", limit.Most), zap.Bool("refuses", limit.Deny))...)
			continue
		}
		l.log.logger.Info("the license is for what is used again", fields...)
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

// usage is what is used of the license, for operators and for its vendor.
func (l *Limits) usage() usage.Usage {
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

// Report is the usage, signed by the instance.
func (l *Limits) Report(ctx context.Context) (*usage.Report, error) {
	instance, err := l.keeper.MakeInstance(ctx)
	if err != nil {
		return nil, err
	}
	return usage.Sign(l.usage(), instance)
}

package securityevents

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/secevent"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/metrics"
)

var (
	eventsTotal = metrics.Counter("security_events_total",
		"Events of an issuer (logout tokens, security event tokens, global revocations), by what they say and what became of them.",
		"issuer", "kind", "outcome")
	pollsTotal = metrics.Counter("security_event_polls_total",
		"Requests to fetch an issuer's events: success or failure.", "issuer", "result")
	lastEvent = metrics.Gauge("security_event_timestamp_seconds",
		"When an issuer whose events are taken last sent one that it had signed, in Unix time; while there was none, when this process began to wait for it.", "issuer")
)

// beginCounters has the counters of an issuer's events begin at zero.
func beginCounters(issuer string, c *Config) {
	for _, kind := range secevent.Kinds {
		for _, outcome := range secevent.Outcomes {
			eventsTotal.WithLabelValues(issuer, string(kind), string(outcome))
		}
	}
	if c.Poll != nil {
		pollsTotal.WithLabelValues(issuer, metrics.Success)
		pollsTotal.WithLabelValues(issuer, metrics.Failure)
	}
}

// Show shows since when each issuer has sent no event.
func (r *Receivers) Show(show metrics.Show) {
	for _, one := range r.list {
		at := one.log.times.lastEvent()
		if at.IsZero() {
			at = one.log.times.began
		}
		show(lastEvent, metrics.Unix(at), one.log.name)
	}
}

// eventTimes are when an issuer's events came. They outlive configurations, so that a
// reload is not taken for an event.
type eventTimes struct {
	began time.Time // when they were first waited for
	last  atomic.Int64
}

var timesOfEvents sync.Map // of *eventTimes, by the issuer's name

func timesOf(name string) *eventTimes {
	times, _ := timesOfEvents.LoadOrStore(name, &eventTimes{began: time.Now()})
	return times.(*eventTimes)
}

func (t *eventTimes) lastEvent() time.Time {
	if last := t.last.Load(); last > 0 {
		return time.Unix(last, 0)
	}
	return time.Time{}
}

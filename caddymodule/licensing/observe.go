package licensing

import (
	"strings"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/active"
)

// eventLog writes one line for each thing that happens to the license, and warns of
// requests that it does not let pass.
type eventLog struct {
	logger       *zap.Logger
	missingAllow bool
	advisory     bool

	sites    *Sites // behind require_license; it and what follows is nil until Start
	replaced func() // called when another license is in force
	events   *events.Emitter
	compared atomic.Pointer[string] // what was last said of the sites

	mu      sync.Mutex
	refused map[string]map[string]struct{} // hosts that were warned of, by the code of the refusal
}

// observe logs what happened, and acts on another license or state.
func (l *eventLog) observe(e active.Event) {
	source := zap.String("source", e.Source)
	switch e.Kind {
	case active.StateChanged:
		l.stateChanged(e, source)
	case active.Replaced:
		l.logger.Info("another license is in force", append(describeLicense(e.Validity), source)...)
	case active.Deferred:
		l.logger.Warn("a license was found that does not let pass now; the one in force stays until its end and its grace", source, zap.Error(e.Err))
	case active.Rejected:
		l.logger.Error("what was found is no license to be believed; the one in force stays until its end and its grace", source, zap.Error(e.Err))
	case active.Vanished:
		l.logger.Warn("the license is no longer where it came from; it stays in force until its end and its grace, but not after a restart", source, zap.Error(e.Err))
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
		l.logger.Warn("a record was damaged and is written anew", zap.Error(e.Err))
	case active.RevocationsChanged:
		l.logger.Info("another list of revoked licenses counts", zap.String("list", e.Words))
	case active.RevocationsRejected:
		l.logger.Warn("the list of revoked licenses cannot be fetched, or is not accepted; the last one stays in force", zap.Error(e.Err))
	case active.RevocationsMended:
		l.logger.Info("the list of revoked licenses can be had again")
	case active.RevocationsLate:
		l.logger.Warn("the list of revoked licenses is late; the last one stays in force", zap.String("why", e.Words))
	case active.Renewed:
		l.logger.Info("the license was renewed", append(describeLicense(e.Validity), source)...)
	case active.RenewalFailed:
		l.logger.Warn("the license could not be renewed; the one in force stays until its end and its grace", zap.Error(e.Err))
	}
	if e.Kind == active.StateChanged || e.Kind == active.Replaced {
		l.compare(e.Validity)
		l.replaced()
	}
	if e.Kind == active.StateChanged {
		l.events.Emit(events.LicenseStateChanged, func() map[string]any {
			return map[string]any{"from": string(e.From), "to": string(e.To), "reason": e.Words}
		})
	}
}

// stateChanged logs the state, as bad as it is.
func (l *eventLog) stateChanged(e active.Event, source zap.Field) {
	fields := append([]zap.Field{
		zap.String("state", string(e.To)), zap.String("before", string(e.From)), zap.String("why", e.Words), source,
	}, describeLicense(e.Validity)...)
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

// describeLicense is what the log says of a genuine license.
func describeLicense(validity *license.Validity) []zap.Field {
	held := genuine(validity)
	if held == nil {
		return nil
	}
	return []zap.Field{
		zap.String("key_id", held.KeyID),
		zap.String("description", held.Payload.Description),
		zap.Int64("expire_at", held.Payload.ExpireAt),
	}
}

// genuine is the license if a trusted key signed it, whatever the time, else nil.
func genuine(validity *license.Validity) *license.License {
	if validity == nil || !validity.Genuine() {
		return nil
	}
	return validity.License()
}

// maxRefused bounds the hosts that are warned of, for each reason.
const maxRefused = 64

// refusal warns of a request that is refused, or would be: once for each reason and host.
func (l *eventLog) refusal(fault *license.Error, host string) {
	code, name := fault.Code(), strings.ToLower(host)
	l.mu.Lock()
	hosts := l.refused[code]
	if hosts == nil {
		hosts = make(map[string]struct{})
		l.refused[code] = hosts
	}
	_, again := hosts[name]
	full := len(hosts) == maxRefused
	if !again && !full {
		hosts[name] = struct{}{}
	}
	last := len(hosts) == maxRefused
	l.mu.Unlock()
	if again || full {
		return
	}
	message := "requests are refused for the license; more of this reason and host are logged at DEBUG only"
	if l.advisory {
		message = "a request would have been refused for the license; enforcement is log"
	}
	l.logger.Warn(message, zap.String("code", code), zap.String("host", host), zap.String("why", fault.Error()))
	if last {
		l.logger.Warn("further hosts are counted, but not logged", zap.String("code", code))
	}
}

// compare warns once of the sites that a license does not cover, and of its
// patterns that match nothing.
func (l *eventLog) compare(validity *license.Validity) {
	held := genuine(validity)
	if held == nil {
		return
	}
	var missed []string
	for i, name := range l.sites.names {
		if !validity.Hosts().Covers(l.sites.patterns[i]) {
			missed = append(missed, name)
		}
	}
	about := held.Signature + strings.Join(missed, " ")
	if before := l.compared.Swap(&about); before != nil && *before == about {
		return
	}
	if len(missed) > 0 {
		l.logger.Warn("the license does not cover all sites behind require_license", zap.Strings("sites", missed))
	}
	for _, err := range validity.RefusedHosts() {
		l.logger.Warn("a host in the license is malformed and matches nothing", zap.Error(err))
	}
}

package license

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license/host"
)

// Validity says whether a deployment's license is valid, and for what; there may also
// be no license. It never changes, but what it answers does as time goes by: the state
// is computed from the clock whenever it is asked for, so no timer can be late. Any
// number of goroutines may share one, and asking takes no lock and no memory.
type Validity struct {
	license *License // nil if missing or unreadable
	fault   *Error   // why missing or invalid; nil for all other states
	refused []error

	hosts    *host.Matcher
	every    bool // every feature is granted
	features map[string]struct{}

	times timeline
	now   func() time.Time

	// What a license that is genuine may still be refused for, at the moment of
	// asking.
	revocations *Revocations // nil: the license has no id, or nothing can revoke it
	id          string
	bound       bool
	instance    func() string // nil: none is known

	// Made beforehand, so that a refusal costs no memory either.
	notYet, expired, otherHost, revoked, elsewhere *Error
}

// Missing is the validity of a deployment without a license; detail says where
// one was looked for.
func Missing(detail string) *Validity {
	return &Validity{fault: refusedFor(ReasonMissing, detail)}
}

// Invalid is the validity of a deployment whose license cannot even be read;
// detail says why.
func Invalid(detail string) *Validity {
	return &Validity{fault: badForm("", "%s", detail)}
}

// validity is that of a license that has been verified.
func (v *Verifier) validity(l *License, hosts *host.Matcher, refused []error) *Validity {
	p := &l.Payload
	s := &Validity{
		license:   l,
		refused:   refused,
		hosts:     hosts,
		every:     p.Features == nil || slices.Equal(p.Features, []string{EveryFeature}),
		features:  make(map[string]struct{}, len(p.Features)),
		times:     newTimeline(p, v.config.Warn, v.config.Grace),
		now:       v.config.Now,
		otherHost: refusedFor(ReasonHost),
	}
	for _, f := range p.Features {
		s.features[f] = struct{}{}
	}
	if p.ID != "" {
		s.revocations, s.id = v.config.Revocations, strings.ToLower(p.ID)
		s.revoked = refusedFor(ReasonRevokedID, p.ID)
	}
	if p.Instance != "" {
		s.bound, s.instance = true, v.config.Instance
		s.elsewhere = refusedFor(ReasonInstance, p.Instance)
	}
	s.notYet = refusedFor(ReasonNotYetValid, stamp(s.times.opens))
	s.expired = refusedFor(ReasonExpired, stamp(s.times.ends))
	return s
}

// State computes the state from the clock, and from what is known of revoked
// licenses and of this instance.
func (s *Validity) State() State {
	switch {
	case s.fault != nil && s.fault.Reason == ReasonMissing:
		return StateMissing
	case s.fault != nil && s.fault.Reason == ReasonRevokedID, s.revocations != nil && s.revocations.Has(s.id):
		return StateRevoked
	case s.fault != nil, s.bound && (s.instance == nil || s.instance() != s.license.Payload.Instance):
		return StateInvalid
	}
	return s.times.state(s.now().Unix())
}

// Explain computes the state from the clock and puts its reason into words.
func (s *Validity) Explain() (State, string) {
	state := s.State()
	if err := s.refusal(state); err != nil {
		return state, err.Error()
	}
	switch state {
	case StateExpiring:
		return state, "the license ends soon, on " + stamp(s.times.ends)
	case StateGrace:
		return state, "the license ended on " + stamp(s.times.ends) + " and is honored until " + stamp(s.times.closes)
	}
	return state, "the license is valid until " + stamp(s.times.ends)
}

// Err is nil in the states that let pass, and otherwise the reason, an [*Error].
func (s *Validity) Err() error { return s.refusal(s.State()) }

// refusal is why a state does not let pass; nil if it does.
func (s *Validity) refusal(state State) error {
	switch state {
	case StateMissing, StateInvalid, StateRevoked:
		switch {
		case s.fault != nil:
			return s.fault
		case state == StateRevoked:
			return s.revoked
		}
		return s.elsewhere
	case StateNotYetValid:
		return s.notYet
	case StateExpired:
		return s.expired
	}
	return nil
}

// Check decides about a request: time, then its Host, port included or not, then
// the features it needs. The error is the first that fails, an [*Error].
func (s *Validity) Check(hostport string, features ...string) error {
	_, err := s.Judge(hostport, features...)
	return err
}

// Judge is Check and State in one, for the path of a request: it reads the clock
// once.
func (s *Validity) Judge(hostport string, features ...string) (State, error) {
	state := s.State()
	if err := s.refusal(state); err != nil {
		return state, err
	}
	if !s.hosts.Match(hostport) {
		return state, s.otherHost
	}
	for _, f := range features {
		if !s.has(f) {
			return state, refusedFor(ReasonFeature, quote(f))
		}
	}
	return state, nil
}

// Grants reports whether the license is in a state that lets pass and grants all
// of the features.
func (s *Validity) Grants(features ...string) bool {
	if s.Err() != nil {
		return false
	}
	for _, f := range features {
		if !s.has(f) {
			return false
		}
	}
	return true
}

func (s *Validity) has(feature string) bool {
	if s.every {
		return true
	}
	_, ok := s.features[feature]
	return ok
}

// Genuine reports whether form, key and signature hold, whatever the time: the
// license may be not valid yet, or not any longer, revoked meanwhile or for another
// instance. A new license that is not
// genuine should not replace one that is.
func (s *Validity) Genuine() bool { return s.fault == nil }

// License is a copy of the license, or nil if there is none that can be read. An
// invalid license has one too, and then nothing in it can be trusted.
func (s *Validity) License() *License {
	if s.license == nil {
		return nil
	}
	return &License{KeyID: s.license.KeyID, Payload: s.license.Payload.Clone(), Signature: s.license.Signature}
}

// Hosts is what the license's patterns match, whatever the state; nil, which
// matches nothing, unless the license is genuine.
func (s *Validity) Hosts() *host.Matcher { return s.hosts }

// RefusedHosts has an error for each of the license's patterns that match
// nothing because they are malformed; the license is honored for the others.
func (s *Validity) RefusedHosts() []error { return slices.Clone(s.refused) }

// NextChange gives the moment at which the state will change by itself, for those
// who want to report a change that no request has noticed; false if it will not
// change any more.
func (s *Validity) NextChange() (time.Time, bool) {
	if s.fault != nil {
		return time.Time{}, false
	}
	now := s.now().Unix()
	for _, at := range []int64{s.times.opens, s.times.warns, s.times.ends, s.times.closes} {
		if now < at {
			return time.Unix(at, 0), true
		}
	}
	return time.Time{}, false
}

// Limit is what the license in force says of one of its limits.
type Limit struct {
	// Name is that of [Payload.Limits].
	Name string

	// Most is the most that the license is for.
	Most int64

	// Deny refuses one more; else it is only reported.
	Deny bool
}

// Limit gives a limit of the license, if it lets pass now and has that one. It takes
// no lock and no memory.
func (s *Validity) Limit(name string) (limit Limit, limited bool) {
	if s.license == nil || s.Err() != nil {
		return Limit{}, false
	}
	most, limited := s.license.Payload.Limits[name]
	return Limit{Name: name, Most: most, Deny: s.license.Payload.Enforcement[name] == Deny}, limited
}

// Worse says in words what a deployment would lose if a license took the place of
// the one that it has: its end, hosts, features, or room within a limit. Empty:
// nothing. Both licenses must be genuine.
func (s *Validity) Worse(next *Validity) string {
	had, gets := &s.license.Payload, &next.license.Payload
	if gets.ExpireAt < had.ExpireAt {
		return fmt.Sprintf("it ends on %s, and the one in force on %s", stamp(gets.ExpireAt), stamp(had.ExpireAt))
	}
	for _, text := range had.AllowedHosts {
		if pattern, err := host.Parse(text); err == nil && !next.hosts.Covers(pattern) {
			return "it does not cover the host " + pattern.String()
		}
	}
	if s.every && !next.every {
		return "it does not grant every feature any more"
	}
	for feature := range s.features {
		if !next.has(feature) {
			return "it does not grant the feature " + feature
		}
	}
	for name, most := range gets.Limits {
		before, limited := had.Limits[name]
		switch {
		case !limited:
			return fmt.Sprintf("it limits %s to %d", name, most)
		case most < before:
			return fmt.Sprintf("it limits %s to %d, and the one in force to %d", name, most, before)
		case gets.Enforcement[name] == Deny && had.Enforcement[name] != Deny:
			return "it refuses what is over the limit of " + name
		}
	}
	if gets.Instance != "" && gets.Instance != had.Instance {
		return "it is bound to an instance"
	}
	return ""
}

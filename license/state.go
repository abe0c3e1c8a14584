package license

import (
	"time"
)

// State is what a license is at a moment. Requests, metrics, events and status
// pages all use this one.
type State string

// The states there are.
const (
	StateMissing     State = "missing"       // there is no license
	StateInvalid     State = "invalid"       // there is one, but it cannot be trusted here
	StateRevoked     State = "revoked"       // its signer has taken it back
	StateNotYetValid State = "not_yet_valid" // its time has not come
	StateValid       State = "valid"
	StateExpiring    State = "expiring" // valid, and the end is near
	StateGrace       State = "grace"    // ended, and still honored for a while
	StateExpired     State = "expired"  // its time and its grace are over
)

// States lists all states, in the order of a license's life.
func States() []State {
	return []State{
		StateMissing, StateInvalid, StateRevoked, StateNotYetValid, StateValid, StateExpiring, StateGrace, StateExpired,
	}
}

// Passes reports whether requests are allowed to pass in this state: valid,
// expiring and grace.
func (s State) Passes() bool {
	return s == StateValid || s == StateExpiring || s == StateGrace
}

// clockSkew is how far a license's time of issue may be ahead of the clock.
const clockSkew = 5 * 60

// timeline holds the moments at which a license's state changes, in Unix
// seconds. Each begins the next state.
type timeline struct {
	opens, warns, ends, closes int64
}

// newTimeline takes the verifier's warn and grace; a license's own grace wins,
// even if it is 0.
func newTimeline(p *Payload, warn, grace time.Duration) timeline {
	t := timeline{
		opens:  p.IssuedAt - clockSkew,
		warns:  p.ExpireAt - int64(warn/time.Second),
		ends:   p.ExpireAt,
		closes: p.ExpireAt + int64(grace/time.Second),
	}
	if p.NotBefore != nil {
		t.opens = max(t.opens, *p.NotBefore)
	}
	if p.Grace != nil {
		t.closes = p.ExpireAt + *p.Grace
	}
	return t
}

func (t *timeline) state(now int64) State {
	switch {
	case now < t.opens:
		return StateNotYetValid
	case now >= t.closes:
		return StateExpired
	case now >= t.ends:
		return StateGrace
	case now >= t.warns:
		return StateExpiring
	}
	return StateValid
}

// Status describes a [Validity] to people and programs, with the names of the
// HTTP API's status body. Its lists are never nil.
type Status struct {
	// State is the state at the moment of asking.
	State State `json:"state"`

	// IsValid reports whether a request would pass: the state lets pass, and
	// the host asked about, if any, is covered.
	IsValid bool `json:"is_valid"`

	// VerifiedHost is the host asked about if it is covered, else empty.
	VerifiedHost string `json:"verified_host"`

	// VerifyError says why IsValid is false, else it is empty.
	VerifyError string `json:"verify_error"`

	// KeyID, Type, AllowedHosts and Description are those of the license, as
	// far as it can be read; of an invalid one they are mere claims.
	KeyID        string   `json:"key_id"`
	Type         Type     `json:"type"`
	AllowedHosts []string `json:"allowed_hosts"`
	Description  string   `json:"description"`

	// Features are those granted; ["*"] if every one is.
	Features []string `json:"features"`

	// IssuedAt and ExpireAt are Unix seconds; 0 if there is no license.
	IssuedAt int64 `json:"issued_at"`
	ExpireAt int64 `json:"expire_at"`

	// DaysLeft is the number of whole days until ExpireAt, 0 when it is over.
	DaysLeft int64 `json:"days_left"`
}

// Status describes the validity for one host, port included or not; with an
// empty host, for none in particular.
func (s *Validity) Status(hostport string) Status {
	if s.fault == nil { // with its clock stopped, so that all answers are of one moment
		moment, still := s.now(), *s
		still.now = func() time.Time { return moment }
		s = &still
	}
	err := s.Err()
	if err == nil && hostport != "" {
		err = s.Check(hostport)
	}
	status := Status{State: s.State(), IsValid: err == nil, AllowedHosts: []string{}, Features: []string{}}
	if err != nil {
		status.VerifyError = err.Error()
	} else {
		status.VerifiedHost = hostport
	}
	if l := s.License(); l != nil {
		status.KeyID, status.Type, status.Description = l.KeyID, l.Payload.Type, l.Payload.Description
		status.IssuedAt, status.ExpireAt = l.Payload.IssuedAt, l.Payload.ExpireAt
		status.AllowedHosts = append(status.AllowedHosts, l.Payload.AllowedHosts...)
		status.Features = append(status.Features, l.Payload.Features...)
		if l.Payload.Features == nil {
			status.Features = []string{EveryFeature}
		}
	}
	if s.fault == nil {
		status.DaysLeft = max(0, (s.times.ends-s.now().Unix())/(24*60*60))
	}
	return status
}

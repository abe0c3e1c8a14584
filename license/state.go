package license

import "time"

// State is how a license stands at a moment. It is told once, here, and used
// everywhere: for requests, metrics, events and status pages.
type State string

// The states there are.
const (
	StateMissing     State = "missing"       // there is no license
	StateInvalid     State = "invalid"       // there is one, but it is not to be believed
	StateNotYetValid State = "not_yet_valid" // its time has not come
	StateValid       State = "valid"
	StateExpiring    State = "expiring" // valid, and the end is near
	StateGrace       State = "grace"    // ended, and still honored for a while
	StateExpired     State = "expired"  // its time and its grace are over
)

// States lists all states, in the order of a license's life.
func States() []State {
	return []State{
		StateMissing, StateInvalid, StateNotYetValid, StateValid, StateExpiring, StateGrace, StateExpired,
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

// next gives the first moment after now at which the state changes.
func (t *timeline) next(now int64) (int64, bool) {
	if now < t.opens {
		return t.opens, true
	}
	for _, at := range []int64{t.warns, t.ends, t.closes} {
		if now < at {
			return at, true
		}
	}
	return 0, false
}

package introspection

import (
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/internal/storage"
)

// Outcome is what became of a question. The set is closed.
type Outcome string

// The outcomes.
const (
	Active   Outcome = "active"
	Inactive Outcome = "inactive"
	Failed   Outcome = "failed"  // there was no answer, or none that can be used
	Limited  Outcome = "limited" // it was not sent, because too many before brought no good answer
)

// Outcomes lists all of them.
func Outcomes() []Outcome { return []Outcome{Active, Inactive, Failed, Limited} }

// EventKind says what happened. The set is closed.
type EventKind string

// The kinds of events.
const (
	// Unavailable: a question brought no answer, the first one of a failure, and at
	// most once a minute; Err says why.
	Unavailable EventKind = "unavailable"
	// Recovered follows: there was an answer again.
	Recovered EventKind = "recovered"
)

// Event is one change of whether the issuer answers.
type Event struct {
	Kind EventKind
	Err  error // of Unavailable; holds neither the token nor a remote body
}

// state is what is known of the endpoint.
type state struct {
	outcomes   map[Outcome]uint64
	answeredAt time.Time
	failure    error // of the last question; nil: it was answered
	failedAt   time.Time
	warnedAt   time.Time
	warned     bool
}

// Status describes a client for operators. Times are zero for never.
type Status struct {
	// Endpoint is the address without its query; empty while the metadata are not
	// known, or name none.
	Endpoint string
	// Questions are counted by what became of them.
	Questions  map[Outcome]uint64
	AnsweredAt time.Time
	// LastError is why the last question brought no answer; empty: it did.
	LastError   string
	LastErrorAt time.Time
}

// note takes in what became of a question.
func (c *Client) note(answer *Answer, err error, took time.Duration) {
	outcome, now := Inactive, c.opts.Now()
	switch {
	case err != nil:
		outcome = Failed
	case answer.Active:
		outcome = Active
	}
	if c.opts.Count != nil {
		c.opts.Count(outcome, took)
	}
	c.mu.Lock()
	s := &c.state
	s.outcomes[outcome]++
	switch {
	case err == nil:
		s.answeredAt, s.failure, s.failedAt = now, nil, time.Time{}
		if s.warned {
			s.warned = false
			c.events.Note(Event{Kind: Recovered})
		}
	default:
		s.failure, s.failedAt = err, now
		if !s.warned && (s.warnedAt.IsZero() || now.Sub(s.warnedAt) >= warnInterval) {
			s.warned, s.warnedAt = true, now
			c.events.Note(Event{Kind: Unavailable, Err: err})
		}
	}
	c.mu.Unlock()
	c.deliver()
}

// Attach has a running configuration's observer told of events, one at a time and in
// order, until detach is called.
func (c *Client) Attach(observe func(Event)) (detach func()) {
	lease := c.leases.Attach(c.ctx, storage.NewClient(nil, 0), observe)
	c.deliver()
	return lease.Detach
}

func (c *Client) deliver() {
	c.events.Deliver(func() (observe func(Event), ok bool) {
		lease := c.leases.Newest()
		if lease == nil {
			return nil, false
		}
		return lease.Host, true
	})
}

// Status returns the client's state.
func (c *Client) Status() Status {
	address, _ := c.knownEndpoint()
	c.mu.Lock()
	defer c.mu.Unlock()
	st := Status{
		Endpoint: issuer.ShownURL(address), Questions: make(map[Outcome]uint64),
		AnsweredAt: c.state.answeredAt, LastErrorAt: c.state.failedAt,
	}
	for _, outcome := range Outcomes() {
		st.Questions[outcome] = c.state.outcomes[outcome]
	}
	if c.state.failure != nil {
		st.LastError = c.state.failure.Error()
	}
	return st
}

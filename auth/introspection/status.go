package introspection

import (
	"maps"
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
	s := &c.status
	s.Questions[outcome]++
	switch {
	case err == nil:
		s.AnsweredAt, s.LastError, s.LastErrorAt = now, "", time.Time{}
		if c.warned {
			c.warned = false
			c.outages.Note(nil)
		}
	default:
		s.LastError, s.LastErrorAt = err.Error(), now
		if !c.warned && (c.warnedAt.IsZero() || now.Sub(c.warnedAt) >= warnInterval) {
			c.warned, c.warnedAt = true, now
			c.outages.Note(err)
		}
	}
	c.mu.Unlock()
	c.outages.Deliver(c.leases.NewestHost)
}

// Attach has a running configuration's observer called when a question brings no answer:
// with the first error of an outage, at most once a minute, and with nil when there is an
// answer again; in this order, until detach is called. The error holds neither the token
// nor a remote body.
func (c *Client) Attach(observe func(error)) (detach func()) {
	lease := c.leases.Attach(c.ctx, storage.NewClient(nil, 0), observe)
	c.outages.Deliver(c.leases.NewestHost)
	return lease.Detach
}

// Status returns the client's state.
func (c *Client) Status() Status {
	address, _ := c.knownEndpoint()
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.status
	st.Endpoint, st.Questions = issuer.ShownURL(address), maps.Clone(st.Questions)
	return st
}

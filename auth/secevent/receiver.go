package secevent

import (
	"context"
	"errors"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
)

// Receiver takes one issuer's events and has revoked what they ask for. It is safe
// for concurrent use.
type Receiver struct {
	source  *Source
	revoked *revocation.Registry
	memory  *Memory
	observe func(Received)
}

// Received is what became of an event.
type Received struct {
	Kind    Kind
	Outcome Outcome
	// Subjects are whose tokens were revoked by it.
	Subjects []Subject
	// Err is why it was refused, or why storage failed. It holds nothing of the event.
	Err error
}

// Outcome is what became of an event: a closed set, see [Outcomes].
type Outcome string

// The outcomes.
const (
	Revoked  Outcome = "revoked"
	NoEffect Outcome = "no_effect" // it says nothing that matters here, or says it too late
	Repeated Outcome = "repeated"  // it had been taken before
	Refused  Outcome = "refused"
	Failed   Outcome = "failed" // storage or keys were out of reach: the sender sends it again
)

// Outcomes are all of them.
var Outcomes = []Outcome{Revoked, NoEffect, Repeated, Refused, Failed}

// NewReceiver makes the receiver of one issuer's events. Observe is called for each
// event, by the goroutine that brought it; it may be nil.
func NewReceiver(source *Source, revoked *revocation.Registry, memory *Memory, observe func(Received)) *Receiver {
	if observe == nil {
		observe = func(Received) {}
	}
	return &Receiver{source: source, revoked: revoked, memory: memory, observe: observe}
}

// Logout takes a logout token. What it revokes is durable when the error is nil. The
// error is a [*Refusal], or one of keys or storage, and then the event is worth
// sending again. So it is with the other methods.
func (r *Receiver) Logout(ctx context.Context, token string) error {
	e, err := r.source.ReadLogout(ctx, token)
	outcome, err := r.take(ctx, e, err)
	if outcome == Repeated { // Back-Channel Logout 1.0, section 2.6
		return &Refusal{Code: InvalidRequest, Description: "a logout token with this jti was taken before", Kind: BackChannelLogout, Signed: true}
	}
	return err
}

// SET takes a security event token. One that was taken before is taken again, without
// effect: its sender missed the answer.
func (r *Receiver) SET(ctx context.Context, token string) (Outcome, error) {
	e, err := r.source.ReadSET(ctx, token)
	return r.take(ctx, e, err)
}

// Global takes a request for global token revocation.
func (r *Receiver) Global(ctx context.Context, token string, body []byte) error {
	e, err := r.source.ReadGlobal(ctx, token, body)
	outcome, err := r.take(ctx, e, err)
	if outcome == Repeated {
		return &Refusal{Code: AuthenticationFailed, Description: "a token with this jti was taken before", Kind: GlobalRevocation, Signed: true}
	}
	return err
}

// take revokes first and remembers then: what happens in between, the event can be
// sent again, and changes nothing that it had not changed.
func (r *Receiver) take(ctx context.Context, e *Event, err error) (Outcome, error) {
	received := Received{Kind: Unread, Outcome: Failed, Err: err}
	if err == nil {
		received = r.carryOut(ctx, e)
	}
	if refusal := (*Refusal)(nil); errors.As(received.Err, &refusal) {
		received.Kind, received.Outcome = refusal.Kind, Refused
	}
	r.observe(received)
	if received.Outcome == Revoked { // with many others, as those that came together are written together
		_ = r.source.awaitTurn(ctx) // it is done, and may be answered
	}
	return received.Outcome, received.Err
}

func (r *Receiver) carryOut(ctx context.Context, e *Event) Received {
	now := r.source.config.Now()
	done := Received{Kind: e.Kind, Outcome: NoEffect}
	if len(e.Subjects) == 0 {
		return done
	}
	key := r.source.keyOf(e)
	if r.memory.has(key, now) {
		done.Outcome = Repeated
		return done
	}
	made, err := r.revoked.Revoke(ctx, r.source.drafts(e))
	if err == nil {
		window := r.source.config.Lifetime + 3*r.source.config.Leeway
		err = r.memory.remember(ctx, key, e.IssuedAt.Add(window+time.Second))
	}
	if input := (*revocation.InputError)(nil); errors.As(err, &input) {
		err = &Refusal{Code: InvalidRequest, Description: "the subject cannot be revoked: " + input.Error(), Kind: e.Kind, Signed: true}
	}
	if err != nil {
		done.Outcome, done.Err = Failed, err
		return done
	}
	for i, one := range made {
		if one != nil {
			done.Outcome = Revoked
			done.Subjects = append(done.Subjects, e.Subjects[i])
		}
	}
	return done
}

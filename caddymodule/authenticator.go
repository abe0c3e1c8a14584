package caddymodule

import (
	"context"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// entrance is what every request with a token passes: the token is verified,
// and a machine must be known. It holds no lock and may be used by requests that
// outlive their configuration.
type entrance struct {
	verifier     *auth.Verifier
	registration *auth.Registration
	known        account.View
	meters       *meters
	begin        func() bool // lends storage, if that was not done yet
}

func newEntrance(verifier *auth.Verifier, known account.View, required bool, meters *meters, begin func() bool) *entrance {
	return &entrance{
		meters:       meters,
		begin:        begin,
		verifier:     verifier,
		known:        known,
		registration: &auth.Registration{Accounts: known, Required: required},
	}
}

// verify tells who the caller is, with what is registered about them. A request
// that comes before this configuration has started may need what storage keeps:
// keys of an issuer that is down, or the accounts, for whose first reading it
// waits.
func (e *entrance) verify(ctx context.Context, token string) (*auth.Principal, auth.Verdict) {
	verdict := e.verifier.Verify(ctx, token)
	if isUnavailable(verdict.Refusal) && e.begin() {
		verdict = e.verifier.Verify(ctx, token)
	}
	e.meters.verified(&verdict)
	if verdict.Refusal != nil {
		return nil, verdict
	}
	caller, refusal := e.registration.Admit(verdict.Token, verdict.At)
	if refusal == auth.ErrAccountsUnavailable && e.awaitAccounts(ctx) {
		caller, refusal = e.registration.Admit(verdict.Token, time.Now())
	}
	verdict.Refusal = refusal
	return caller, verdict
}

// awaitAccounts tells whether the accounts were read by now.
func (e *entrance) awaitAccounts(ctx context.Context) bool {
	e.begin()
	return e.known.AwaitReading(ctx)
}

func isUnavailable(r *auth.Refusal) bool {
	return r != nil && r.Reason == auth.ErrKeysUnavailable.Reason
}

// lending is what a configuration lends to what outlives it: its storage, its
// log. It begins with Start, or with the first request that needs it, as Caddy
// may serve before every app has started; and it ends once.
type lending struct {
	mu     sync.Mutex
	begun  bool
	detach []func()
}

// begin lends, unless that was done before, and tells whether it did.
func (l *lending) begin(lend func() (detach []func())) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun {
		return false
	}
	l.begun = true
	l.detach = lend()
	return true
}

// end takes everything back, for good.
func (l *lending) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = true
	for _, detach := range l.detach {
		detach()
	}
	l.detach = nil
}

package caddymodule

import (
	"context"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// authenticator is what every request with a token passes: the token is verified,
// and a machine must be known. It holds no lock and may be used by requests that
// outlive their configuration.
type authenticator struct {
	issuers      issuerList
	verifier     *auth.Verifier
	registration *auth.Registration
	known        account.View
	meters       *meters
	attach       func() bool // gives storage, if that was not done yet
}

func newAuthenticator(issuers issuerList, verifier *auth.Verifier, accounts *accounts, attach func() bool) *authenticator {
	return &authenticator{
		issuers:      issuers,
		verifier:     verifier,
		registration: &auth.Registration{Accounts: accounts.view, Required: accounts.config.required()},
		known:        accounts.view,
		meters:       newMeters(issuers.names()),
		attach:       attach,
	}
}

// verify tells who the caller is, with what is registered about them. A request
// that comes before this configuration has started may need what storage keeps:
// keys of an issuer that is down, or the accounts, for whose first reading it
// waits.
func (a *authenticator) verify(ctx context.Context, token string) (*auth.Principal, auth.Verdict) {
	verdict := a.verifier.Verify(ctx, token)
	if verdict.Refusal != nil && verdict.Refusal.Reason == auth.ErrKeysUnavailable.Reason && a.attach() {
		verdict = a.verifier.Verify(ctx, token)
	}
	a.meters.verified(&verdict)
	if verdict.Refusal != nil {
		return nil, verdict
	}
	caller, refusal := a.registration.Admit(verdict.Token, verdict.At)
	if refusal == auth.ErrAccountsUnavailable {
		a.attach()
		if a.known.AwaitReading(ctx) {
			caller, refusal = a.registration.Admit(verdict.Token, time.Now())
		}
	}
	verdict.Refusal = refusal
	return caller, verdict
}

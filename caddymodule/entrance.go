package caddymodule

import (
	"context"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// entrance is what every request with a token passes: the token is verified,
// and a machine must be known. It holds no lock and may be used by requests that
// outlive their configuration.
type entrance struct {
	verifier     *auth.Verifier
	registration *auth.Registration
	meters       *meters
	begin        func() bool // lends storage, if that was not done yet
}

func newEntrance(verifier *auth.Verifier, known auth.Accounts, required bool, meters *meters, begin func() bool) *entrance {
	return &entrance{
		meters:       meters,
		begin:        begin,
		verifier:     verifier,
		registration: &auth.Registration{Accounts: known, Required: required},
	}
}

// verify tells who the caller is, with what is registered about them. A request
// that comes before this configuration has started may need what storage keeps:
// keys of an issuer that is down.
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
	verdict.Refusal = refusal
	return caller, verdict
}

func isUnavailable(r *auth.Refusal) bool {
	return r != nil && r.Reason == auth.ErrKeysUnavailable.Reason
}

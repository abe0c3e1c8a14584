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
}

func newEntrance(verifier *auth.Verifier, known auth.Accounts, required bool, meters *meters) *entrance {
	return &entrance{
		meters:       meters,
		verifier:     verifier,
		registration: &auth.Registration{Accounts: known, Required: required, Attach: attachResolver},
	}
}

// verify tells who the caller is, with what is registered about them.
func (e *entrance) verify(ctx context.Context, token string) auth.Verdict {
	verdict := e.verifier.Verify(ctx, token)
	e.meters.verified(&verdict)
	if verdict.Refusal == nil {
		verdict.Principal, verdict.Refusal = e.registration.Admit(verdict.Principal)
	}
	return verdict
}

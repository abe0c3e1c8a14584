package caddymodule

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuers"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
)

// authenticator is what every request with a token passes: the token is verified, who
// sends one that is bound must hold its key, and a machine must be known. It holds no lock and may be used by requests that
// outlive their configuration.
type authenticator struct {
	issuers      issuers.List
	verifier     *auth.Verifier
	senders      *senders
	registration *auth.Registration
	known        *account.Registry
	named        namedRules
	revoked      *revocation.Registry
	meters       *meters
	licensing    *licensing.Licensing // nil: no license is asked for
	attach       func() bool          // gives storage, if that was not done yet
}

func newAuthenticator(list issuers.List, verifier *auth.Verifier, senders *senders, accounts *accounts, revocations *revocations, attach func() bool) *authenticator {
	requiredOf := make(map[string]bool)
	for _, i := range list {
		if i.Registration != "" {
			requiredOf[i.Policy().Name] = i.Registration != issuers.RegistrationOptional
		}
	}
	return &authenticator{
		issuers:  list,
		verifier: verifier,
		senders:  senders,
		registration: &auth.Registration{
			Accounts: accounts.registry, Revocations: revocations.registry,
			Required:   accounts.config == nil || accounts.config.Registration != issuers.RegistrationOptional,
			RequiredOf: requiredOf,
		},
		known:   accounts.registry,
		revoked: revocations.registry,
		meters:  newMeters(list.Names()),
		attach:  attach,
	}
}

// checkNames refuses names that no configured issuer has.
func (a *authenticator) checkNames(names []string) error {
	known := a.issuers.Names()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("issuer: found %q, expected one of the configured names: %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// verify tells who the caller is, with what is registered about them. A request
// that comes before this configuration has started may need what storage keeps:
// keys of an issuer that is down, or the accounts and the revocations, for whose first
// reading it waits.
func (a *authenticator) verify(r *http.Request, token string, from sender) (*auth.Principal, auth.Verdict) {
	ctx := r.Context()
	verdict := a.verifier.Verify(ctx, token)
	// What storage keeps of an issuer may help: its keys, or its metadata, which tell
	// where it is asked.
	refused := verdict.Refusal
	if refused != nil && (refused.Reason == auth.ErrKeysUnavailable.Reason || refused.Reason == auth.ErrNoAnswer.Reason) && a.attach() {
		verdict = a.verifier.Verify(ctx, token)
	}
	if from.isChecked(&verdict) {
		verdict = from.check(r, token, verdict, a.senders)
	}
	a.meters.verified(&verdict)
	if verdict.Refusal != nil {
		return nil, verdict
	}
	caller, refusal := a.registration.Admit(verdict.Token, verdict.At)
	if refusal == auth.ErrRevocationsUnavailable {
		a.attach()
		if a.revoked.AwaitReading(ctx) {
			caller, refusal = a.registration.Admit(verdict.Token, time.Now())
		}
	}
	if refusal == auth.ErrAccountsUnavailable {
		a.attach()
		if a.known.AwaitReading(ctx) {
			caller, refusal = a.registration.Admit(verdict.Token, time.Now())
		}
	}
	verdict.Refusal = refusal
	return caller, verdict
}

// fromHeader tells whose token the Authorization header carries, if check lets the
// caller in: a bearer's token, bound to nothing. It logs and counts what becomes of the
// request.
func (a *authenticator) fromHeader(r *http.Request, logger *zap.Logger, rule string, check func(*auth.Principal) *auth.Refusal) (*auth.Principal, *auth.Refusal) {
	var caller *auth.Principal
	var verdict auth.Verdict
	token, refusal := auth.ParseAuthorization(r.Header["Authorization"])
	if verdict.Refusal = refusal; refusal == nil {
		caller, verdict = a.verify(r, token, sender{})
	}
	if verdict.Refusal == nil {
		verdict.Refusal = check(caller)
	}
	if verdict.Refusal != nil {
		logRefusal(logger, r, rule, verdict)
	}
	a.meters.outcome(r, verdict.Issuer, caller, verdict.Refusal)
	return caller, verdict.Refusal
}

package caddymodule

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// BearerProvider lets bearer tokens sit beside other providers in Caddy's own
// handler `authentication`. That handler answers every refusal with 401;
// use the handler bearer_auth for the rest of what a protected site needs.
type BearerProvider struct {
	Access

	logger    *zap.Logger
	challenge auth.Challenge
}

// CaddyModule tells Caddy about the provider.
func (BearerProvider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.bearer",
		New: func() caddy.Module { return new(BearerProvider) },
	}
}

// Provision compiles the rules.
func (p *BearerProvider) Provision(ctx caddy.Context) error {
	p.logger = ctx.Logger()
	if err := p.Access.provision(ctx); err != nil {
		return fmt.Errorf("bearer: %w", err)
	}
	p.challenge = auth.Challenge{Realm: p.realm()}
	return nil
}

// Authenticate tells who is calling. A missing or bad token is no error: it is
// answered with a challenge.
func (p *BearerProvider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	caller, refusal := p.verify(r)
	if refusal == nil {
		refusal = setPrincipal(r, caller)
	}
	if refusal == nil {
		return caddyauth.User{ID: caller.Subject()}, true, nil
	}
	if challenge := p.challenge.Header(refusal); challenge != "" {
		w.Header().Add("WWW-Authenticate", challenge)
	}
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", retryAfter(refusal.RetryAfter))
	}
	return caddyauth.User{}, false, nil
}

func (p *BearerProvider) verify(r *http.Request) (*auth.Principal, *auth.Refusal) {
	token, refusal := auth.ParseAuthorization(r.Header["Authorization"])
	if refusal != nil {
		logRefusal(p.logger, auth.Verdict{Refusal: refusal})
		p.authenticator.meters.outcome(r, "", nil, refusal)
		return nil, refusal
	}
	caller, verdict := p.authenticator.verify(r.Context(), token)
	if verdict.Refusal == nil {
		verdict.Refusal = p.predicate.Check(caller) // before others know of the caller: another provider may let in somebody else
	}
	if verdict.Refusal != nil {
		logRefusal(p.logger, verdict)
	}
	p.authenticator.meters.outcome(r, verdict.Issuer, caller, verdict.Refusal)
	return caller, verdict.Refusal
}

// Interface guards
var (
	_ caddy.Provisioner       = (*BearerProvider)(nil)
	_ caddyauth.Authenticator = (*BearerProvider)(nil)
)

package caddymodule

import (
	"net/http"

	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// provisionAPI makes the API of this configuration.
func (a *App) provisionAPI() error {
	names := a.issuerNames()
	issuer, err := a.API.issuer(names)
	if err != nil {
		return err
	}
	audit := a.logger.Named("audit")
	services := api.Services{
		AdminGroup:   a.adminGroup(issuer),
		SigningGroup: a.adminGroup(issuer),
		Issuers:      a.knownIssuers(),
		Accounts:     a.accounts.view,
		Operation:    a.operation(),
		CountSSO:     countSSOURL,
		Audit: func(e api.AuditEntry) {
			audit.Info(e.Action, zap.String("actor", e.Actor), zap.String("target", e.Target), zap.String("outcome", e.Outcome))
		},
		LogError: func(p *api.Problem) {
			a.logger.Error("the API failed", zap.Int("status", p.Status), zap.String("message", p.Message), zap.NamedError("cause", p.Cause))
		},
	}
	if a.SSO != nil {
		services.SSO, services.SSOGroup = a.SSO.service(), a.SSO.group(services.AdminGroup)
	}
	a.lendLicense(&services)
	if issuer != "" {
		services.Authenticate, err = a.entrance.authenticator(issuer, a.logger)
	}
	a.api = api.New(services)
	return err
}

// adminGroup is who may administer with a token of the issuer of that name. The
// default counts only as an operator gave it, where others choose what the issuer's
// tokens call groups.
func (a *App) adminGroup(issuer string) api.Group {
	group := api.Group{Name: a.API.adminGroup()}
	if a.API != nil && a.API.AdminGroup != "" {
		return group
	}
	for _, i := range a.Issuers {
		group.Registered = group.Registered || i.policy.Name == issuer && auth.PresetGroupsAreForeign(i.Preset)
	}
	return group
}

// authenticator tells whose token of one issuer a request carries, and whether
// the caller is in any of the groups that are asked for.
func (e *entrance) authenticator(issuer string, logger *zap.Logger) (func(*http.Request, ...api.Group) (*auth.Principal, *auth.Refusal), error) {
	ours, err := auth.Rules{Issuers: []string{issuer}}.Compile()
	if err != nil {
		return nil, err
	}
	return func(r *http.Request, groups ...api.Group) (*auth.Principal, *auth.Refusal) {
		token, refusal := auth.ParseAuthorization(r.Header["Authorization"])
		if refusal != nil {
			logRefusal(logger, auth.Verdict{Refusal: refusal})
			e.meters.outcome(r, "", nil, refusal)
			return nil, refusal
		}
		caller, verdict := e.verify(r.Context(), token)
		refusal = verdict.Refusal
		if refusal == nil {
			refusal = ours.Check(caller)
		}
		if refusal == nil {
			refusal = api.CheckGroups(caller, groups)
		}
		if refusal != nil {
			verdict.Refusal = refusal
			logRefusal(logger, verdict)
		}
		e.meters.outcome(r, verdict.Issuer, caller, refusal)
		return caller, refusal
	}, nil
}

package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// APIConfig says who may use Gatehouse's HTTP API.
type APIConfig struct {
	// The name of the issuer whose tokens may administer. Default: the only
	// one; with several it must be said before any route that needs a token can
	// be used.
	Issuer string `json:"issuer,omitempty"`

	// The group whose members may administer. Default: admin.
	AdminGroup string `json:"admin_group,omitempty"`

	// Lets callers of Caddy's admin endpoint administer without a token, on
	// connections that reach it on a loopback address or a unix socket. What a
	// proxy passes on and what a page of another site sends needs a token all
	// the same. The audit log names the callers admin-endpoint. Default: false.
	TrustAdminEndpoint bool `json:"trust_admin_endpoint,omitempty"`
}

const defaultAdminGroup = "admin"

// issuer is whose tokens may administer; "" where it cannot be told.
func (c *APIConfig) issuer(names []string) (string, error) {
	if c == nil || c.Issuer == "" {
		if len(names) == 1 {
			return names[0], nil
		}
		return "", nil
	}
	if !slices.Contains(names, c.Issuer) {
		return "", fmt.Errorf("api: issuer: found %q, expected one of the configured names: %s", c.Issuer, strings.Join(names, ", "))
	}
	return c.Issuer, nil
}

func (c *APIConfig) adminGroup() string {
	if c == nil || c.AdminGroup == "" {
		return defaultAdminGroup
	}
	return c.AdminGroup
}

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
		services.SSO, services.SSOGroup = a.SSO.taken.Service, a.SSO.group(services.AdminGroup)
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

// operation gives the API what operators ask about.
func (a *App) operation() api.Operation {
	entrance := a.entrance
	o := api.Operation{
		Version: version(),
		Explain: func(ctx context.Context, token string) auth.Explanation {
			return entrance.verifier.Explain(ctx, token, entrance.registration)
		},
		Registry: a.accounts.view,
		Refusals: recentRefusals.sums,
	}
	for _, name := range a.issuerNames() {
		o.Issuers = append(o.Issuers, api.IssuerKeys{
			Name: name, Keys: a.gate.engines[name], KindsTold: a.tellsKinds(name),
			UnclearCallers: func() uint64 { return entrance.verifier.UnclearCallers(name) },
		})
	}
	return o
}

// tellsKinds tells whether the configuration says how people and machines of an
// issuer are told.
func (a *App) tellsKinds(name string) bool {
	return slices.ContainsFunc(a.Issuers, func(i *Issuer) bool { return i.policy.Name == name && i.policy.TellsKinds() })
}

const modulePath = "github.com/gatehouse-proxy/gatehouse"

// version is the version of this module in the running binary: of a local tree
// it is "(devel)", or what Go makes of its commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if info.Main.Path == modulePath {
		return info.Main.Version
	}
	for _, module := range info.Deps {
		if module.Path == modulePath {
			return module.Version
		}
	}
	return "unknown"
}

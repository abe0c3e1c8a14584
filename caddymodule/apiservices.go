package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/events"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuers"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/licensing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/securityevents"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/signing"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/sso"
	"github.com/gatehouse-proxy/gatehouse/license/active"
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

// issuer is whose tokens may administer; "" where nothing says it.
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

// apiParts are the parts of the app that its API speaks of.
type apiParts struct {
	config        *APIConfig
	issuers       issuers.List
	engines       map[string]*issuer.Engine // by the issuer's name
	accounts      *account.Registry
	revocations   *revocation.Registry
	authenticator *authenticator
	licensing     *licensing.Licensing
	signing       *signing.Config
	ssoConfig     *sso.Config
	sso           *sso.SSO
	events        *events.Emitter
	receivers     *securityevents.Receivers
	storage       certmagic.Storage
	logger        *zap.Logger
}

// newAPI makes the API of a configuration.
func newAPI(p apiParts) (*api.API, error) {
	issuer, err := p.config.issuer(p.issuers.Names())
	if err != nil {
		return nil, err
	}
	admins := p.admins(issuer)
	services := api.Services{
		AdminGroup:  admins,
		Issuers:     p.issuers.Known(),
		Accounts:    p.accounts,
		Revocations: p.revocations, Lifetime: p.issuers.Lifetime,
		Operation: p.operation(),
		CountSSO:  sso.CountURL,
		Audit:     auditing(p.logger),
		LogError: func(problem *api.Problem) {
			p.logger.Error("the API failed", zap.Int("status", problem.Status), zap.String("message", problem.Message), zap.NamedError("cause", problem.Cause))
		},
		SigningGroup: admins,
		Sign:         p.signing.Sign,
		Signed:       active.NewRecord(p.storage, active.Options{}),
		OnSigned: func(actor string, e active.Entry) {
			signing.Count(e.License.Payload.Type)
			p.events.Emit(events.LicenseSigned, func() map[string]any {
				p := &e.License.Payload
				return map[string]any{
					"actor": actor, "id": e.ID, "key_id": e.KeyID, "type": string(p.Type),
					"allowed_hosts": p.AllowedHosts, "description": p.Description, "expire_at": p.ExpireAt,
				}
			})
		},
	}
	if p.signing != nil && p.signing.Group != "" {
		services.SigningGroup = api.Group{Name: p.signing.Group}
	}
	if p.licensing != nil {
		services.License = p.licensing
		services.Room = p.licensing.Limits.Room
		services.Usage = p.licensing.Limits.Report
		services.Operation.License = p.licensing.Status
	}
	if p.sso != nil {
		services.SSO, services.SSOGroup = p.sso.Service, admins
		if p.ssoConfig.Group != "" {
			services.SSOGroup = api.Group{Name: p.ssoConfig.Group}
		}
		if activations := p.sso.Activations; activations != nil {
			services.Activate, services.Seats = activations.Answer, activations
		}
	}
	p.warnOfBound(issuer)
	if issuer != "" {
		services.Authenticate, err = p.authenticate(issuer)
	}
	return api.New(services), err
}

// auditing writes lines of the audit log.
func auditing(logger *zap.Logger) func(api.AuditEntry) {
	audit := logger.Named("audit")
	return func(e api.AuditEntry) {
		lastChanges.add(e)
		fields := []zap.Field{zap.String("actor", e.Actor), zap.String("target", e.Target), zap.String("outcome", e.Outcome)}
		if e.Status != "" {
			fields = append(fields, zap.String("status", string(e.Status)))
		}
		audit.Info(e.Action, fields...)
	}
}

// warnOfBound warns where the configuration speaks of the API, and nobody can have a
// token for it: it takes those of bearers.
func (p *apiParts) warnOfBound(issuer string) {
	if p.config == nil || p.config.TrustAdminEndpoint {
		return
	}
	for _, i := range p.issuers {
		if i.Policy().Name == issuer && i.Policy().Bound != auth.BoundOff && i.Policy().Bound != auth.BoundOptional {
			p.logger.Warn("the API takes plain bearer tokens only, and its issuer lets in none: nobody can administer with a token",
				zap.String("issuer", issuer), zap.String("bound", string(i.Policy().Bound)))
		}
	}
}

// admins are who may administer with a token of the issuer of that name. The
// default counts only as an operator gave it, where others choose what the issuer's
// tokens call groups.
func (p *apiParts) admins(issuer string) api.Group {
	if p.config != nil && p.config.AdminGroup != "" {
		return api.Group{Name: p.config.AdminGroup}
	}
	group := api.Group{Name: defaultAdminGroup}
	for _, i := range p.issuers {
		group.Registered = group.Registered || i.Policy().Name == issuer && i.Policy().GroupsAreForeign()
	}
	return group
}

// operation is what operators ask about.
func (p *apiParts) operation() api.Operation {
	a := p.authenticator
	o := api.Operation{
		Version: version(), Storage: pool.StorageName(p.storage),
		Explain: func(ctx context.Context, token string, sender *bound.Request) auth.Explanation {
			return a.verifier.Explain(ctx, token, a.registration, a.senders.Checker, sender)
		},
		Rules: a.named.of, Proofs: a.senders.state, Hour: lastHour.hour, Changes: lastChanges.list,
	}
	if p.sso != nil && p.sso.Activations != nil {
		o.Seats = p.sso.Activations.State
	}
	o.Node, _ = os.Hostname() // empty: not known
	for _, i := range p.issuers {
		name := i.Policy().Name
		o.Issuers = append(o.Issuers, api.IssuerKeys{
			Name: name, Keys: p.engines[name], KindsTold: i.Policy().TellsKinds(),
			UnclearCallers: func() uint64 { return a.verifier.UnclearCallers(name) },
			Introspection:  i.Questions(a.verifier),
			Events:         p.receivers.Service(name),
		})
	}
	return o
}

// lastChanges are the last lines of the audit log of all configurations.
var lastChanges changes

const keptChanges = 100

type changes struct {
	mu   sync.Mutex
	kept []api.AuditEntry // the newest last
}

func (c *changes) add(e api.AuditEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) == keptChanges {
		c.kept = append(c.kept[:0], c.kept[1:]...)
	}
	e.At = time.Now().UTC().Truncate(time.Second)
	c.kept = append(c.kept, e)
}

func (c *changes) list() []api.AuditEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	listed := slices.Clone(c.kept)
	slices.Reverse(listed)
	return listed
}

// authenticate tells whose token of one issuer a request carries, and whether the
// caller is in any of the groups that are asked for.
func (p *apiParts) authenticate(issuer string) (func(*http.Request, ...api.Group) (*auth.Principal, *auth.Refusal), error) {
	ours, err := auth.Rules{Issuers: []string{issuer}}.Compile()
	return func(r *http.Request, groups ...api.Group) (*auth.Principal, *auth.Refusal) {
		return p.authenticator.fromHeader(r, p.logger, "", func(caller *auth.Principal) *auth.Refusal {
			if refusal := ours.Check(caller); refusal != nil {
				return refusal
			}
			return api.CheckGroups(caller, groups)
		})
	}, err
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

package caddymodule

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
)

// Access says who is let in where: the part that the handler bearer_auth and
// the provider bearer have in common.
type Access struct {
	// The names of the issuers let in here. Default: all configured ones.
	Issuers []string `json:"issuers,omitempty"`

	// The token must be meant for one of these audiences, in addition to what
	// its issuer's configuration asks. Default: nothing more.
	Audiences []string `json:"audiences,omitempty"`

	// Scopes that the token must all have. Default: none.
	Scopes []string `json:"scopes,omitempty"`

	// Lines of scopes: the token must have any scope of each line. Default: none.
	AnyScopes [][]string `json:"any_scopes,omitempty"`

	// Lines of groups: the caller must be in any group of each line. A `*` stands
	// for what is left out, as in the values of claims. Default: none.
	Groups [][]string `json:"groups,omitempty"`

	// Lines of claims: each must have any of its values. Default: none.
	Claims []Claim `json:"claims,omitempty"`

	// `only` lets in service accounts only, `deny` none. Default: both kinds of
	// callers.
	ServiceAccount string `json:"service_account,omitempty"`

	// The values of the claim `acr`, which tells how somebody logged in, of which
	// any will do. Others are asked to log in again (RFC 9470). Default: none.
	ACR []string `json:"acr,omitempty"`

	// How long ago the caller may have logged in, by the claim `auth_time`, when a
	// request begins. Others are asked to log in again (RFC 9470). Default: any time.
	AuthenticatedWithin caddy.Duration `json:"authenticated_within,omitempty"`

	// What these rules are called in logs, and in the placeholder
	// `{http.auth.rule}`. Default: nothing.
	Name string `json:"name,omitempty"`

	// Names the protected space in challenges. Default: gatehouse.
	Realm string `json:"realm,omitempty"`

	authenticator *authenticator // outlives the app for requests that end late
	predicate     *auth.Predicate
}

// Claim asks for a claim with one of some values.
type Claim struct {
	// The claim: a dotted path into nested claims. Numbers and booleans are
	// compared as they are written, of an array any element will do.
	Path string `json:"path,omitempty"`

	// The values of which any will do. A `*` stands for at least one character: at
	// the end for whatever follows, and between two of the separators `/ : . | @ #`
	// for what is between them. `\*` is the character itself.
	Values []string `json:"values,omitempty"`
}

const defaultRealm = "gatehouse"

func (a *Access) provision(ctx caddy.Context) (err error) {
	if a.authenticator, err = authenticatorOf(ctx); err != nil {
		return err
	}
	if err := a.authenticator.checkNames(a.Issuers); err != nil {
		return err
	}
	var r parse.Resolver
	rules := a.rules()
	rules.Audiences = r.List("audience", a.Audiences)
	if r.Err != nil {
		return r.Err
	}
	a.warnOfAudiences(ctx.Logger(), rules.Audiences)
	if a.predicate, err = rules.Compile(); err != nil || a.Name == "" {
		return err
	}
	return a.authenticator.named.add(a.Name, rules, a.predicate)
}

// accepted are the names of the issuers whose tokens are let in here.
func (a *Access) accepted() []string {
	if len(a.Issuers) > 0 {
		return a.Issuers
	}
	return a.authenticator.issuers.Names()
}

// warnOfAudiences warns where no audience of the route is one of its issuers', so that a
// token has to name two. Most tokens name one, and a slip looks the same.
func (a *Access) warnOfAudiences(logger *zap.Logger, audiences []string) {
	accepted := a.accepted()
	var listed []string
	for _, i := range a.authenticator.issuers {
		switch policy := i.Policy(); {
		case !slices.Contains(accepted, policy.Name):
		case len(policy.Audiences) == 0:
			return // whatever there is
		default:
			listed = append(listed, policy.Audiences...)
		}
	}
	similar := ""
	for _, one := range audiences {
		if slices.Contains(listed, one) {
			return
		}
		at := slices.IndexFunc(listed, func(other string) bool { return spelledAlike(one, other) })
		if at >= 0 && similar == "" {
			similar = listed[at]
		}
	}
	if len(audiences) == 0 {
		return
	}
	fields := []zap.Field{zap.String("rule", a.Name), zap.Strings("audiences", audiences), zap.Strings("issuer_audiences", listed)}
	if similar != "" {
		logger.Warn("an audience of this route differs from one of its issuers only by a slash, the scheme or capitals, so that no token with one audience can pass: "+
			"write it as tokens spell it, in both places", append(fields, zap.String("similar", similar))...)
		return
	}
	logger.Warn("no audience of this route is one of its issuers', so that no token with one audience can pass: "+
		"list it at the issuer, too, and say on the other routes which one counts there", fields...)
}

// spelledAlike tells whether two audiences differ by what is easily overlooked.
func spelledAlike(a, b string) bool {
	plain := func(s string) string {
		if _, rest, found := strings.Cut(s, "://"); found {
			s = rest
		}
		return strings.TrimRight(s, "/")
	}
	return strings.EqualFold(plain(a), plain(b))
}

// namedRules are the rules of a configuration that have a name, so that it can be asked
// what they make of a token.
type namedRules struct {
	mu  sync.Mutex
	all map[string]rulesOfName
}

type rulesOfName struct {
	rules     auth.Rules
	predicate *auth.Predicate
}

// add refuses a name that other rules have: nobody could tell which are meant.
func (n *namedRules) add(name string, rules auth.Rules, predicate *auth.Predicate) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known, ok := n.all[name]; ok && !reflect.DeepEqual(known.rules, rules) {
		return fmt.Errorf("name: two that ask for different things are both called %s: give one of them another name", name)
	}
	if n.all == nil {
		n.all = make(map[string]rulesOfName)
	}
	n.all[name] = rulesOfName{rules, predicate}
	return nil
}

// of gives the rules of a name, nil if there are none, and all names.
func (n *namedRules) of(name string) (predicate *auth.Predicate, names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.all[name].predicate, slices.Sorted(maps.Keys(n.all))
}

// rules are what is asked of callers, before placeholders are resolved.
func (a *Access) rules() auth.Rules {
	rules := auth.Rules{
		Issuers:             a.Issuers,
		Audiences:           a.Audiences,
		Scopes:              a.Scopes,
		AnyScopes:           a.AnyScopes,
		Groups:              a.Groups,
		ServiceAccount:      a.ServiceAccount,
		ACR:                 a.ACR,
		AuthenticatedWithin: time.Duration(a.AuthenticatedWithin),
	}
	for _, claim := range a.Claims {
		rules.Claims = append(rules.Claims, auth.ClaimRule{Path: claim.Path, Values: claim.Values})
	}
	return rules
}

func (a *Access) check() error {
	if !ruleName.MatchString(a.Name) {
		return fmt.Errorf("name: found %q, expected letters, digits and . _ - /", a.Name)
	}
	_, err := a.rules().Compile()
	return err
}

// ruleName is what rules may be called: what no log and no header changes.
var ruleName = regexp.MustCompile(`^[A-Za-z0-9._/-]*$`)

// rulePlaceholder is what the rules are called that a request met last.
const rulePlaceholder = "http.auth.rule"

// setName tells the rest of the chain, and the access log, what these rules are
// called.
func (a *Access) setName(r *http.Request) {
	if a.Name != "" {
		replacerOf(r).Set(rulePlaceholder, a.Name)
	}
}

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
	p.challenge = auth.Challenge{Realm: cmp.Or(p.Realm, defaultRealm)}
	return checkPlacement(ctx)
}

// Validate checks the rules.
func (p *BearerProvider) Validate() error {
	if err := p.check(); err != nil {
		return fmt.Errorf("bearer: %w", err)
	}
	return nil
}

// Authenticate tells who is calling. A missing or bad token is no error: it is
// answered with a challenge.
func (p *BearerProvider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	p.setName(r)
	// The rules come before others know of the caller: another provider may let in
	// somebody else.
	caller, refusal := p.authenticator.fromHeader(r, p.logger, p.Name, func(caller *auth.Principal) *auth.Refusal {
		if refusal := p.predicate.Check(caller); refusal != nil {
			return refusal
		}
		return p.authenticator.licensing.Admit(r.Context(), caller, time.Now())
	})
	if refusal == nil {
		refusal = setPrincipal(r, caller)
	}
	if refusal == nil {
		return caddyauth.User{ID: caller.Subject()}, true, nil
	}
	if challenge := p.challenge.Header(auth.Bearer, refusal); challenge != "" {
		w.Header().Add("WWW-Authenticate", challenge)
	}
	if refusal.RetryAfter > 0 {
		w.Header().Set("Retry-After", retryAfter(refusal.RetryAfter))
	}
	return caddyauth.User{}, false, nil
}

// Interface guards
var (
	_ caddy.Provisioner       = (*BearerProvider)(nil)
	_ caddy.Validator         = (*BearerProvider)(nil)
	_ caddyauth.Authenticator = (*BearerProvider)(nil)
)

package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/respond"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/stream"
)

// BearerAuth lets in only requests that carry a valid bearer token (RFC 6750) of
// an issuer configured in the app gatehouse, from a caller whom the rules below
// let in. Others are refused with a challenge that says why.
//
// Other handlers find who was let in by the placeholders
// `{http.auth.user.id}` (the subject), and under the same prefix `kind`,
// `issuer`, `client_id`, `name`, `email`, `groups`, `scopes`, `token_id`,
// `expires_at`, `bound`, `key` and `claims.<path>`; and to the upstream by the headers
// below.
//
// Streams are closed when the token expires. What a stream is, the response says:
// 101, success of a CONNECT, and the content types of event streams, gRPC,
// grpc-web, Connect's streaming, JSON lines and multipart/x-mixed-replace.
type BearerAuth struct {
	Access
	BoundTokens

	// Lets requests without a token pass, as anonymous. A bad token is refused
	// all the same. Default: false.
	Optional bool `json:"optional,omitempty"`

	// Headers set for the upstream: a name and a value with placeholders each.
	// The client's own, in any spelling, are always removed. An empty value is
	// not set.
	Headers []Header `json:"headers,omitempty"`

	// Does not hand the token on, nor its proof. Default: the upstream gets it as
	// `Authorization: Bearer <token>`, or as it came with the scheme DPoP.
	StripToken bool `json:"strip_token,omitempty"`

	// Other places where a token may be, beside the Authorization header. It is
	// removed from there before the upstream. Default: the header only.
	TokenFrom []TokenSource `json:"token_from,omitempty"`

	// Leaves an Authorization header of another scheme, such as Basic, to the
	// upstream where the token came from another place. The upstream then does not
	// get the token. Default: the token takes its place.
	KeepAuthorization bool `json:"keep_authorization,omitempty"`

	// Origins such as `https://app.example.com` of other sites whose pages may
	// use a token from a cookie for more than to read. Default: none.
	CookieOrigins []string `json:"cookie_origins,omitempty"`

	// Tokens that begin with any of these go to the upstream unchecked, as
	// anonymous: the upstream is their judge. Only those in the Authorization
	// header, and none with a dot in it, as every JWT has. Default: none.
	PassOther []string `json:"pass_other,omitempty"`

	// `pass` lets CORS preflight requests through without a token: OPTIONS
	// with Origin and Access-Control-Request-Method, without a body,
	// credentials, a content type, Upgrade or a method override. Headers that
	// are no part of a preflight are removed. Default: they need a token like
	// all else.
	Preflight string `json:"preflight,omitempty"`

	// Protocols besides `websocket` to which a connection may be switched
	// although there are headers above: values of the header Upgrade, of
	// `:protocol` in an extended CONNECT, or `connect` for a plain one. What is
	// sent after the switch is not looked at any more. Default: none.
	Upgrade []string `json:"upgrade,omitempty"`

	// The identifier (an https URL) of the resource protected here. Its
	// metadata (RFC 9728) are published at their well-known address by the
	// handler gatehouse_resource_metadata, and challenges point at them.
	// Default: none.
	ProtectedResource string `json:"protected_resource,omitempty"`

	// `json` answers refusals with `{"message": "…"}`. `none` leaves the body
	// to Caddy's `handle_errors`. Default: none.
	ErrorBody string `json:"error_body,omitempty"`

	// `off` refuses gRPC calls as all others, with an HTTP status. For sites
	// that answer the authorization requests of another proxy, to which the
	// status 200 of a gRPC refusal would mean yes. Default: on.
	GRPC string `json:"grpc,omitempty"`

	// What is cut when the token expires, or its service account is switched
	// off: `streams`, or `all` for every response that is still being written.
	// Default: streams.
	Cut string `json:"cut,omitempty"`

	logger   *zap.Logger
	identity *identityHeaders
	refuser  *refuser
}

// The words that options take.
var (
	preflights = parse.Choice{preflightPass}
	cuts       = parse.Choice{"streams", cutAll}
)

const (
	preflightPass = "pass"
	cutAll        = "all"
)

// CaddyModule tells Caddy about the handler.
func (BearerAuth) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bearer_auth", New: func() caddy.Module { return new(BearerAuth) }}
}

// Provision compiles the rules.
func (b *BearerAuth) Provision(ctx caddy.Context) error {
	b.logger = ctx.Logger()
	err := b.Access.provision(ctx)
	if err != nil {
		return fmt.Errorf("bearer_auth: %w", err)
	}
	if err = b.BoundTokens.provision(&b.Access); err == nil {
		err = b.checkServers(ctx, &b.Access)
	}
	if err != nil {
		return fmt.Errorf("bearer_auth: %w", err)
	}
	if b.identity, err = newIdentityHeaders(b.Headers, b.logger); err != nil {
		return fmt.Errorf("bearer_auth: header: %w", err)
	}
	b.warnOfNamesakes()
	challenge := auth.Challenge{
		Realm: cmp.Or(b.Realm, defaultRealm), Scope: strings.Join(b.rules().AskedScopes(), " "), Algorithms: b.authenticator.senders.Algorithms(),
	}
	if b.ProtectedResource != "" {
		challenge.ResourceMetadata = auth.Resource{Identifier: b.ProtectedResource}.MetadataURL()
	}
	b.refuser = newRefuser(challenge, b.Name, b.schemes, b.authenticator, b.ErrorBody == respond.JSONBody, b.GRPC != parse.Off, b.logger)
	return checkPlacement(ctx)
}

// warnOfNamesakes warns where the upstream knows callers of several issuers by a name
// alone: each issuer writes whatever it likes there, also what another one calls somebody.
func (b *BearerAuth) warnOfNamesakes() {
	accepted := b.accepted()
	handsOn := func(members ...string) bool {
		return slices.ContainsFunc(b.Headers, func(h Header) bool {
			return slices.ContainsFunc(members, func(member string) bool { return strings.Contains(h.Value, "{http.auth.user."+member+"}") })
		})
	}
	if len(accepted) < 2 || !handsOn("id", "email", "claims.sub", "claims.email") || handsOn("issuer", "claims.iss") {
		return
	}
	b.logger.Warn("callers of several issuers are handed on by a name alone, and two issuers may give the same: "+
		"add a header with {http.auth.user.issuer}, or name the only issuer of this route", zap.String("rule", b.Name), zap.Strings("issuers", accepted))
}

// Validate checks the options that are not rules.
func (b *BearerAuth) Validate() error {
	if err := b.check(); err != nil {
		return fmt.Errorf("bearer_auth: %w", err)
	}
	return nil
}

func (b *BearerAuth) check() error {
	if err := b.Access.check(); err != nil {
		return err
	}
	for _, err := range []error{
		b.BoundTokens.check(),
		preflights.Check("preflight", b.Preflight), respond.ErrorBodies.Check("error_body", b.ErrorBody),
		parse.OnOff.Check("grpc", b.GRPC), cuts.Check("cut", b.Cut),
	} {
		if err != nil {
			return err
		}
	}
	for _, origin := range b.CookieOrigins {
		if err := checkOrigin(origin); err != nil {
			return fmt.Errorf("cookie_origin: %w", err)
		}
	}
	for _, source := range b.TokenFrom {
		if err := source.validate(); err != nil {
			return fmt.Errorf("token_from: %w", err)
		}
		for _, header := range b.Headers {
			if source.In == inHeader && fold(source.Name) == fold(header.Name) {
				return fmt.Errorf("token_from: header %q is the identity header %s, too: what clients send under that name is removed", source.Name, header.Name)
			}
		}
	}
	for _, prefix := range b.PassOther {
		if err := checkPassOther(prefix); err != nil {
			return fmt.Errorf("pass_other: %w", err)
		}
	}
	if len(b.PassOther) > 0 && b.StripToken {
		return errors.New("pass_other hands tokens on for the upstream to check, and strip_token takes them away: leave one of them out")
	}
	if b.KeepAuthorization && len(b.TokenFrom) == 0 {
		return errors.New("keep_authorization: expected a token_from in front of it, the other place for the token: with none, the token is in the Authorization header itself")
	}
	if b.AsBearer && b.StripToken {
		return errors.New("as_bearer says how tokens are handed on, and strip_token takes them away: leave one of them out")
	}
	if b.Bound == string(auth.BoundDPoP) && len(b.TokenFrom) > 0 {
		return errors.New("bound dpop takes tokens with a proof only, and those of token_from come without one: leave one of them out")
	}
	if b.ProtectedResource != "" {
		if err := auth.CheckResource(b.ProtectedResource); err != nil {
			return fmt.Errorf("protected_resource: %w", err)
		}
	}
	return nil
}

// ServeHTTP lets the request pass or refuses it. The client's own identity
// headers are removed whatever comes of it.
func (b *BearerAuth) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	b.identity.clean(r, nil)
	if b.cleaner != nil { // of the header with a certificate
		b.cleaner.cleanUntrusted(r)
	}
	b.setName(r)
	if b.Preflight == preflightPass && isPreflight(r, b.TokenFrom) {
		stripPreflight(r.Header)
		admitAnonymous(r)
		return next.ServeHTTP(w, r)
	}
	var token string
	var dpop bool
	var refusal *auth.Refusal
	if len(b.Headers) > 0 {
		refusal = checkUpgrade(r, b.Upgrade)
	}
	if refusal == nil {
		token, dpop, refusal = findToken(r, b.TokenFrom, b.CookieOrigins)
	}
	forUpstream := refusal == nil && isForUpstream(r, token, b.PassOther)
	if forUpstream {
		forwardToken(r, token, b.TokenFrom, bearerScheme, false)
	}
	if forUpstream || refusal == auth.ErrNoToken && b.Optional {
		admitAnonymous(r)
		return next.ServeHTTP(w, r)
	}
	var caller *auth.Principal
	verdict := auth.Verdict{Refusal: refusal}
	if refusal == nil {
		caller, verdict = b.authenticator.verify(r, token, sender{&b.BoundTokens, dpop})
	}
	if verdict.Refusal == nil {
		verdict.Refusal = b.admit(r, caller, token, dpop, verdict.At)
	}
	if verdict.Refusal != nil {
		return b.refuser.refuse(w, r, verdict, dpop)
	}
	if verdict.Nonce != "" {
		setNonce(w.Header(), verdict.Nonce)
	}
	b.authenticator.meters.outcome(r, verdict.Issuer, caller, nil)
	return stream.Serve(w, r, next, caller, b.Cut == cutAll)
}

// admit tells the rest of the chain who is calling, and the upstream if the rules
// let the caller in. Whoever they refuse has a name in logs and error pages.
func (b *BearerAuth) admit(r *http.Request, caller *auth.Principal, token string, dpop bool, now time.Time) *auth.Refusal {
	if refusal := setPrincipal(r, caller); refusal != nil {
		return refusal
	}
	if refusal := b.predicate.Check(caller); refusal != nil {
		return refusal
	}
	if refusal := b.authenticator.licensing.Admit(r.Context(), caller, now); refusal != nil {
		return refusal
	}
	if refusal := b.identity.set(r, caller); refusal != nil {
		return refusal
	}
	forwardToken(r, token, b.TokenFrom, b.forwardScheme(r, dpop, b.StripToken), b.KeepAuthorization)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*BearerAuth)(nil)
	_ caddy.Validator             = (*BearerAuth)(nil)
	_ caddyhttp.MiddlewareHandler = (*BearerAuth)(nil)
)

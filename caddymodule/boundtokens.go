package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuers"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/parse"
)

// BoundTokens says how a route takes tokens that are bound to a key (RFC 7800), whose
// senders must show that they hold it: by a DPoP proof (RFC 9449), or by the
// certificate of a TLS client (RFC 8705).
type BoundTokens struct {
	// `required`, `dpop` or `mtls` lets in only tokens that are bound: in any way, to
	// the key of DPoP proofs, or to a client certificate. Default: what the issuers'
	// own option says.
	Bound string `json:"bound,omitempty"`

	// The addresses at which clients reach this site, such as
	// `https://gw.example.com`: what the URI in a DPoP proof must begin with. Needed
	// where a proxy in front changes scheme, host or path, and where the site takes
	// any host. May hold global placeholders. Default: scheme and host of the
	// connection, or what a trusted proxy says in `X-Forwarded-Proto` and
	// `X-Forwarded-Host`.
	PublicURLs []string `json:"public_urls,omitempty"`

	// Where a proxy that ends TLS hands on the certificate of its client. Default:
	// clients show it in their handshake with Caddy.
	ClientCertificate *ClientCertificate `json:"client_certificate,omitempty"`

	// Hands a token that came with the scheme DPoP on as `Authorization: Bearer
	// <token>`, without its proof. Default: as it came.
	AsBearer bool `json:"as_bearer,omitempty"`

	site    bound.Site
	require bound.Requirement
	schemes schemes
	cleaner *identityHeaders // of the header above; nil if there is none
}

// ClientCertificate is the header in which a proxy hands on the certificate of its
// client. It counts only from `trusted_proxies`, and is removed from all other
// requests.
type ClientCertificate struct {
	// The header's name, such as Client-Cert.
	Header string `json:"header,omitempty"`

	// The header's format: `rfc9440` (RFC 9440), `xfcc` (Envoy), or `pem`
	// (percent-encoded, as nginx writes $ssl_client_escaped_cert).
	Format string `json:"format,omitempty"`
}

var routeBindings = parse.Choice{string(auth.BoundRequired), string(auth.BoundDPoP), string(auth.BoundMTLS)}

// requirements are what the words of a route ask for.
var requirements = map[string]bound.Requirement{
	string(auth.BoundRequired): bound.Required, string(auth.BoundDPoP): bound.DPoP, string(auth.BoundMTLS): bound.MTLS,
}

// schemes are the ways in which a route takes tokens.
type schemes struct {
	bearer, dpop bool
	announced    bool // the configuration speaks of DPoP, and so do answers
}

// schemesOf tells how tokens may come in from issuers, all of them if names is empty.
func schemesOf(a *authenticator, names []string, require bound.Requirement) (s schemes) {
	s.announced = require != 0 || a.senders.config != nil
	for _, i := range a.issuers {
		if len(names) > 0 && !slices.Contains(names, i.Policy().Name) {
			continue
		}
		bearer, dpop := i.Policy().Bound.Takes(require)
		s.bearer, s.dpop = s.bearer || bearer, s.dpop || dpop
		s.announced = s.announced || dpop && i.Bound != ""
	}
	if s.announced && s.dpop {
		a.senders.announced.Store(true)
	}
	return s
}

func (b *BoundTokens) provision(a *Access) error {
	b.require = requirements[b.Bound]
	b.schemes = schemesOf(a.authenticator, a.Issuers, b.require)
	if !b.schemes.bearer && !b.schemes.dpop {
		return fmt.Errorf("bound %s: nobody could be let in, because `bound` of the issuers lets in no such tokens", b.Bound)
	}
	var r parse.Resolver
	for _, address := range r.List("public_url", b.PublicURLs) {
		base, err := parsePublicURL(address)
		if err != nil && r.Err == nil {
			return err
		}
		b.site.Bases = append(b.site.Bases, base)
	}
	if b.ClientCertificate != nil {
		b.site.CertificateHeader, b.site.CertificateFormat = b.ClientCertificate.Header, b.ClientCertificate.Format
		var err error
		if b.cleaner, err = newIdentityHeaders(b.ClientCertificate.headers(), zap.NewNop()); err != nil {
			return fmt.Errorf("client_certificate: %w", err)
		}
	}
	return r.Err
}

// check checks the options, but for what other parts of the configuration say.
func (b *BoundTokens) check() error {
	if err := routeBindings.Check("bound", b.Bound); err != nil {
		return err
	}
	for _, address := range b.PublicURLs {
		if parse.HasPlaceholder(address) {
			continue
		}
		if _, err := parsePublicURL(address); err != nil {
			return err
		}
	}
	if b.ClientCertificate == nil {
		return nil
	}
	if !httpguts.ValidHeaderFieldName(b.ClientCertificate.Header) {
		return fmt.Errorf("client_certificate: found %q, expected a header name such as Client-Cert", b.ClientCertificate.Header)
	}
	if _, err := newIdentityHeaders(b.ClientCertificate.headers(), zap.NewNop()); err != nil {
		return fmt.Errorf("client_certificate: %w", err)
	}
	if !slices.Contains(bound.CertificateFormats, b.ClientCertificate.Format) {
		return fmt.Errorf("client_certificate: found the format %q, expected %s", b.ClientCertificate.Format, strings.Join(bound.CertificateFormats, " or "))
	}
	return nil
}

func parsePublicURL(address string) (base string, err error) {
	if base, err = bound.ParseBase(address); err != nil {
		return "", fmt.Errorf("public_url: found %q, expected an address such as https://gw.example.com or https://gw.example.com/api", address)
	}
	return base, nil
}

// headers are what untrusted clients must not send: a chain would tell an upstream
// as much as the certificate does (RFC 9440, section 2.4).
func (c *ClientCertificate) headers() []Header {
	list := []Header{{Name: c.Header}}
	if strings.EqualFold(c.Header, "Client-Cert") {
		list = append(list, Header{Name: "Client-Cert-Chain"})
	}
	return list
}

// cleanUntrusted removes the headers in every spelling, but for their own from a
// trusted proxy.
func (h *identityHeaders) cleanUntrusted(r *http.Request) {
	if fromTrustedProxy(r) {
		h.clean(r, h.sets)
		return
	}
	h.clean(r, nil)
}

// fromTrustedProxy tells whether a request comes from one of the server's
// trusted_proxies.
func fromTrustedProxy(r *http.Request) bool {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted
}

// sender is who sent a request with a token, and how a route asks for proof that it is
// theirs. The zero value is a bearer, where nothing but bearers are let in.
type sender struct {
	route *BoundTokens
	dpop  bool // the token came with the scheme DPoP
}

// isChecked tells whether the sender of a token has to be checked.
func (s sender) isChecked(verdict *auth.Verdict) bool {
	if s.route == nil || verdict.Token == nil && !verdict.IsBound() {
		return false
	}
	return s.dpop || s.route.require != 0 || verdict.IsBound()
}

// check decides whether the sender may use the token. An outer bearer_auth may have
// taken the proof of this very request before.
func (s sender) check(r *http.Request, token string, verdict auth.Verdict, by *senders) auth.Verdict {
	vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	q := s.route.request(r, token, s.dpop)
	taken, _ := vars[takenProofVar].(string)
	q.Taken = taken != "" && len(q.Proofs) == 1 && q.Proofs[0] == taken
	verdict = verdict.CheckSender(by.Checker, q)
	if verdict.Refusal == nil && s.dpop {
		vars[takenProofVar] = q.Proofs[0]
	}
	return verdict
}

// takenProofVar is the request variable that holds the proof that was taken for it.
const takenProofVar = "gatehouse.proof"

// request is what is to be checked: method and target as they were sent, whatever
// handlers before this one have made of them. Caddy keeps the host nowhere, so it is
// the one that the request has now.
func (b *BoundTokens) request(r *http.Request, token string, dpop bool) *bound.Request {
	q := b.site.Request(r, token, dpop, fromTrustedProxy(r))
	if sent, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		q.Method, q.Target = sent.Method, sent.RequestURI
	}
	q.Require = b.require
	return q
}

// forwardScheme is the scheme by which the upstream gets the token, empty if it does
// not. A proof is handed on with what it proves, and with nothing else.
func (b *BoundTokens) forwardScheme(r *http.Request, dpop, strip bool) string {
	if strip || b.AsBearer {
		delete(r.Header, dpopHeader)
	}
	switch {
	case strip:
		return ""
	case dpop && !b.AsBearer:
		return dpopScheme
	}
	return bearerScheme
}

// checkServers is the part of checkBoundRoutes that can be checked while the routes
// are still being made, so that `caddy validate` refuses what a start would.
func (b *BoundTokens) checkServers(ctx caddy.Context, a *Access) (err error) {
	for _, parent := range ctx.Modules() {
		app, ok := parent.(*caddyhttp.App)
		if !ok {
			continue
		}
		for _, server := range app.Servers { // any of which may be the right one
			takes := func() bool { return takesCertificates(ctx, server, nil) }
			if err = b.checkServer(server, takes, a); err == nil {
				return nil
			}
		}
	}
	return err
}

var (
	errNoTrustedProxies = errors.New("client_certificate: the server has no trusted proxies, and the header counts from them only: " +
		"add `servers { trusted_proxies static <range...> }` to the global options")
	errNoClientCertificates = errors.New("bound: only tokens that are bound to a client certificate are let in, and clients cannot show one: " +
		"add `tls { client_auth { mode request } }` to the site, or client_certificate where a proxy in front ends TLS")
)

// checkServer holds the options against what a server's connections can tell.
func (b *BoundTokens) checkServer(server *caddyhttp.Server, takesCertificates func() bool, a *Access) error {
	if b.ClientCertificate != nil {
		if !hasTrustedProxies(server) {
			return errNoTrustedProxies
		}
		return nil
	}
	without := b.require != bound.MTLS && slices.ContainsFunc(a.authenticator.issuers, func(i *issuers.Issuer) bool {
		return i.Policy().Bound != auth.BoundMTLS && (len(a.Issuers) == 0 || slices.Contains(a.Issuers, i.Policy().Name))
	}) // somebody may be let in without a client certificate
	if !without && !takesCertificates() {
		return errNoClientCertificates
	}
	return nil
}

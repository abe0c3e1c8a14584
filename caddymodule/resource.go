package caddymodule

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuers"
)

// ResourceMetadata publishes the metadata of a protected resource (RFC 9728) at
// their well-known address, so that a client which was refused can find out
// where to get a token. Other requests are handed on. The Caddyfile's
// `protected_resource` puts it in front of bearer_auth; it needs no token.
type ResourceMetadata struct {
	// The identifier of the resource: an https URL. Required.
	Resource string `json:"resource,omitempty"`

	// The names of the issuers whose tokens are accepted. Default: all
	// configured ones.
	Issuers []string `json:"issuers,omitempty"`

	// The scopes that requests need. Default: none are listed.
	Scopes []string `json:"scopes,omitempty"`

	// The ways a token may be sent, of header, body and query. Default: header.
	BearerMethods []string `json:"bearer_methods,omitempty"`

	// The option `bound` of the bearer_auth behind it. Default: none.
	Bound string `json:"bound,omitempty"`

	// Tells that clients may use tokens which are bound to their certificates, where
	// neither `bound` nor an issuer says so. Default: false.
	ClientCertificates bool `json:"client_certificates,omitempty"`

	path     string
	document []byte
}

// CaddyModule tells Caddy about the handler.
func (ResourceMetadata) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.gatehouse_resource_metadata",
		New: func() caddy.Module { return new(ResourceMetadata) },
	}
}

// Provision makes the document.
func (m *ResourceMetadata) Provision(ctx caddy.Context) error {
	if err := auth.CheckResource(m.Resource); err != nil {
		return fmt.Errorf("protected_resource: %w", err)
	}
	authenticator, err := authenticatorOf(ctx)
	if err != nil {
		return fmt.Errorf("protected_resource: %w", err)
	}
	resource := auth.Resource{
		Identifier: m.Resource,
		Issuers:    authenticator.issuers.Servers(m.Issuers),
		Scopes:     m.Scopes,
		Methods:    m.BearerMethods,
	}
	if err := routeBindings.Check("bound", m.Bound); err != nil {
		return fmt.Errorf("protected_resource: %w", err)
	}
	m.tellBinding(&resource, authenticator)
	if len(resource.Methods) == 0 {
		resource.Methods = []string{"header"}
	}
	m.path = resource.MetadataPath()
	if m.document, err = resource.Metadata(); err != nil {
		return err
	}
	return m.checkAround(ctx)
}

// tellBinding tells which tokens may or must be bound, as far as the configuration
// speaks of it.
func (m *ResourceMetadata) tellBinding(resource *auth.Resource, a *authenticator) {
	s := schemesOf(a, m.Issuers, requirements[m.Bound])
	if s.dpop && s.announced {
		resource.ProofAlgorithms = strings.Fields(a.senders.Algorithms())
		resource.DPoPOnly = !s.bearer
	}
	resource.Certificates = s.bearer && (m.ClientCertificates || m.Bound != "" || slices.ContainsFunc(a.issuers, func(i *issuers.Issuer) bool {
		return i.Policy().Bound == auth.BoundMTLS && (len(m.Issuers) == 0 || slices.Contains(m.Issuers, i.Policy().Name))
	}))
}

// ServeHTTP answers at the well-known address. Scripts of any origin may read
// it: it is public, and clients in browsers need it.
func (m *ResourceMetadata) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if r.URL.Path != m.path {
		return next.ServeHTTP(w, r)
	}
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		header.Set("Content-Type", "application/json")
		header.Set("Cache-Control", "max-age=300")
		_, err := w.Write(m.document)
		return err
	case http.MethodOptions:
		header.Set("Access-Control-Allow-Methods", metadataMethods)
		header.Set("Access-Control-Allow-Headers", "*")
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	header.Set("Allow", metadataMethods)
	return caddyhttp.Error(http.StatusMethodNotAllowed, fmt.Errorf("the metadata of a resource can only be read"))
}

const metadataMethods = "GET, HEAD, OPTIONS"

// checkAround is the part of checkResourceRoutes that can be checked while the
// routes around are still being made, so that `caddy validate` refuses what a
// start would.
func (m *ResourceMetadata) checkAround(ctx caddy.Context) error {
	for _, parent := range ctx.Modules() {
		around := unprovisionedRoutes(parent, "gatehouse_resource_metadata")
		if len(around) > 0 && !slices.ContainsFunc(around, func(r caddyhttp.Route) bool { return letsPathThrough(r, m.path) }) {
			return m.errUnreachable()
		}
	}
	return nil
}

func (m *ResourceMetadata) errUnreachable() error {
	path := cmp.Or(strings.TrimPrefix(m.path, "/.well-known/oauth-protected-resource"), "/") // of the resource
	return fmt.Errorf("protected_resource %s: its metadata at %s cannot be reached, because a route around it takes other paths only; "+
		"put bearer_auth outside of the `handle`, with the path as its matcher: `bearer_auth %s* { protected_resource … }`",
		m.Resource, m.path, path)
}

package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
)

// IdentityHeaders removes what clients send under the names of identity headers,
// in every spelling that a backend may take for them. A bearer_auth does so for
// the requests that its matcher takes; this does it for all the others, so that
// no request of the site brings a forged identity to the upstream. Headers that a
// bearer_auth has set stay.
//
// The Caddyfile's bearer_auth puts it beside itself wherever it has a matcher. In
// JSON, put it first among the site's routes.
type IdentityHeaders struct {
	// The headers' names.
	Names []string `json:"names,omitempty"`

	// Protocols besides `websocket` to which a connection may be switched; see
	// the option of bearer_auth. Default: none, as what is sent after the switch
	// passes by all cleaning.
	Upgrade []string `json:"upgrade,omitempty"`

	identity *identityHeaders
}

// CaddyModule tells Caddy about the handler.
func (IdentityHeaders) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.gatehouse_identity_headers",
		New: func() caddy.Module { return new(IdentityHeaders) },
	}
}

// Provision compiles the names.
func (h *IdentityHeaders) Provision(caddy.Context) error {
	headers := make([]Header, 0, len(h.Names))
	for _, name := range h.Names {
		headers = append(headers, Header{Name: name})
	}
	if len(headers) == 0 {
		return fmt.Errorf("identity_headers: expected at least one name such as X-Auth-Subject")
	}
	var err error
	if h.identity, err = newIdentityHeaders(headers, zap.NewNop()); err != nil {
		return fmt.Errorf("identity_headers: %w", err)
	}
	return nil
}

// ServeHTTP hands the request on without the client's identity headers.
func (h *IdentityHeaders) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.identity.cleanBut(r, func(name string) bool { return isTrue(r, name) })
	if _, asked := principalOf(r); !asked { // else a bearer_auth has looked at it
		if refusal := checkUpgrade(r, h.Upgrade); refusal != nil {
			return handlerError(refusal)
		}
	}
	return next.ServeHTTP(w, r)
}

// parseIdentityHeaders reads the directive. Syntax:
//
//	identity_headers <name...> {
//	    upgrade <protocol...>
//	}
func parseIdentityHeaders(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next() // the directive's name
	handler := new(IdentityHeaders)
	if err := appendWords(h.Dispenser, &handler.Names); err != nil {
		return nil, err
	}
	if err := parseBlock(h.Dispenser, options{
		"upgrade": repeatable(func(d *caddyfile.Dispenser) error { return appendWords(d, &handler.Upgrade) }),
	}); err != nil {
		return nil, err
	}
	if err := handler.Provision(caddy.Context{}); err != nil {
		return nil, h.Err(err.Error())
	}
	return handler, nil
}

// cleaningRoute is the route that cleans the requests which a bearer_auth's
// matcher leaves out. Who decides what a matcher takes is often the client.
func (b *BearerAuth) cleaningRoute(h httpcaddyfile.Helper, matcher caddy.ModuleMap) []httpcaddyfile.ConfigValue {
	if len(b.Headers) == 0 || matcher == nil {
		return nil
	}
	cleaner := &IdentityHeaders{Upgrade: b.Upgrade}
	for _, header := range b.Headers {
		cleaner.Names = append(cleaner.Names, header.Name)
	}
	return h.NewRoute(nil, cleaner)
}

// warnOfUncleaned warns of identity headers that some requests of a site bring to
// an upstream as the client sent them: those that go another way than through the
// `handle` in which the bearer_auth stands.
func (a *App) warnOfUncleaned() error {
	names := make(map[*caddyhttp.MiddlewareHandler]map[string]struct{})
	sites := make(map[*caddyhttp.MiddlewareHandler]caddyhttp.Route)
	err := eachHandler(a.ctx, func(handler caddyhttp.MiddlewareHandler, around []caddyhttp.Route) error {
		if b, ok := handler.(*BearerAuth); ok {
			site := &around[0].Handlers[0]
			sites[site] = around[0]
			if names[site] == nil {
				names[site] = make(map[string]struct{})
			}
			for _, header := range b.identity.headers {
				names[site][header.name] = struct{}{}
			}
		}
		return nil
	})
	for site, route := range sites {
		for name := range names[site] {
			if found, _ := uncleaned(caddyhttp.RouteList{route}, name, false); found {
				a.logger.Warn("identity headers are not cleaned of all requests of a site: add the directive identity_headers with the name at the top of the site",
					zap.String("header", name), zap.Strings("sites", hostsOf([]caddyhttp.Route{route})))
			}
		}
	}
	return err
}

// uncleaned tells whether a request may get through the routes to a proxy with the
// client's own header, and whether all that get through are clean behind them.
func uncleaned(routes caddyhttp.RouteList, name string, clean bool) (found, cleanBehind bool) {
	for _, route := range routes {
		inside := clean
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *BearerAuth:
				inside = inside || h.identity.sets(name)
			case *IdentityHeaders:
				inside = inside || h.identity.sets(name)
			case *reverseproxy.Handler:
				if !inside {
					return true, false
				}
			case *caddyhttp.Subroute:
				if found, inside = uncleaned(h.Routes, name, inside); found {
					return true, false
				}
			}
		}
		if len(route.MatcherSets) == 0 && route.Group == "" {
			clean = inside
		}
	}
	return false, clean
}

// trueHeadersVar is the request variable that lists the identity headers which
// hold what a bearer_auth has set.
const trueHeadersVar = "gatehouse.identity"

// keepTrue notes that these headers are true from now on.
func (h *identityHeaders) keepTrue(r *http.Request) {
	vars := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	switch others := vars[trueHeadersVar].(type) {
	case nil:
		vars[trueHeadersVar] = h
	case *identityHeaders: // of an outer bearer_auth
		vars[trueHeadersVar] = []*identityHeaders{others, h}
	case []*identityHeaders:
		vars[trueHeadersVar] = append(others, h)
	}
}

// isTrue tells whether a header, by its canonical name, holds what a bearer_auth
// has set.
func isTrue(r *http.Request, name string) bool {
	switch set := caddyhttp.GetVar(r.Context(), trueHeadersVar).(type) {
	case *identityHeaders:
		return set.sets(name)
	case []*identityHeaders:
		return slices.ContainsFunc(set, func(h *identityHeaders) bool { return h.sets(name) })
	}
	return false
}

func (h *identityHeaders) sets(name string) bool {
	return slices.ContainsFunc(h.headers, func(header identityHeader) bool { return header.name == name })
}

// clean removes what the client sent under the names of identity headers, in
// every spelling, in trailers too; and keeps the client from having the true
// ones removed later by naming them in Connection (RFC 9110, section 7.6.1).
func (h *identityHeaders) clean(r *http.Request) { h.cleanBut(r, nil) }

// cleanBut is clean, but for the headers that kept names.
func (h *identityHeaders) cleanBut(r *http.Request, kept func(name string) bool) {
	h.drop(r.Header, kept)
	h.dropTrailers(r)
	fields, ok := r.Header["Connection"]
	if !ok {
		return
	}
	for _, field := range fields {
		if h.namesIdentity(field) {
			h.cleanConnection(r, fields)
			return
		}
	}
}

// dropTrailers removes the trailers that were announced, and those that turn up
// without it at the end of the body.
func (h *identityHeaders) dropTrailers(r *http.Request) {
	if len(h.headers) == 0 || r.Trailer == nil {
		return
	}
	h.drop(r.Trailer, nil)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &trailedBody{ReadCloser: r.Body, trailer: r.Trailer, headers: h}
	}
}

// trailedBody is a request's body that cleans the trailers, which the server
// fills in when it reaches the body's end.
type trailedBody struct {
	io.ReadCloser
	trailer http.Header
	headers *identityHeaders
}

// Read reads on; whoever sees the end of the body finds the trailers clean.
func (b *trailedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.headers.drop(b.trailer, nil)
	}
	return n, err
}

func (h *identityHeaders) drop(headers http.Header, kept func(name string) bool) {
	if len(h.headers) == 0 {
		return
	}
	for name := range headers {
		if h.owns(name) && (kept == nil || !kept(name)) {
			delete(headers, name)
		}
	}
}

// owns tells whether a name may be read as one of the identity headers.
func (h *identityHeaders) owns(name string) bool {
	if !h.marks[mark(name)] {
		return false
	}
	var buffer [64]byte
	_, ok := h.folded[string(appendFolded(buffer[:0], name))]
	return ok
}

// namesIdentity tells whether a Connection field names a header that is ours to
// set, the Authorization header included.
func (h *identityHeaders) namesIdentity(field string) bool {
	for option := range strings.SplitSeq(field, ",") {
		if option = strings.TrimSpace(option); h.owns(option) || strings.EqualFold(option, "Authorization") {
			return true
		}
	}
	return false
}

func (h *identityHeaders) cleanConnection(r *http.Request, fields []string) {
	var kept []string
	for _, field := range fields {
		for option := range strings.SplitSeq(field, ",") {
			if option = strings.TrimSpace(option); option != "" && !h.namesIdentity(option) {
				kept = append(kept, option)
			}
		}
	}
	if len(kept) == 0 {
		delete(r.Header, "Connection")
		return
	}
	r.Header["Connection"] = []string{strings.Join(kept, ", ")}
}

// fold writes a header name as the sloppiest backend may read it: without case,
// and every byte that is no letter or digit alike (CGI turns "-" into "_", PHP
// "." and " " too).
func fold(name string) string {
	return string(appendFolded(nil, name))
}

func appendFolded(dst []byte, name string) []byte {
	for i := range len(name) {
		dst = append(dst, foldByte(name[i]))
	}
	return dst
}

func foldByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case ('a' > c || c > 'z') && ('0' > c || c > '9'):
		return '-'
	}
	return c
}

// mark is equal for names that fold to the same: made of the length, which
// folding keeps, and the first byte. It tells most names apart, so that they need
// not be folded with every request.
func mark(name string) int {
	if name == "" {
		return 0
	}
	return (len(name) + 8*int(foldByte(name[0]))) % 64
}

// Interface guards
var (
	_ caddy.Provisioner           = (*IdentityHeaders)(nil)
	_ caddyhttp.MiddlewareHandler = (*IdentityHeaders)(nil)
)

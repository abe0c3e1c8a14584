package caddymodule

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/net/http/httpguts"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// Header is a header that tells the upstream who is calling.
type Header struct {
	// The header's name.
	Name string `json:"name,omitempty"`

	// The header's value, with placeholders. Lists are joined with commas; an
	// element that itself holds a comma, or has a blank at an end, is left out.
	Value string `json:"value,omitempty"`
}

// identityHeaders removes the client's own identity headers and sets the true
// ones.
type identityHeaders struct {
	headers []identityHeader
	folded  map[string]struct{} // names as a backend may read them
	marks   [64]bool            // those of the names
	logger  func() *zap.Logger  // speaks once a minute at most
}

type identityHeader struct {
	name     string // canonical
	property string // of the principal, if the value is just that
	template string
}

// notForIdentity are headers with a meaning of their own in every request.
var notForIdentity = map[string]struct{}{
	"authorization": {}, "host": {}, "connection": {}, "content-length": {}, "cookie": {},
	"transfer-encoding": {}, "upgrade": {}, "te": {}, "trailer": {}, "keep-alive": {},
	"proxy-authorization": {}, "proxy-authenticate": {}, "proxy-connection": {}, "dpop": {},
}

func newIdentityHeaders(headers []Header, logger *zap.Logger) (*identityHeaders, error) {
	h := &identityHeaders{
		folded: make(map[string]struct{}, len(headers)),
		// zap's sampler takes half a megabyte, so it is made when first used.
		logger: sync.OnceValue(func() *zap.Logger {
			return logger.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
				return zapcore.NewSamplerWithOptions(core, time.Minute, 1, 0)
			}))
		}),
	}
	for _, header := range headers {
		if err := checkHeaderName(header.Name); err != nil {
			return nil, err
		}
		if err := checkHeaderValue(header.Value); err != nil {
			return nil, err
		}
		folded := fold(header.Name)
		if _, twice := h.folded[folded]; twice {
			return nil, fmt.Errorf("%q is set twice: a backend may read both spellings as one", header.Name)
		}
		h.folded[folded] = struct{}{}
		h.marks[mark(folded)] = true
		h.headers = append(h.headers, identityHeader{
			name:     http.CanonicalHeaderKey(header.Name),
			property: soleProperty(header.Value),
			template: header.Value,
		})
	}
	return h, nil
}

func checkHeaderName(name string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("found %q, expected a header name such as X-Auth-Subject", name)
	}
	if strings.Contains(name, "*") { // a name may have one, but whoever writes it means more than that name
		return fmt.Errorf("found %q, expected the whole name of a header, such as X-Auth-Subject: a * stands for nothing else here, so write each name", name)
	}
	if _, reserved := notForIdentity[fold(name)]; reserved {
		return fmt.Errorf("%q cannot tell who is calling: it has a meaning of its own", name)
	}
	return nil
}

// soleProperty gives the property of the principal that a value consists of, or
// "" where it is more, or less, than one such placeholder.
func soleProperty(value string) string {
	name, found := strings.CutPrefix(value, "{"+userPlaceholder)
	if !found {
		return ""
	}
	name, found = strings.CutSuffix(name, "}")
	if !found || strings.ContainsAny(name, `{}\`) || !isPrincipalKey(name) {
		return ""
	}
	return name
}

// hasBlankPart tells whether what stands for a placeholder of a template has a
// blank at an end.
func hasBlankPart(repl *caddy.Replacer, template string) (found bool) {
	_, _ = repl.ReplaceFunc(template, func(_ string, value any) (any, error) {
		text, _ := value.(string)
		found = found || auth.HasBlankEnd(text)
		return value, nil
	})
	return found
}

// set sets the true headers. A value that no header can carry unchanged is
// refused: a claim could smuggle another header in, or name somebody else once
// blanks are cut off.
func (h *identityHeaders) set(r *http.Request, caller *auth.Principal) *auth.Refusal {
	if len(h.headers) == 0 {
		return nil
	}
	// One allocation for all, and none shared with other requests: handlers
	// behind may change a header's values in place.
	values := make([]string, len(h.headers))
	h.keepTrue(r)
	var repl *caddy.Replacer
	for i := range h.headers {
		header := &h.headers[i]
		var text auth.Text
		if header.property != "" {
			text, _ = caller.Text(header.property)
			if text.Partial {
				h.logger().Warn("an element of a list holds a comma, or has a blank at an end, and was left out of an identity header",
					zap.String("header", header.name), zap.String("issuer", caller.Issuer()))
			}
		} else {
			if repl == nil {
				repl = replacerOf(r)
			}
			text.Value = repl.ReplaceAll(header.template, "")
			if auth.HasBlankEnd(text.Value) && !hasBlankPart(repl, header.template) {
				text.Value = strings.Trim(text.Value, " \t") // the template's own, beside an empty value
			}
		}
		if text.Value == "" {
			continue
		}
		if !text.Plain && (auth.HasBlankEnd(text.Value) || !httpguts.ValidHeaderFieldValue(text.Value)) {
			return auth.ErrHeaderValue
		}
		values[i] = text.Value
		r.Header[header.name] = values[i : i+1 : i+1]
	}
	return nil
}

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

	// Headers that only the server's trusted_proxies may send, such as the one of
	// client_certificate. Default: none.
	FromProxies []string `json:"from_proxies,omitempty"`

	// Protocols besides `websocket` to which a connection may be switched where there
	// are names above; see the option of bearer_auth. Default: none, as what is sent
	// after the switch passes by all cleaning.
	Upgrade []string `json:"upgrade,omitempty"`

	identity *identityHeaders
	proxied  *identityHeaders
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
	if len(h.Names) == 0 && len(h.FromProxies) == 0 {
		return fmt.Errorf("identity_headers: expected at least one name such as X-Auth-Subject")
	}
	var err1, err2 error
	h.identity, err1 = headersNamed(h.Names)
	h.proxied, err2 = headersNamed(h.FromProxies)
	if err := cmp.Or(err1, err2); err != nil {
		return fmt.Errorf("identity_headers: %w", err)
	}
	return nil
}

// headersNamed are headers to remove.
func headersNamed(names []string) (*identityHeaders, error) {
	headers := make([]Header, 0, len(names))
	for _, name := range names {
		headers = append(headers, Header{Name: name})
	}
	return newIdentityHeaders(headers, zap.NewNop())
}

// ServeHTTP hands the request on without the client's identity headers.
func (h *IdentityHeaders) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	h.identity.clean(r, func(name string) bool { return isTrue(r, name) })
	h.proxied.cleanUntrusted(r)
	if _, asked := principalOf(r); !asked && len(h.Names) > 0 { // else a bearer_auth has looked at it
		if refusal := checkUpgrade(r, h.Upgrade); refusal != nil {
			return handlerError(refusal)
		}
	}
	return next.ServeHTTP(w, r)
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
// Headers that kept names stay.
func (h *identityHeaders) clean(r *http.Request, kept func(name string) bool) {
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

// Read reads on. At the end of the body the trailers are clean.
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

// Interface guards
var (
	_ caddy.Provisioner           = (*IdentityHeaders)(nil)
	_ caddyhttp.MiddlewareHandler = (*IdentityHeaders)(nil)
)

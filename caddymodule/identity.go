package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
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
	"proxy-authorization": {}, "proxy-authenticate": {}, "proxy-connection": {},
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

package caddymodule

import (
	"net/http"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// isPreflight tells a CORS preflight request (Fetch, section 4.8): it asks, can do
// nothing else, and browsers send no credentials with it.
func isPreflight(r *http.Request, sources []TokenSource) bool {
	return r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1 &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		!hasAny(r.Header, "Authorization", "Proxy-Authorization", "Cookie", "Content-Type", "Upgrade") &&
		!overridesMethod(r.Header) && !carriesToken(r, sources)
}

func hasAny(header http.Header, names ...string) bool {
	for _, name := range names {
		if _, ok := header[name]; ok {
			return true
		}
	}
	return false
}

// carriesToken tells whether there is anything where tokens are looked for beside
// the Authorization header.
func carriesToken(r *http.Request, sources []TokenSource) bool {
	for _, source := range sources {
		if len(source.values(r)) > 0 {
			return true
		}
	}
	return false
}

// methodOverrides are the headers, as they fold, by which upstreams let a request
// name another method than its own.
var methodOverrides = map[string]bool{
	"x-http-method-override": true,
	"x-http-method":          true,
	"x-method-override":      true,
}

func overridesMethod(header http.Header) bool {
	var buffer [64]byte
	for name := range header {
		if methodOverrides[string(appendFolded(buffer[:0], name))] {
			return true
		}
	}
	return false
}

// preflightHeaders are what browsers, and proxies in front, put on a preflight.
var preflightHeaders = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Accept-Language": true, "User-Agent": true, "Referer": true, "Origin": true,
	"Cache-Control": true, "Connection": true, "Content-Length": true, "Dnt": true, "Pragma": true, "Priority": true, "Save-Data": true,
	"Forwarded": true, "Via": true, "X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Port": true, "X-Forwarded-Proto": true,
	"X-Real-Ip": true, "X-Request-Id": true, "Traceparent": true, "Tracestate": true,
}

// bare takes from a preflight, which nobody has authenticated, all that is no part
// of one: the upstream cannot take it for anything else.
func bare(header http.Header) {
	for name := range header {
		known := preflightHeaders[name] || strings.HasPrefix(name, "Access-Control-Request-") ||
			strings.HasPrefix(name, "Sec-Fetch-") || strings.HasPrefix(name, "Sec-Ch-")
		if !known {
			delete(header, name)
		}
	}
}

// checkProtocol refuses, where headers tell the upstream who is calling, to hand on
// a request for another protocol than WebSocket: what is sent after it would pass
// by whatever cleans such headers, and by all rules.
func (b *BearerAuth) checkProtocol(r *http.Request) *auth.Refusal {
	if len(b.Headers) == 0 {
		return nil
	}
	asked := r.Header["Upgrade"]
	if r.Method == http.MethodConnect {
		if asked = extendedProtocol(r); len(asked) == 0 {
			asked = []string{"connect"}
		}
	}
	if len(asked) == 0 || isWebSocket(asked) {
		return nil
	}
	for _, allowed := range b.Upgrade {
		if len(asked) == 1 && strings.EqualFold(asked[0], allowed) {
			return nil
		}
	}
	return auth.ErrProtocol
}

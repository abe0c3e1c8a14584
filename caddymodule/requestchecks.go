package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/stream"
)

// These checks come before the token is looked at. They rely on what a client cannot
// forge, not on what a request claims.

// isPreflight tells a CORS preflight request (Fetch, section 4.8): it asks, can do
// nothing else, and browsers send no credentials with it.
func isPreflight(r *http.Request, sources []TokenSource) bool {
	return r.Method == http.MethodOptions &&
		len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1 &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		!slices.ContainsFunc(notInPreflight, func(name string) bool { _, has := r.Header[name]; return has }) &&
		!overridesMethod(r.Header) &&
		!slices.ContainsFunc(sources, func(s TokenSource) bool { return len(s.values(r)) > 0 })
}

// notInPreflight are headers that no preflight has.
var notInPreflight = []string{"Authorization", "Proxy-Authorization", "Cookie", "Content-Type", "Upgrade"}

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

// stripPreflight removes from a preflight, which nobody has authenticated, all headers
// that are no part of one, so that the upstream cannot take it for anything else.
func stripPreflight(header http.Header) {
	for name := range header {
		known := preflightHeaders[name] || strings.HasPrefix(name, "Access-Control-Request-") ||
			strings.HasPrefix(name, "Sec-Fetch-") || strings.HasPrefix(name, "Sec-Ch-")
		if !known {
			delete(header, name)
		}
	}
}

// checkUpgrade refuses a request for a protocol that is neither WebSocket nor allowed.
// It is asked where headers tell the upstream who is calling: what is sent after the
// switch passes neither the cleaning of such headers nor any rule.
func checkUpgrade(r *http.Request, allowed []string) *auth.Refusal {
	asked := r.Header["Upgrade"]
	if r.Method == http.MethodConnect {
		if asked = stream.ExtendedProtocol(r); len(asked) == 0 {
			asked = []string{"connect"}
		}
	}
	if len(asked) == 0 || stream.IsWebSocket(asked) {
		return nil
	}
	for _, protocol := range allowed {
		if len(asked) == 1 && strings.EqualFold(asked[0], protocol) {
			return nil
		}
	}
	return auth.ErrProtocol
}

// checkSite refuses a token from a cookie where a page of another site, which is none
// of the origins, has the browser send it: browsers add cookies by themselves,
// whoever asks. What only reads is left to CORS, which keeps the answer from the
// page; what changes something, and a WebSocket, which CORS does not cover, is not.
func checkSite(r *http.Request, origins []string) *auth.Refusal {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	if reads && len(r.Header["Upgrade"]) == 0 && !overridesMethod(r.Header) || fromThisSite(r) {
		return nil
	}
	if origin := r.Header["Origin"]; len(origin) == 1 && slices.Contains(origins, origin[0]) {
		return nil
	}
	return auth.ErrCrossSite
}

// fromThisSite tells whether the browser says that a page of this site, or the
// user, made the request. Browsers that do not say it, or not over plain http,
// name the page's origin. Programs say neither, and send no cookies by themselves.
func fromThisSite(r *http.Request) bool {
	if site := r.Header["Sec-Fetch-Site"]; len(site) > 0 {
		return len(site) == 1 && (site[0] == "same-origin" || site[0] == "same-site" || site[0] == "none")
	}
	origin := r.Header["Origin"]
	if len(origin) == 0 {
		return true
	}
	page, err := url.Parse(origin[0])
	return len(origin) == 1 && err == nil && page.Host != "" && strings.EqualFold(page.Host, r.Host)
}

// checkOrigin wants an origin as browsers write it (RFC 6454, section 6.2).
func checkOrigin(text string) error {
	page, err := url.Parse(text)
	if err != nil || page.Scheme != "https" && page.Scheme != "http" || page.Host == "" || page.Scheme+"://"+strings.ToLower(page.Host) != text {
		return fmt.Errorf("found %q, expected an origin such as https://app.example.com", text)
	}
	return nil
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

package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// TokenSource is a place in a request, beside the Authorization header, where
// browsers can put a token: they cannot set headers for WebSocket and
// EventSource.
type TokenSource struct {
	// `cookie` or `query`.
	In string `json:"in,omitempty"`

	// The name of the cookie or of the query parameter.
	Name string `json:"name,omitempty"`
}

// The places of a [TokenSource].
const (
	inCookie = "cookie"
	inQuery  = "query"
)

func (s TokenSource) validate() error {
	if s.In != inCookie && s.In != inQuery {
		return fmt.Errorf("found %q, expected cookie NAME or query NAME", s.In)
	}
	if s.Name == "" {
		return fmt.Errorf("%s: expected a name", s.In)
	}
	if s.In == inCookie && !httpguts.ValidHeaderFieldName(s.Name) {
		return fmt.Errorf("cookie %q: expected a cookie name (letters, digits and !#$%%&'*+-.^_`|~)", s.Name)
	}
	return nil
}

// findToken finds the request's one token. A token in two places is refused, even
// if it is the same: nothing could tell which the next server reads. One from a
// cookie must not have been sent for a page of another site but the origins.
func findToken(r *http.Request, sources []TokenSource, origins []string) (string, *auth.Refusal) {
	token, refusal := auth.ParseAuthorization(r.Header["Authorization"])
	if len(sources) == 0 || refusal != nil && refusal != auth.ErrNoToken {
		return token, refusal
	}
	fromCookie := false
	for _, source := range sources {
		for _, found := range source.values(r) {
			if token != "" {
				if refusal := auth.CheckToken(token); refusal != nil { // that of the header was none at all
					return "", refusal
				}
				return "", auth.ErrTwoTokens
			}
			if refusal := source.check(found); refusal != nil {
				return "", refusal
			}
			token, fromCookie = found, source.In == inCookie
		}
	}
	if token == "" {
		return "", refusal
	}
	if fromCookie {
		return token, checkSite(r, origins)
	}
	return token, nil
}

// check holds what was found in this place against the form of a token. The
// refusal names the place.
func (s TokenSource) check(found string) *auth.Refusal {
	refusal := auth.CheckToken(found)
	if refusal != auth.ErrMalformedHeader {
		return refusal
	}
	if s.In == inCookie {
		return auth.ErrMalformedCookie
	}
	return auth.ErrMalformedQuery
}

// isForUpstream tells whether a token in the Authorization header is one that only
// the upstream can judge. Every JWT has dots, so whatever has one is taken for a JWT
// and judged here.
func isForUpstream(r *http.Request, token string, prefixes []string) bool {
	if len(prefixes) == 0 || strings.Contains(token, ".") || auth.CheckToken(token) != nil {
		return false
	}
	if fromHeader, _ := auth.ParseAuthorization(r.Header["Authorization"]); fromHeader != token {
		return false
	}
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(token, prefix) })
}

// checkPassOther refuses a beginning that is too short to distinguish tokens, or that
// a JWT may have.
func checkPassOther(prefix string) error {
	if len(prefix) < 3 || strings.Contains(prefix, ".") || auth.CheckToken(prefix) != nil {
		return fmt.Errorf("found %q, expected the beginning of the tokens, such as hpk_: three characters or more, without dots, which JWTs have", prefix)
	}
	return nil
}

// values gives what stands in this place, without empty values: an emptied
// session cookie is no token.
func (s TokenSource) values(r *http.Request) (list []string) {
	collect := func(name, value string) bool {
		if name == s.Name && value != "" {
			list = append(list, value)
		}
		return true
	}
	if s.In == inCookie {
		eachCookie(r.Header["Cookie"], collect)
		return list
	}
	eachParameter(r.URL.RawQuery, func(name, value string) bool { return collect(unescape(name), unescape(value)) })
	return list
}

// remove takes the token out of this place and leaves all else as it was.
func (s TokenSource) remove(r *http.Request) {
	if s.In == inCookie {
		kept := eachCookie(r.Header["Cookie"], func(name, _ string) bool { return name != s.Name })
		if len(kept) == 0 {
			r.Header.Del("Cookie")
			return
		}
		r.Header["Cookie"] = []string{strings.Join(kept, "; ")}
		return
	}
	kept := eachParameter(r.URL.RawQuery, func(name, _ string) bool { return unescape(name) != s.Name })
	r.URL.RawQuery = strings.Join(kept, "&")
	r.RequestURI = r.URL.RequestURI()
}

// forwardToken gives the token to the upstream as "Authorization: Bearer <token>", in
// exactly that form, or not at all.
func forwardToken(r *http.Request, token string, sources []TokenSource, strip bool) {
	for _, source := range sources {
		if len(source.values(r)) > 0 {
			source.remove(r)
		}
	}
	if strip {
		delete(r.Header, "Authorization")
		return
	}
	const scheme = "Bearer "
	if field := r.Header["Authorization"]; len(field) == 1 && strings.HasPrefix(field[0], scheme) && field[0][len(scheme):] == token {
		return
	}
	r.Header["Authorization"] = []string{scheme + token}
}

// eachCookie shows every cookie of the Cookie header fields (RFC 6265, section
// 4.2.1) and gives those, as they were written, for which keep says so.
func eachCookie(fields []string, keep func(name, value string) bool) (kept []string) {
	for _, field := range fields {
		for pair := range strings.SplitSeq(field, ";") {
			pair = strings.TrimSpace(pair)
			name, value, _ := strings.Cut(pair, "=")
			if pair != "" && keep(strings.TrimSpace(name), strings.Trim(value, " \t\"")) {
				kept = append(kept, pair)
			}
		}
	}
	return kept
}

// eachParameter shows every parameter of a raw query and gives those, as they
// were written, for which keep says so.
func eachParameter(query string, keep func(name, value string) bool) (kept []string) {
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if keep(name, value) && pair != "" {
			kept = append(kept, pair)
		}
	}
	return kept
}

// unescape decodes a query component; what cannot be decoded stays as it is.
func unescape(s string) string {
	if decoded, err := url.QueryUnescape(s); err == nil {
		return decoded
	}
	return s
}

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

// checkProtocol refuses, where headers tell the upstream who is calling, to hand on
// a request for another protocol than WebSocket: what is sent after the switch passes
// neither the cleaning of such headers nor any rule.
func checkProtocol(r *http.Request, identity bool, allowed []string) *auth.Refusal {
	if !identity {
		return nil
	}
	return checkUpgrade(r, allowed)
}

// checkUpgrade refuses a request for a protocol that is neither WebSocket nor
// allowed.
func checkUpgrade(r *http.Request, allowed []string) *auth.Refusal {
	asked := r.Header["Upgrade"]
	if r.Method == http.MethodConnect {
		if asked = extendedProtocol(r); len(asked) == 0 {
			asked = []string{"connect"}
		}
	}
	if len(asked) == 0 || isWebSocket(asked) {
		return nil
	}
	for _, protocol := range allowed {
		if len(asked) == 1 && strings.EqualFold(asked[0], protocol) {
			return nil
		}
	}
	return auth.ErrProtocol
}

// isWebSocket tells whether a protocol's name, given in exactly one field, is that
// of WebSocket.
func isWebSocket(fields []string) bool {
	return len(fields) == 1 && strings.EqualFold(strings.TrimSpace(fields[0]), "websocket")
}

// extendedProtocol is what an extended CONNECT asks for (RFC 8441, RFC 9220), in
// the two places where the servers of HTTP/2 and HTTP/3 put it.
func extendedProtocol(r *http.Request) []string {
	if fields := r.Header[":protocol"]; len(fields) > 0 {
		return fields
	}
	if r.ProtoMajor == 3 && !strings.HasPrefix(r.Proto, "HTTP/") {
		return []string{r.Proto}
	}
	return nil
}

// checkSite refuses a token from a cookie where a page of another site, which is none
// of the origins, has the browser send it: browsers add cookies by themselves,
// whoever asks. What only reads is left to CORS, which keeps the answer from the
// page; what changes something, and a WebSocket, which CORS does not cover, is not.
func checkSite(r *http.Request, origins []string) *auth.Refusal {
	if !mayChange(r) || fromThisSite(r) {
		return nil
	}
	if origin := r.Header["Origin"]; len(origin) == 1 && slices.Contains(origins, origin[0]) {
		return nil
	}
	return auth.ErrCrossSite
}

// mayChange tells whether a request may do more than read.
func mayChange(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return len(r.Header["Upgrade"]) > 0 || overridesMethod(r.Header)
	}
	return true
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

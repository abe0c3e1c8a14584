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

// TokenSource is a place in a request, beside the Authorization header, where a
// token may be: in a cookie or the query, as browsers cannot set headers for
// WebSocket and EventSource; or in a header of its own, as proxies in front write it.
type TokenSource struct {
	// `cookie`, `query` or `header`.
	In string `json:"in,omitempty"`

	// The name of the cookie, the query parameter or the header. A header holds the
	// token alone, without `Bearer`.
	Name string `json:"name,omitempty"`
}

// The places of a [TokenSource].
const (
	inCookie = "cookie"
	inQuery  = "query"
	inHeader = "header"
)

func (s TokenSource) validate() error {
	if s.In != inCookie && s.In != inQuery && s.In != inHeader {
		return fmt.Errorf("found %q, expected cookie NAME, query NAME or header NAME", s.In)
	}
	if s.Name == "" {
		return fmt.Errorf("%s: expected a name", s.In)
	}
	if s.In == inCookie && !httpguts.ValidHeaderFieldName(s.Name) {
		return fmt.Errorf("cookie %q: expected a cookie name (letters, digits and !#$%%&'*+-.^_`|~)", s.Name)
	}
	if s.In != inHeader {
		return nil
	}
	if !httpguts.ValidHeaderFieldName(s.Name) {
		return fmt.Errorf("header %q: expected a header name such as X-Access-Token", s.Name)
	}
	if _, reserved := notForIdentity[fold(s.Name)]; reserved {
		return fmt.Errorf("header %q: it has a meaning of its own; the Authorization header is looked at in any case", s.Name)
	}
	return nil
}

// findToken finds the request's one token, and tells whether it came with the scheme
// DPoP. A token in two places is refused, even if it is the same: nothing could tell
// which the next server reads. One from a cookie must not have been sent for a page of
// another site but the origins.
func findToken(r *http.Request, sources []TokenSource, origins []string) (token string, dpop bool, refusal *auth.Refusal) {
	token, dpop, refusal = auth.ParseCredentials(r.Header["Authorization"])
	if len(sources) == 0 || refusal != nil && refusal != auth.ErrNoToken {
		return token, dpop, refusal
	}
	fromCookie := false
	for _, source := range sources {
		for _, found := range source.values(r) {
			if token != "" {
				if refusal := auth.CheckToken(token); refusal != nil { // that of the header was none at all
					return "", dpop, refusal
				}
				return "", dpop, auth.ErrTwoTokens
			}
			if refusal := source.check(found); refusal != nil {
				return "", dpop, refusal
			}
			token, fromCookie = found, source.In == inCookie
		}
	}
	if token == "" {
		return "", dpop, refusal
	}
	if fromCookie {
		return token, dpop, checkSite(r, origins)
	}
	return token, dpop, nil
}

// check holds what was found in this place against the form of a token. The
// refusal names the place.
func (s TokenSource) check(found string) *auth.Refusal {
	refusal := auth.CheckToken(found)
	if refusal != auth.ErrMalformedHeader {
		return refusal
	}
	switch s.In {
	case inCookie:
		return auth.ErrMalformedCookie
	case inHeader:
		return auth.ErrMalformedTokenHeader
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
	switch s.In {
	case inCookie:
		eachCookie(r.Header["Cookie"], collect)
		return list
	case inHeader:
		s.eachHeader(r.Header, func(_ string, fields []string) {
			for _, field := range fields {
				collect(s.Name, field)
			}
		})
		return list
	}
	eachParameter(r.URL.RawQuery, func(name, value string) bool { return collect(unescape(name), unescape(value)) })
	return list
}

// eachHeader shows the header in every spelling that a backend may take for it: an
// upstream that folds names must not find a token there that nobody looked at.
func (s TokenSource) eachHeader(headers http.Header, show func(name string, fields []string)) {
	of := mark(s.Name)
	var room, buffer [64]byte
	folded := appendFolded(room[:0], s.Name)
	for name, fields := range headers {
		if mark(name) == of && string(appendFolded(buffer[:0], name)) == string(folded) {
			show(name, fields)
		}
	}
}

// remove takes the token out of this place and leaves all else as it was.
func (s TokenSource) remove(r *http.Request) {
	if s.In == inHeader {
		s.eachHeader(r.Header, func(name string, _ []string) { delete(r.Header, name) })
		return
	}
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

// The schemes that a token is handed on with, and the header of a proof as Go spells
// it.
const (
	bearerScheme = "Bearer "
	dpopScheme   = "DPoP "
	dpopHeader   = "Dpop"
)

// forwardToken gives the token to the upstream as "Authorization: <scheme> <token>", in
// exactly that form, or not at all if the scheme is empty. keep leaves an Authorization header of another
// scheme as it is, which then takes the token's place.
func forwardToken(r *http.Request, token string, sources []TokenSource, scheme string, keep bool) {
	for _, source := range sources {
		if len(source.values(r)) > 0 {
			source.remove(r)
		}
	}
	if keep && len(r.Header["Authorization"]) == 1 && auth.IsOtherScheme(r.Header["Authorization"][0]) {
		return
	}
	if scheme == "" {
		delete(r.Header, "Authorization")
		return
	}
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

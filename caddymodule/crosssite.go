package caddymodule

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// checkSite refuses a token from a cookie where a page of another site has the
// browser send it: browsers add cookies by themselves, whoever asks. What only
// reads is left to CORS, which keeps the answer from the page; what changes
// something, and a WebSocket, which CORS does not cover, is not.
func (b *BearerAuth) checkSite(r *http.Request) *auth.Refusal {
	if !mayChange(r) || fromThisSite(r) || !b.cookieCarriesToken(r) {
		return nil
	}
	if origin := r.Header["Origin"]; len(origin) == 1 && slices.Contains(b.CookieOrigins, origin[0]) {
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

func (b *BearerAuth) cookieCarriesToken(r *http.Request) bool {
	for _, source := range b.TokenFrom {
		if source.In == inCookie && len(source.values(r)) > 0 {
			return true
		}
	}
	return false
}

// checkOrigin wants an origin as browsers write it (RFC 6454, section 6.2).
func checkOrigin(text string) error {
	page, err := url.Parse(text)
	if err != nil || page.Scheme != "https" && page.Scheme != "http" || page.Host == "" || page.Scheme+"://"+strings.ToLower(page.Host) != text {
		return fmt.Errorf("found %q, expected an origin such as https://app.example.com", text)
	}
	return nil
}

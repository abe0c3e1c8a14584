package api

import (
	"crypto/sha256"
	_ "embed" // for the page
	"encoding/base64"
	"net/http"
	"strings"
)

// statusPage is the page at /gatehouse/. It holds no data: it asks for a token,
// keeps it in memory only, and fetches the API's routes by relative addresses,
// so that it works under a prefix.
//
//go:embed page/index.html
var statusPage string

// trustedPage is the page for those who need no token, which it then does not ask
// for.
var trustedPage = strings.Replace(statusPage, "<html ", "<html data-trusted ", 1)

// pagePolicy lets the page's own style and script run and fetch from where it
// came from, and nothing else.
var pagePolicy = strings.Join([]string{
	"default-src 'none'",
	"style-src " + digestOf("style"),
	"script-src " + digestOf("script"),
	"connect-src 'self'",
	"img-src data:",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
}, "; ")

// digestOf allows the one element of that name.
func digestOf(element string) string {
	_, rest, _ := strings.Cut(statusPage, "<"+element+">")
	content, _, _ := strings.Cut(rest, "</"+element+">")
	digest := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
}

// page answers with the page, to anyone.
func (a *API) page(c *call) error {
	header := c.w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "same-origin") // Caddy's admin endpoint looks at it
	c.w.WriteHeader(http.StatusOK)
	body := statusPage
	if c.place.Trusted {
		body = trustedPage
	}
	_, _ = c.w.Write([]byte(body))
	return nil
}

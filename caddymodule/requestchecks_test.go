package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"
)

const crossSite = `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		api {
			trust_admin_endpoint
		}
	}
}
http://SITE {
	bind 127.0.0.1
	route /api/* {
		bearer_auth {
			token_from cookie session
			error_body json
		}
		gatehouse_api
	}
	bearer_auth {
		token_from cookie session
		cookie_origin https://app.example.com
		error_body json
	}
	reverse_proxy UPSTREAM
}
`

// Browsers add cookies by themselves, so a page of another site must not change
// anything by them, nor open a WebSocket.
func TestTokenInACookieIsNotForOtherSites(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, crossSite, "ISSUER", issuer.URL, "UPSTREAM", newUpstream(t).URL)
	token := mint(issuer, claims{"groups": []string{"admin"}})
	inCookie := header("Cookie", "a=b; session="+token)
	webSocket := []edit{header("Connection", "Upgrade"), header("Upgrade", "websocket"), header("Sec-Websocket-Version", "13"), header("Sec-Websocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")}
	site := func(value ...string) edit { return header("Sec-Fetch-Site", value...) }
	origin := func(value ...string) edit { return header("Origin", value...) }
	for _, c := range []struct {
		name, method, path string
		edits              []edit
		status             int
	}{
		{"a form of another site", "POST", "/", []edit{inCookie, site("cross-site"), origin("https://evil.example")}, 403},
		{"one that says to be no other", "POST", "/", []edit{inCookie, site("cross-site"), origin("http://" + g.site)}, 403},
		{"an unknown word", "PUT", "/", []edit{inCookie, site("elsewhere")}, 403},
		{"two words", "PUT", "/", []edit{inCookie, site("same-origin", "cross-site")}, 403},
		{"an old browser", "DELETE", "/", []edit{inCookie, origin("https://evil.example")}, 403},
		{"an old browser's sandbox", "POST", "/", []edit{inCookie, origin("null")}, 403},
		{"two origins", "POST", "/", []edit{inCookie, origin("http://"+g.site, "https://evil.example")}, 403},
		{"a WebSocket", "GET", "/ws", append([]edit{inCookie, site("cross-site"), origin("https://evil.example")}, webSocket...), 403},
		{"an old browser's WebSocket", "GET", "/ws", append([]edit{inCookie, origin("https://evil.example")}, webSocket...), 403},
		{"a method in a header", "GET", "/", []edit{inCookie, site("cross-site"), header("X-Http-Method-Override", "DELETE")}, 403},
		{"the API", "POST", "/api/serviceaccounts", []edit{inCookie, site("cross-site"), content(`{"subject":"a","status":"active"}`)}, 403},
		{"the API, without a type", "POST", "/api/serviceaccounts", []edit{inCookie, content(`{"subject":"b","status":"active"}`), func(r *http.Request) { r.Header.Del("Content-Type") }}, 400},
		{"the API's import as text", "POST", "/api/serviceaccounts:import", []edit{inCookie, content(`{"subject":"c","status":"active"}`), header("Content-Type", "text/plain")}, 400},

		{"reading", "GET", "/", []edit{inCookie, site("cross-site")}, 200},
		{"this site", "POST", "/", []edit{inCookie, site("same-origin"), origin("http://" + g.site)}, 200},
		{"a sister", "POST", "/", []edit{inCookie, site("same-site"), origin("https://sister.example")}, 200},
		{"the user", "POST", "/", []edit{inCookie, site("none")}, 200},
		{"an old browser on this site", "POST", "/", []edit{inCookie, origin("http://" + strings.ToUpper(g.site))}, 200},
		{"a program", "POST", "/", []edit{inCookie}, 200},
		{"an origin that is named", "POST", "/", []edit{inCookie, site("cross-site"), origin("https://app.example.com")}, 200},
		{"a name that it begins with", "POST", "/", []edit{inCookie, site("cross-site"), origin("https://app.example.com.evil.example")}, 403},
		{"a token in the header, which no browser adds", "POST", "/", []edit{bearer(token), site("cross-site"), origin("https://evil.example")}, 200},
		{"the API, by this site", "POST", "/api/serviceaccounts", []edit{inCookie, site("same-origin"), content(`{"subject":"d","status":"active"}`)}, 201},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := g.send(c.method, c.path, append([]edit{func(*http.Request) {}}, c.edits...)...)
			if got.status != c.status {
				t.Errorf("got %d, want %d", got.status, c.status)
			}
			if c.status == 403 && got.body != message("a page of another site cannot use the token in a cookie") {
				t.Errorf("got %q", got.body)
			}
		})
	}
	socket := "GET /ws HTTP/1.1\r\nHost: " + g.site + "\r\nCookie: session=" + token + "\r\nOrigin: http://" + g.site +
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
	if got := g.raw(t, socket); got != 101 {
		t.Errorf("this site's WebSocket: got status %d, want 101", got)
	}
	if got := g.get("/api/serviceaccounts", bearer(token)); listed(t, got) != "d" {
		t.Errorf("the accounts are %s, want d alone", got.body)
	}
}

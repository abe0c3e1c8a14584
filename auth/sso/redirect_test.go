package sso

import (
	"bytes"
	"strings"
	"testing"
)

// lookAlikes are not the listed https://app.example.com/sso, nor loopback.
var lookAlikes = []string{
	"https://app.example.com/sso/evil", "https://app.example.com/ss", "https://app.example.com/sso/",
	"https://app.example.com/sso?x=1", "https://app.example.com/sso#x", "https://app.example.com/sso?",
	"https://app.example.com/x/../sso", "https://app.example.com/sso/..", "https://app.example.com/./sso", "https://app.example.com//sso",
	"https://app.example.com/%2e%2e/sso", "https://app.example.com%2fsso", "https://app.example.com/%73so", "https://app.example.com/sso%2f", "https://app.example.com/sso%00",
	"https://user@app.example.com/sso", "https://app.example.com@evil.example/sso", "https://app.example.com:443@evil.example/sso", `https://evil.example\@app.example.com/sso`,
	"https://app.example.com:443/sso", "https://app.example.com:8443/sso", "https://app.example.com:/sso",
	"http://app.example.com/sso", "HTTPS://app.example.com/sso", "https:app.example.com/sso", "//app.example.com/sso", "/sso", "javascript:https://app.example.com/sso", "data:,https://app.example.com/sso",
	"https://APP.example.com/sso", "https://app.EXAMPLE.com/sso", "https://app.example.com./sso", "https://app.example.com/SSO",
	"https://app.example.com.evil.example/sso", "https://evil.example/https://app.example.com/sso", "https://app-example.com/sso", "https://xn--pp-eka.example.com/sso", "https://аpp.example.com/sso",
	" https://app.example.com/sso", "https://app.example.com/sso ", "https://app.example.com/sso\n", "https://app.example.com/sso\r\nX: y", "https://app.example.com/sso\x00", "https://app.example.com/s\tso",
	"https://app.example.com/sso,https://evil.example", "*", "https://*/sso", "null",
	"http://127.0.0.1", "http://127.0.0.1/", "http://127.0.0.1/callback/", "http://127.0.0.1/callback/..", "http://127.0.0.1/x", "http://127.0.0.1:80",
	"https://127.0.0.1/callback", "http://127.0.0.2/callback", "http://localhost/callback", "http://127.1/callback", "http://2130706433/callback", "http://0x7f.0.0.1/callback", "http://[::1]/callback/",
	"http://127.0.0.1:/callback", "http://127.0.0.1:0/callback", "http://127.0.0.1:080/callback", "http://127.0.0.1:+80/callback", "http://127.0.0.1:-1/callback", "http://127.0.0.1:65536/callback",
	"http://127.0.0.1:99999999999999999999/callback", "http://127.0.0.1:8_0/callback", "http://127.0.0.1:0x50/callback", "http://127.0.0.1:８０/callback", "http://127.0.0.1:80:80/callback",
	"http://127.0.0.1:80@evil.example/callback", "http://127.0.0.1@evil.example/callback", "http://127.0.0.1.evil.example/callback", "http://127.0.0.1:80.evil.example/callback", "http://127.0.0.1:80/../callback", "http://127.0.0.1:80\\callback", "http://127.0.0.1:80%2fcallback",
	"http://127.0.0.199/callback", "http://127.0.0.1.9/callback", "http://127.0.0.1@9/callback", "http://127.0.0.1/9/callback", "http://127.0.0.1;9/callback",
	"http://user@127.0.0.1/callback", "http://[::1%25lo]:4000/callback", "http://[0:0:0:0:0:0:0:1]:4000/callback", "http://::1/callback",
	"com.example.app:/callback/x", "com.example.app://callback", "COM.example.app:/callback", "com.example.app.evil:/callback",
}

// TestLookAlikes: refused, all alike, without a word of what was sent.
func TestLookAlikes(t *testing.T) {
	s := service(t)
	var first []byte
	for _, address := range lookAlikes {
		answer := wantCode(t, s, signed(query("redirect_uri", address)), CodeValidation)
		if first == nil {
			first = answer.Body
		}
		if !bytes.Equal(answer.Body, first) {
			t.Errorf("%q: %s", address, answer.Body)
		}
	}
	for _, word := range []string{"evil", "example", "127", "http"} {
		if bytes.Contains(first, []byte(word)) {
			t.Errorf("%s holds %q", first, word)
		}
	}
}

// TestListed: on the list as it is, or on a loopback address of the list with
// another port (RFC 8252, section 7.3).
func TestListed(t *testing.T) {
	s := service(t)
	for _, address := range []string{
		"https://app.example.com/sso",
		"http://127.0.0.1/callback", "http://127.0.0.1:1/callback", "http://127.0.0.1:8080/callback", "http://127.0.0.1:65535/callback",
		"http://[::1]:4000/callback", "http://[::1]/callback", "http://[::1]:51004/callback",
		"com.example.app:/callback",
	} {
		u := wantURL(t, s, signed(query("redirect_uri", address)))
		if got := u.Query().Get("redirect_uri"); got != address {
			t.Errorf("asked for %q, got %q", address, got)
		}
	}
	if got := wantURL(t, s, signed(askAcme)).Query().Get("redirect_uri"); got != "https://app.example.com/sso" {
		t.Errorf("without a wish: %q", got)
	}
}

// TestLocalhost: the name is as good as the address, where the list has it
// (RFC 9700, section 4.1.3).
func TestLocalhost(t *testing.T) {
	s := service(t, withAccount(func(a *Account) { a.RedirectURIs = []string{"http://localhost", "http://localhost:1234/a?b=c:1"} }))
	for address, listed := range map[string]bool{
		"http://localhost": true, "http://localhost:5000": true, "http://localhost:5/a?b=c:1": true, "http://localhost/a?b=c:1": true,
		"http://localhost/": false, "http://localhost:5000/": false, "http://127.0.0.1:5000": false, "http://localhost.evil.example": false,
		"http://localhost:5/a?b=c:2": false, "http://LOCALHOST:5000": false, "http://localhost:5000:1": false,
	} {
		answer := s.Answer(t.Context(), signed(query("redirect_uri", address)))
		if check(t, answer); (answer.Status == 200) != listed {
			t.Errorf("%q: %s", address, answer.Body)
		}
	}
}

func TestRedirectConfiguration(t *testing.T) {
	for address, fault := range map[string]string{
		"https://app.example.com/sso": "", "https://app.example.com": "", "https://app.example.com:8443/a?b=c%20d": "", "https://10.0.0.1/": "",
		"http://localhost/x": "", "http://127.9.9.9:1/x": "", "http://[::1]": "", "com.example.app:/x": "", "com.example.app://x": "",
		"":                             "not a URL",
		"https://app.example.com/a b":  "not a URL",
		"https://app.example.com/ü":    "not a URL",
		"https://app.example.com/%zz":  "not a URL",
		"https://app.example.com/#x":   "fragment",
		"https://app.example.com/#":    "fragment",
		"https://u:p@app.example.com/": "user information",
		"http://app.example.com/":      "https, or http to a loopback",
		"http://localhost.example/":    "https, or http to a loopback",
		"https:///x":                   "must be https",
		"https:/x":                     "must be https",
		"/x":                           "must be https",
		"app.example.com/x":            "must be https",
		"app:/x":                       "must be https",
		"javascript:alert(1)":          "must be https",
		"data:text/html,x":             "must be https",
	} {
		_, err := newRedirect(address)
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%q: %v, want %q", address, err, fault)
		}
	}
}

package sso

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
)

// discovering has the account ask the source.
func discovering(source MetadataSource) func(*Config) {
	return withAccount(func(a *Account) { a.AuthorizationEndpoint, a.Metadata = "", source })
}

// TestLastGoodStays whatever the metadata turns into.
func TestLastGoodStays(t *testing.T) {
	source := &fakeSource{err: errors.New("down")}
	s := service(t, discovering(source))
	wantCode(t, s, signed(askAcme), CodeInternal)
	source.set("https://one.example/authorize?a=b", nil)
	host := func() string { return wantURL(t, s, signed(askAcme)).Host }
	if host() != "one.example" {
		t.Error("it does not recover")
	}
	for name, bad := range map[string]struct {
		endpoint string
		err      error
	}{
		"down":            {"", errors.New("down")},
		"gone":            {"", nil},
		"not a URL":       {"https://a b", nil},
		"not encoded":     {"https://x.example/ü", nil},
		"with a fragment": {"https://x.example/#/login", nil},
		"another scheme":  {"javascript:alert(1)//x", nil},
		"our parameter":   {"https://x.example/?redirect_uri=https://evil.example", nil},
	} {
		source.set(bad.endpoint, bad.err)
		if host() != "one.example" {
			t.Errorf("%s: another endpoint", name)
		}
	}
	source.set("https://two.example/authorize", nil)
	if host() != "two.example" {
		t.Error("it does not follow")
	}
	source.set("", errors.New("down"))
	if host() != "two.example" {
		t.Error("it goes back to an older one")
	}
}

// TestNeverGood: without a usable endpoint there is no address.
func TestNeverGood(t *testing.T) {
	for endpoint, want := range map[string]string{
		"": "no authorization_endpoint", "https://x.example/?state=1": `"state"`, "/authorize": "not an absolute URL", "https://x.example/<>": "not a URL",
	} {
		source := &fakeSource{endpoint: endpoint}
		answer := wantCode(t, service(t, discovering(source)), signed(askAcme), CodeInternal)
		if answer.Refusal == nil || answer.Refusal.Cause == nil || !strings.Contains(answer.Refusal.Cause.Error(), want) {
			t.Errorf("%q: %+v", endpoint, answer.Refusal)
		}
	}
	wantCode(t, service(t, discovering(emptySource{})), signed(askAcme), CodeInternal)
}

// emptySource knows nothing and says so without an error.
type emptySource struct{}

func (emptySource) Metadata(context.Context) (*issuer.Metadata, error) { return nil, nil }

// TestInsecureHTTP: whether http will do is the engine's to decide.
func TestInsecureHTTP(t *testing.T) {
	s := service(t, discovering(&fakeSource{endpoint: "http://login.internal/authorize"}))
	if u := wantURL(t, s, signed(askAcme)); u.Scheme != "http" || u.Host != "login.internal" {
		t.Error(u)
	}
}

// hangingSource answers only when its caller gives up.
type hangingSource struct{}

func (hangingSource) Metadata(ctx context.Context) (*issuer.Metadata, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

// TestWaitIsBounded where nothing was ever had, and ends with the request.
func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := service(t, discovering(hangingSource{}))
		began := time.Now()
		wantCode(t, s, signed(askAcme), CodeInternal)
		if waited := time.Since(began); waited != metadataWait {
			t.Errorf("waited %s", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if answer := s.Answer(ctx, signed(askAcme)); answer.Result() != "internal_error" || time.Since(began) != time.Second {
			t.Errorf("%s after %s", answer.Result(), time.Since(began))
		}
	})
}

// TestRefusedBeforeAsking: only a request that is in order asks the provider.
func TestRefusedBeforeAsking(t *testing.T) {
	source := &fakeSource{endpoint: "https://one.example/authorize"}
	s := service(t, discovering(source))
	for _, r := range []Request{saying(authorization(testKey, "x")), signed(""), signed(query("redirect_uri", "x")), signed("product=x&customer_account_code=acme")} {
		s.Answer(t.Context(), r)
	}
	if source.asked != 0 {
		t.Errorf("asked %d times", source.asked)
	}
}

// TestConcurrently: one service for many requests while the endpoint changes.
func TestConcurrently(t *testing.T) {
	source := &fakeSource{endpoint: "https://one.example/authorize"}
	s := service(t, discovering(source), func(cfg *Config) { cfg.RateLimit = 1_000_000 })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 100 {
				if i%10 == 0 {
					source.set([]string{"https://one.example/authorize", "https://two.example/authorize"}[i/10%2], nil)
				}
				if host := wantHost(s); host != "one.example" && host != "two.example" {
					t.Errorf("leads to %q", host)
				}
			}
		})
	}
	all.Wait()
}

// wantHost is the host of an answer, or what was answered instead.
func wantHost(s *Service) string {
	answer := s.Answer(context.Background(), signed(askAcme))
	_, rest, ok := strings.Cut(string(answer.Body), `"https://`)
	if answer.Status != 200 || !ok {
		return string(answer.Body)
	}
	host, _, _ := strings.Cut(rest, "/")
	return host
}

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

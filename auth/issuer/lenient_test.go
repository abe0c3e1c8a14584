package issuer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What nobody needs costs nobody a key.
func TestFaultsThatDoNotMatter(t *testing.T) {
	key, err := json.Marshal(edKey("a"))
	if err != nil {
		t.Fatal(err)
	}
	inside := strings.TrimSuffix(string(key), "}")
	for name, text := range map[string]string{
		"byte order mark":          "\ufeff" + `{"keys":[` + string(key) + `]}`,
		"unused member twice":      `{"keys":[` + inside + `,"x5c":[],"x5c":[]}]}`,
		"Latin-1 in an unused one": `{"note":"caf` + "\xe9" + `","keys":[` + inside + `,"owner":"Jos` + "\xe9" + `"}]}`,
		"Latin-1 in a name":        `{"caf` + "\xe9" + `":1,"keys":[` + string(key) + `]}`,
		"nulls":                    `{"keys":[` + inside + `,"key_ops":null,"x5t":null,"n":null}]}`,
		"a bad key beside it":      `{"keys":[{"kty":"OKP","kid":"Jos` + "\xe9" + `"},5,` + string(key) + `]}`,
	} {
		set, _, err := Config{}.ParseJWKS([]byte(text))
		if err != nil || len(set.byID["a"]) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"UTF-16":                  "\xff\xfe{\x00",
		"UTF-16 without a mark":   "{\x00\"\x00",
		"used member twice":       `{"keys":[` + inside + `,"kid":"b"}]}`,
		"Latin-1 in a used one":   `{"keys":[` + strings.Replace(string(key), `"a"`, "\"\xe9\"", 1) + `]}`,
		"keys twice, one escaped": `{"keys":[` + string(key) + `],"k\u0065ys":[]}`,
	} {
		if set, warnings, err := (Config{}).ParseJWKS([]byte(text)); err == nil && len(warnings) == 0 {
			t.Errorf("%s: nothing is said, %d keys", name, len(set.All()))
		}
	}
}

func TestMoreThanAHundredKeys(t *testing.T) {
	var keys []any
	for i := range 150 {
		keys = append(keys, edKey(fmt.Sprint("enc-", i)).with("use", "enc"))
	}
	for i := range 120 {
		keys = append(keys, edKey(fmt.Sprint("k", i)))
	}
	set, warnings, err := Config{}.ParseJWKS(setOf(keys...))
	if err != nil || len(set.All()) != maxKeys || len(set.byID["k99"]) != 1 || len(set.byID["k100"]) != 0 {
		t.Fatalf("%d keys, %v", len(set.All()), err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "100 keys are kept") {
		t.Errorf("warnings: %v", warnings)
	}
	if got := set.Unusable("enc-3"); !strings.Contains(got, "another use") {
		t.Errorf("a key for another use: %q", got)
	}
	if got := set.Unusable("k0"); got != "" {
		t.Errorf("a good key: %q", got)
	}
}

func TestMetadataWithFaultsThatDoNotMatter(t *testing.T) {
	cfg := Config{Issuer: base}
	for name, text := range map[string]string{
		"unused member twice": `{"issuer":"` + base + `","jwks_uri":"` + base + `/jwks","x":1,"x":2}`,
		"Latin-1":             `{"issuer":"` + base + `","jwks_uri":"` + base + `/jwks","op_policy":"` + "\xe9" + `"}`,
	} {
		if m, err := parseMetadata(cfg, []byte(text)); err != nil || m.JWKSURI != base+"/jwks" {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"jwks_uri twice":     `{"issuer":"` + base + `","jwks_uri":"` + base + `/jwks","jwks_uri":"https://evil.example.com"}`,
		"http on loopback":   `{"issuer":"` + base + `","jwks_uri":"http://127.0.0.1/jwks"}`,
		"http to localhost":  `{"issuer":"` + base + `","jwks_uri":"HTTP://LOCALHOST/jwks"}`,
		"http to the issuer": `{"issuer":"` + base + `","jwks_uri":"http://login.example.com/jwks"}`,
	} {
		if m, err := parseMetadata(cfg, []byte(text)); err == nil {
			t.Errorf("%s: taken as %+v", name, m)
		}
		insecure := cfg
		insecure.InsecureHTTP = true
		if m, err := parseMetadata(insecure, []byte(text)); err == nil {
			t.Errorf("%s, with insecure_http: taken as %+v", name, m)
		}
	}
	text := `{"issuer":"` + base + `","jwks_uri":"` + base + `/jwks","authorization_endpoint":"http://localhost/login"}`
	if m, err := parseMetadata(cfg, []byte(text)); err != nil || m.AuthorizationEndpoint != "" {
		t.Errorf("an endpoint in clear text: %+v, %v", m, err)
	}
}

// Some answer only below the host, with OpenID's name in front of the path.
func TestMetadataInFrontOfThePath(t *testing.T) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	issuer := srv.URL + "/tenant"
	accepts := make(chan string, 8)
	mux.HandleFunc("/.well-known/openid-configuration/tenant", func(w http.ResponseWriter, r *http.Request) {
		accepts <- r.Header.Get("Accept")
		fmt.Fprintf(w, "\ufeff"+`{"issuer":%q,"jwks_uri":%q}`, issuer, srv.URL+"/jwks")
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(setOf(edKey("a"))) })
	e := start(t, Config{Issuer: issuer}, Options{})
	if _, err := e.Await(t.Context(), holds("a")); err != nil {
		t.Fatal(err)
	}
	if accept := <-accepts; !strings.HasSuffix(accept, "*/*;q=0.1") {
		t.Errorf("Accept: %s", accept)
	}
}

func TestRetryAfterIsHonored(t *testing.T) {
	for value, want := range map[string]time.Duration{"30": 30 * time.Second, "3600": maxRetryAfter, "nonsense": holdOff, "": holdOff} {
		bubble(t, func(t *testing.T, s *site) {
			s.status, s.header = http.StatusTooManyRequests, map[string]string{"Retry-After": value}
			e := start(t, Config{Issuer: base, JWKSURI: base + "/jwks"}, Options{Client: s.client()})
			e.Attach(Host{})
			synctest.Wait()
			equal(t, "fetches", s.keyHits.Load(), 1)
			time.Sleep(want - 2*time.Second)
			if want > holdOff {
				together(e, 1, invented)
				equal(t, "fetches before "+want.String(), s.keyHits.Load(), 1)
			}
			s.do(func() { s.status = 0 })
			time.Sleep(2*time.Second + time.Millisecond)
			equal(t, "outcomes", together(e, 1, func(int) func(*JWKS) bool { return holds("a") }), outcomes{good: 1})
		}, edKey("a"))
	}
}

// The fetch token is for the issuer; metadata may name any host for the keys.
func TestFetchTokenGoesToTheIssuerOnly(t *testing.T) {
	file := tempFile(t, "token", []byte("\ufeffsecret\n"))
	sent := make(chan string, 8)
	keys := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent <- r.Header.Get("Authorization")
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(setOf(edKey("a")))
	})
	other := httptest.NewServer(keys)
	t.Cleanup(other.Close)
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	s := serve(t)
	s.do(func() { s.meta["jwks_uri"] = elsewhere + "/jwks" })

	got := failure(t, Config{Issuer: s.base, FetchTokenFile: file}, Options{})
	if token := <-sent; token != "" {
		t.Errorf("another host was sent %q", token)
	}
	if !strings.Contains(got, "fetch_token_host") {
		t.Errorf("the error does not say what to do: %s", got)
	}
	for name, cfg := range map[string]Config{
		"named":      {Issuer: s.base, FetchTokenFile: file, FetchTokenHosts: []string{"LOCALHOST"}},
		"configured": {Issuer: s.base, FetchTokenFile: file, JWKSURI: elsewhere + "/jwks"},
	} {
		if _, err := start(t, cfg, Options{}).Await(t.Context(), holds("a")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if token := <-sent; token != "Bearer secret" {
			t.Errorf("%s: sent %q", name, token)
		}
	}
}

func TestIssuerGivenAsItsMetadata(t *testing.T) {
	for _, place := range []string{"/realms/a/.well-known/openid-configuration", "/.well-known/oauth-authorization-server/realms/a", "/.well-known/openid-configuration/realms/a"} {
		err := Config{Issuer: base + place}.Validate()
		if err == nil || !strings.Contains(err.Error(), `"`+base+`/realms/a"`) {
			t.Errorf("%s: got %v, want a hint at the identifier", place, err)
		}
	}
	for _, bad := range []Config{
		{Issuer: base, FetchTokenHosts: []string{"a"}},
		{Issuer: base, FetchTokenFile: "t", FetchTokenHosts: []string{"https://a"}},
		{Issuer: base, FetchTokenFile: "t", FetchTokenHosts: []string{"a:8443"}},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	good := Config{Issuer: base, FetchTokenFile: "t", FetchTokenHosts: []string{"a.example.com", "::1", "10.0.0.1"}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const someStatus = `{
	"version": "v0.1.0",
	"storage": "file_system /mnt/shared/caddy",
	"license": {"state":"expiring","is_valid":true,"verified_host":"","verify_error":"","key_id":"324be2de","type":"enterprise",
		"allowed_hosts":["gw.acme.example"],"description":"Acme Corp","features":["*"],"issued_at":1780315200,"expire_at":1781524800,"days_left":14,"sealed":true,"source":"file /etc/gatehouse/license.json","source_error":"stat /etc/gatehouse/license.json: no such file or directory","clock_suspect":true,"instance":"8adcb2ed1a79"},
	"issuers": %s,
	"accounts": {"active":3,"inactive":1,"expired":2,"loaded":true,"synced_at":"2026-06-01T11:59:58Z"},
	"refusals": {"expired":3,"audience":12,"scope":3},
	"new_member": 1
}`

const someIssuers = `[
	{"name":"acme","issuer":"https://login.acme.example","source":"discovery","healthy":true,
		"keys":[{"kid":"2026-05","kty":"RSA","alg":"RS256","use":"sig"},{"kid":"2026-06","kty":"EC"}],
		"fetched_at":"2026-06-01T11:50:00Z","next_refresh":"2026-06-01T12:05:00Z","last_error":"","last_error_at":null,"restored":false},
	{"name":"kept","issuer":"https://kept.example","source":"url https://kept.example/jwks","healthy":true,"keys":[],
		"fetched_at":"2026-05-31T12:00:00Z","next_refresh":"","restored":true,
		"introspection":{"endpoint":"https://kept.example/introspect","healthy":true,"active":12,"inactive":3,"failed":0,"limited":0,"answered_at":"2026-06-01T11:59:00Z","last_error":"","last_error_at":null}},
	{"name":"lost","issuer":"https://lost.example","source":"discovery","healthy":false,"keys":[],
		"fetched_at":null,"last_error":"GET https://lost.example: connection refused","last_error_at":"2026-06-01T11:59:00Z",
		"introspection":{"endpoint":"","healthy":false,"active":0,"inactive":0,"failed":7,"limited":2,"answered_at":null,"last_error":"the metadata are not known","last_error_at":"2026-06-01T11:58:00Z"}}
]`

func TestGoldenStatus(t *testing.T) {
	g, s := newSite(t)
	g.status = fmt.Sprintf(someStatus, someIssuers)
	r := s.must("status")
	golden(t, "status", strings.ReplaceAll(r.stdout, g.address(), "localhost:2019"))
	golden(t, "status.json", s.must("status", "--json").stdout)
	g.wantAsked("GET /api/status", "GET /api/status")
}

// TestGoldenStatusOfLittle shows a server without a license and accounts.
func TestGoldenStatusOfLittle(t *testing.T) {
	g, s := newSite(t)
	const nobody = `"issuers":[],"accounts":{"active":0,"inactive":0,"expired":0,"loaded":false,"synced_at":null}}`
	g.status = `{"license":{"state":"missing","verify_error":"there is no license: none was installed","sealed":false},` + nobody
	golden(t, "status.little", strings.ReplaceAll(s.must("status").stdout, g.address(), "localhost:2019"))
	g.status = `{"license":null,` + nobody
	if r := s.must("status"); !strings.Contains(r.stdout, "State  no license is asked for\n") {
		t.Errorf("without a license: %s", r.stdout)
	}
}

// A deployment has a fingerprint before its first license, for its vendor to sign one.
func TestStatusMakesTheFingerprint(t *testing.T) {
	g, s := newSite(t)
	const rest = `"issuers":[],"accounts":{"active":0,"inactive":0,"expired":0,"loaded":true,"synced_at":null%s}}`
	g.status = `{"license":{"state":"missing","instance":""},` + fmt.Sprintf(rest, "")
	s.must("status") // an older server
	g.wantAsked("GET /api/status", "POST /api/orgs/license/instance")
	g.says("POST /api/orgs/license/instance", answer{status: 200, body: `{"fingerprint":"8adcb2ed1a79"}`})
	s.must("status")
	g.wantAsked("GET /api/status", "POST /api/orgs/license/instance", "GET /api/status")
	g.status = `{"license":{"state":"missing","instance":""},` + fmt.Sprintf(rest, `,"storage_away":true`)
	s.run("status")
	g.status = `{"license":null,` + fmt.Sprintf(rest, "")
	s.must("status")
	g.wantAsked("GET /api/status", "GET /api/status")
}

// Storage out of reach is a failure for whoever watches the exit status.
func TestStatusWithStorageAway(t *testing.T) {
	g, s := newSite(t)
	g.status = strings.Replace(fmt.Sprintf(someStatus, someIssuers), `"loaded":true`, `"loaded":true,"storage_away":true`, 1)
	for _, args := range [][]string{{"status"}, {"status", "--json"}} {
		r := s.run(args...)
		if r.err == nil || !strings.Contains(r.stderr, "storage is out of reach of ") || !strings.Contains(r.stdout, "torage") {
			t.Errorf("%v: got %v, %q, %q", args, r.err, r.stderr, r.stdout)
		}
	}
}

// What went wrong in several ways is reported in one line.
func TestErrorsOfSeveralLines(t *testing.T) {
	g, s := newSite(t)
	g.issuers = `[{"name":"lost","issuer":"https://lost.example","last_error":"metadata: refused\nkeys: refused\n"}]`
	if r := s.must("keys"); !strings.Contains(r.stdout, "  metadata: refused; keys: refused\n") {
		t.Errorf("got %q", r.stdout)
	}
	g.says("POST /api/issuers/lost/refresh", answer{status: 502, body: `{"message":"metadata: refused\nkeys: refused"}`})
	if r := s.run("keys", "refresh", "lost"); !strings.Contains(r.stdout, "  metadata: refused; keys: refused\n") || !strings.Contains(r.stderr, "metadata: refused; keys") {
		t.Errorf("got %q %q", r.stdout, r.stderr)
	}
}

func TestGoldenKeys(t *testing.T) {
	g, s := newSite(t)
	g.issuers = someIssuers
	golden(t, "keys", s.must("keys").stdout)
	golden(t, "keys.json", s.must("keys", "--json").stdout)
}

func TestKeysRefresh(t *testing.T) {
	g, s := newSite(t)
	g.issuers = someIssuers
	g.says("POST /api/issuers/acme/refresh", answer{status: 200, body: `{"name":"acme","healthy":true,"keys":[{"kid":"a"},{"kid":"b"}]}`})
	g.says("POST /api/issuers/kept/refresh", answer{status: 204})
	g.says("POST /api/issuers/lost/refresh", answer{status: 502, body: `{"message":"the issuer does not answer"}`})

	r := s.run("keys", "refresh")
	if r.err == nil || !strings.Contains(r.stderr, "could not refresh 1 of 3 issuers") || !strings.Contains(r.stderr, "the issuer does not answer") {
		t.Errorf("got %v", r.err)
	}
	golden(t, "refresh", r.stdout)
	g.wantAsked("GET /api/issuers", "POST /api/issuers/acme/refresh", "POST /api/issuers/kept/refresh", "POST /api/issuers/lost/refresh")

	golden(t, "refresh.json", s.must("keys", "refresh", "acme", "--json").stdout)
	g.wantAsked("POST /api/issuers/acme/refresh")
	if r := s.run("keys", "refresh", "lost"); r.err == nil || !strings.Contains(r.stderr, "HTTP 502 Bad Gateway: the issuer does not answer") {
		t.Errorf("got %v", r.err)
	}
	g.says("POST /api/issuers/a%2Fb/refresh", answer{status: 200, body: `{"last_error":"HTTP 500"}`})
	if r := s.run("keys", "refresh", "a/b"); r.err == nil || !strings.Contains(r.stderr, "a/b: HTTP 500") || !strings.Contains(r.stdout, "failed") {
		t.Errorf("got %v %s", r.err, r.stdout)
	}
}

const someExplanation = `{"verdict":"refused","reason":"audience","message":"the token is for another audience","issuer":"acme",
	"rules":[{"rule":"issuer","held":true,"expected":["acme"],"found":"acme"},
		{"rule":"audience","held":false,"expected":["https://gw.acme.example"],"found":["a","b"]},
		{"rule":"scope","held":null,"expected":"gateway.read","found":null}],
	"claims":{"sub":"ci-deploy","exp":1780318800,"groups":["x","y"],"nested":{"a":[1,true]},"ratio":0.5,"none":null}}`

func TestGoldenExplain(t *testing.T) {
	g, s := newSite(t)
	g.says("POST /api/tokens/explain", answer{status: 200, body: someExplanation})
	const token = "aaaa.bbbb.cccc"
	golden(t, "explain", s.typed(token+"\n").must("token", "explain").stdout)
	golden(t, "explain.json", s.typed("Bearer "+token).must("token", "explain", "--json").stdout)
	for _, body := range g.bodies {
		if body != `{"token":"`+token+`"}` {
			t.Errorf("sent %s", body)
		}
	}
	s.typed(token).must("token", "explain", "--rule", "payments")
	if last := g.bodies[len(g.bodies)-1]; last != `{"rule":"payments","token":"`+token+`"}` {
		t.Errorf("sent %s", last)
	}
}

// Nothing of an explanation is cut: what is long goes on below.
func TestExplainShowsAll(t *testing.T) {
	g, s := newSite(t)
	var list []string
	for i := range 9 {
		list = append(list, fmt.Sprintf("https://gateway-%d.acme.example/api", i))
	}
	name, whole := "https://claims.acme.example/"+strings.Repeat("x", 60), strings.Repeat("y", 200)
	body, err := json.Marshal(map[string]any{
		"verdict": "refused", "reason": "audience",
		"rules":  []any{map[string]any{"rule": "audience", "held": false, "expected": list, "found": []string{whole}}},
		"claims": map[string]any{name: list},
	})
	if err != nil {
		t.Fatal(err)
	}
	g.says("POST /api/tokens/explain", answer{status: 200, body: string(body)})
	r := s.typed("aaaa.bbbb.cccc").must("token", "explain")
	for _, text := range append(list, name, whole) {
		if strings.Count(r.stdout, text) < 1 {
			t.Errorf("%s is not shown:\n%s", text, r.stdout)
		}
	}
	if strings.Contains(r.stdout, "...") || !strings.Contains(r.stdout, "https://gateway-0.acme.example/api,  "+whole+"\n") {
		t.Errorf("got\n%s", r.stdout)
	}
}

// TestExplainOnATerminal asks for the token, and uses marks where they can be
// shown.
func TestExplainOnATerminal(t *testing.T) {
	g, s := newSite(t)
	g.says("POST /api/tokens/explain", answer{status: 200, body: someExplanation})
	s.program.terminal = func(any) bool { return true }
	s.program.secret = func(any) ([]byte, error) { return []byte("aaaa.bbbb.cccc"), nil }
	for locale, marks := range map[string]bool{"en_US.UTF-8": true, "C.utf8": true, "C": false, "": false} {
		s.env["LANG"] = locale
		r := s.must("token", "explain")
		if strings.Contains(r.stdout, "✓") != marks || strings.Contains(r.stdout, "✗") != marks {
			t.Errorf("%s: got %s", locale, r.stdout)
		}
		if !strings.Contains(r.stderr, "Token (not shown)") || strings.Contains(r.stdout+r.stderr, "aaaa") {
			t.Errorf("%s: stderr is %q", locale, r.stderr)
		}
	}
	s.env["LC_ALL"], s.env["LANG"] = "C", "en_US.UTF-8"
	if r := s.must("token", "explain"); strings.Contains(r.stdout, "✓") {
		t.Error("LC_ALL is passed over")
	}
	s.program.secret = func(any) ([]byte, error) { return nil, errors.New("hung up") }
	s.fails([]string{"hung up"}, "token", "explain")
}

func TestExplainBadInput(t *testing.T) {
	g, s := newSite(t)
	for text, want := range map[string]string{
		"": "stdin holds no token", " \n": "stdin holds no token", "\xff": "stdin holds no token", strings.Repeat("a", 50000): "more than 49152 bytes",
	} {
		s.typed(text).fails([]string{want}, "token", "explain")
	}
	g.wantAsked()
	const token = "aaaa.bbbb.cccc"
	g.says("POST /api/tokens/explain", answer{status: 500, body: `{"message":"cannot read ` + strings.Repeat("x", 1980) + token + `"}`})
	if r := s.typed(token).fails([]string{"HTTP 500"}, "token", "explain"); strings.Contains(r.stderr, "aaaa") {
		t.Errorf("the token is shown: %s", r.stderr)
	}
	g.says("POST /api/tokens/explain", answer{status: 200, body: `{}`})
	s.typed(token).fails([]string{"holds no verdict"}, "token", "explain")
}

func TestSSOURL(t *testing.T) {
	g, s := newSite(t)
	const address = "https://login.acme.example/auth?client_id=a&state=b%20c"
	body, _ := json.Marshal(map[string]string{"url": address})
	g.says("GET /api/v4/sso_url", answer{status: 200, body: string(body)})
	if r := s.must("sso-url", "--product", "p & q", "--account", "acme"); r.stdout != address+"\n" || r.stderr != "" {
		t.Errorf("got %q %q", r.stdout, r.stderr)
	}
	g.wantAsked("GET /api/v4/sso_url?customer_account_code=acme&product=p+%26+q")
	r := s.must("sso-url", "--product", "p", "--account", "a", "--response-type", "code", "--redirect-uri", "http://127.0.0.1/cb", "--state", "s", "--nonce", "n", "--json")
	var got struct{ URL string }
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || got.URL != address {
		t.Errorf("got %s", r.stdout)
	}
	g.wantAsked("GET /api/v4/sso_url?customer_account_code=a&nonce=n&product=p&redirect_uri=http%3A%2F%2F127.0.0.1%2Fcb&response_type=code&state=s")
}

func TestSSOURLRefusals(t *testing.T) {
	g, s := newSite(t)
	s.fails([]string{`required flag(s) "account", "product" not set`}, "sso-url")
	s.fails([]string{"--product is empty"}, "sso-url", "--product", "", "--account", "a")
	s.fails([]string{"--state is empty"}, "sso-url", "--product", "p", "--account", "a", "--state", "")
	g.wantAsked()
	g.says("GET /api/v4/sso_url", answer{status: 400, body: `{"status":400,"code":"unknown_product","message":"Provided product was not found"}`})
	s.fails([]string{"HTTP 400 Bad Request: unknown_product: Provided product was not found"}, "sso-url", "--product", "p", "--account", "a")
	g.says("GET /api/v4/sso_url", answer{status: 200, body: `{"url":""}`})
	s.fails([]string{"holds no url"}, "sso-url", "--product", "p", "--account", "a")
}

func TestInstall(t *testing.T) {
	g, s := newSite(t)
	text := s.license()
	golden(t, "install", s.typed(text).must("install", "-").stdout)
	golden(t, "install.json", s.typed(text).must("install", "--json", "--host", "gw.acme.example:443", "-").stdout)
	g.wantAsked("PUT /api/orgs/license", "PUT /api/orgs/license?host=gw.acme.example%3A443")
	if g.bodies[0] != text {
		t.Errorf("sent %s", g.bodies[0])
	}
}

// TestInstallRefusals sends nothing that is no license, such as a key that was
// named by mistake.
func TestInstallRefusals(t *testing.T) {
	g, s := newSite(t)
	key := s.vendorKey()
	s.fails([]string{"is no license"}, "install", key)
	s.fails([]string{"stdin is no license"}, "install", "-")
	s.fails([]string{"no-such-file"}, "install", "no-such-file")
	s.fails([]string{"--host is empty"}, "install", "--host", "", key)
	g.wantAsked()
	g.says("PUT /api/orgs/license", answer{status: 409, body: `{"message":"a license file is configured"}`})
	s.typed(s.license()).fails([]string{"HTTP 409 Conflict: a license file is configured"}, "install", "-")
	g.says("PUT /api/orgs/license", answer{status: 400, body: `{"message":"none of the hosts is covered"}`})
	s.typed(s.license()).fails([]string{"HTTP 400 Bad Request: none of the hosts is covered"}, "install", "--json", "-")
}

func (g *site) signed(n int, l string) {
	for i := range n {
		g.licenses = append(g.licenses, fmt.Sprintf(`{"id":"%04d","signed_at":"2026-05-%02dT00:00:00Z","actor":"acme/vendor","key_id":"324be2dea8bc44461b02","license":%s}`, i, 28-i%28, l))
	}
}

func TestGoldenLicenses(t *testing.T) {
	g, s := newSite(t)
	g.signed(2, s.license())
	g.licenses = append(g.licenses, `{"id":"0003","signed_at":"2026-04-01T00:00:00Z","actor":"","license":null,"error":"damaged"}`)
	golden(t, "licenses", s.must("licenses").stdout)
	golden(t, "licenses.json", s.must("licenses", "--json").stdout)
	g.wantAsked("GET /api/orgs/licenses?limit=200", "GET /api/orgs/licenses?limit=200")
}

func TestLicensePages(t *testing.T) {
	g, s := newSite(t)
	if r := s.must("licenses", "--json"); r.stdout != "{\n  \"licenses\": []\n}\n" {
		t.Errorf("none: got %q", r.stdout)
	}
	g.signed(401, `{}`)
	g.got()
	if r := s.must("licenses"); strings.Count(r.stdout, "\n") != 402 {
		t.Errorf("got %d lines", strings.Count(r.stdout, "\n"))
	}
	g.wantAsked("GET /api/orgs/licenses?limit=200", "GET /api/orgs/licenses?after=0199&limit=200", "GET /api/orgs/licenses?after=0399&limit=200")
	if r := s.must("licenses", "--limit", "3", "--after", "0009"); strings.Count(r.stdout, "\n") != 4 || !strings.Contains(r.stdout, "0010") {
		t.Errorf("got %s", r.stdout)
	}
	g.wantAsked("GET /api/orgs/licenses?after=0009&limit=3")
	s.fails([]string{"--limit is 0"}, "licenses", "--limit", "0")
	page := `{"licenses":[` + strings.TrimSuffix(strings.Repeat(`{"id":"same"},`, 200), ",") + `]}`
	g.says("GET /api/orgs/licenses", answer{status: http.StatusOK, body: page})
	s.fails([]string{"does not go on from page to page"}, "licenses")
	g.says("GET /api/orgs/licenses", answer{status: http.StatusOK, body: `{"licenses":[[]]}`})
	s.fails([]string{"is not what Gatehouse answers"}, "licenses")
}

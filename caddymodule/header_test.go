package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// recorder is an upstream that keeps the last request as it came, with its
// target byte for byte and its trailers.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	last *http.Request
}

func newRecorder(t *testing.T) *recorder {
	t.Helper()
	rec := new(recorder)
	rec.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // trailers come behind the body
		rec.mu.Lock()
		defer rec.mu.Unlock()
		rec.last = r
	}))
	t.Cleanup(rec.Close)
	return rec
}

// take gives the last request, once.
func (rec *recorder) take(t *testing.T) *http.Request {
	t.Helper()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if rec.last == nil {
		t.Fatal("no request reached the upstream")
	}
	last := rec.last
	rec.last = nil
	return last
}

const identities = `{
	GLOBALS
	servers {
		protocols h1 h2c
		expected_underscore_headers X_Auth_* x_auth_* X_AUTH_* X-Auth_Subject X_Auth-Subject X_auth_subject X-auth_subject X_Auth.Subject
		expected_dot_headers X.Auth.* X-Auth.Subject X_Auth.Subject
	}
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	log
	@plain path /plain*
	bearer_auth @plain {
		header X-Auth-Subject {http.auth.user.id}
		header x-auth-groups {http.auth.user.groups}
		header X-Auth-Mixed "{http.auth.user.kind}:{http.auth.user.claims.dept}"
		header X-Auth-Dept {http.auth.user.claims.dept}
	}
	@optional path /optional*
	bearer_auth @optional {
		optional
		header X-Auth-Subject {http.auth.user.id}
	}
	@preflight path /preflight*
	bearer_auth @preflight {
		preflight pass
		token_from cookie session
		token_from query access_token
		header X-Auth-Subject {http.auth.user.id}
	}
	@strip path /strip*
	bearer_auth @strip {
		strip_token
		token_from cookie session
		token_from query access_token
	}
	@keep path /keep*
	bearer_auth @keep {
		token_from cookie session
		token_from query access_token
	}
	reverse_proxy UPSTREAM
}
`

func startIdentities(t *testing.T) (*gateway, *idp.Issuer, *recorder) {
	issuer, rec := newIssuer(t), newRecorder(t)
	return start(t, identities, "ISSUER", issuer.URL, "UPSTREAM", rec.URL), issuer, rec
}

// spellings are names that a backend may read as X-Auth-Subject.
var spellings = []string{
	"X-Auth-Subject", "x-auth-subject", "X-AUTH-SUBJECT", "x_auth_subject", "X_Auth_Subject", "X_AUTH_SUBJECT",
	"X-Auth_Subject", "X_Auth-Subject", "X.Auth.Subject", "X-Auth.Subject", "X_Auth.Subject", "X-AUTH_SUBJECT",
	"X~Auth~Subject", "X!Auth|Subject", "X'Auth`Subject",
}

// raw sends bytes as they are and gives the status of the answer.
func (g *gateway) raw(t *testing.T, text string) int {
	t.Helper()
	conn, err := net.Dial("tcp", g.site)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// folded gives every header, or trailer, that may be read as X-Auth-Subject.
func folded(headers http.Header) (found []string) {
	for name, values := range headers {
		plain := strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '-'
		}, strings.ToLower(name))
		if plain == "x-auth-subject" {
			found = append(found, name+": "+strings.Join(values, "|"))
		}
	}
	return found
}

func TestSpoofedIdentityHeaders(t *testing.T) {
	g, issuer, rec := startIdentities(t)
	token := mint(issuer, claims{"sub": "jane"})
	kinds := []struct{ name, head, want string }{
		{"with a token", "GET /plain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n", "[X-Auth-Subject: jane]"},
		{"anonymous", "GET /optional HTTP/1.1\r\nHost: x\r\n", "[]"},
		{"anonymous with Basic", "GET /optional HTTP/1.1\r\nHost: x\r\nAuthorization: Basic dTpw\r\n", "[]"},
		{"preflight", "OPTIONS /preflight HTTP/1.1\r\nHost: x\r\nOrigin: https://a\r\nAccess-Control-Request-Method: GET\r\n", "[]"},
	}
	for _, kind := range kinds {
		kind.head = strings.Replace(kind.head, "Host: x", "Host: "+g.site, 1)
		for _, spelling := range append(slices.Clone(spellings), "X-Auth-Subject: a\r\nX-Auth-Subject") {
			t.Run(kind.name+" "+strings.ReplaceAll(spelling, "\r\n", " "), func(t *testing.T) {
				if status := g.raw(t, kind.head+spelling+": admin\r\nConnection: close\r\n\r\n"); status != 200 {
					t.Fatalf("got status %d, want 200", status)
				}
				if got := fmt.Sprint(folded(rec.take(t).Header)); got != kind.want {
					t.Errorf("the upstream got %s, want %s", got, kind.want)
				}
			})
		}
	}
}

// Were Caddy itself to drop all of these spellings, the test above would say
// nothing.
func TestSpoofedSpellingsReachTheGate(t *testing.T) {
	issuer, rec := newIssuer(t), newRecorder(t)
	g := start(t, identitySites, "BODY", "bearer_auth\n\treverse_proxy "+rec.URL, "ISSUER", issuer.URL)
	token := mint(issuer, nil)
	for _, spelling := range spellings {
		g.raw(t, "GET /keep HTTP/1.1\r\nHost: "+g.site+"\r\nAuthorization: Bearer "+token+"\r\n"+spelling+": admin\r\nConnection: close\r\n\r\n")
		if len(folded(rec.take(t).Header)) == 1 {
			continue
		}
		if !strings.ContainsAny(spelling, "-") && !strings.ContainsAny(spelling, "_.") {
			t.Errorf("%s did not get through", spelling)
		}
	}
	g.raw(t, "GET /keep HTTP/1.1\r\nHost: "+g.site+"\r\nAuthorization: Bearer "+token+"\r\nX_Auth_Subject: admin\r\nConnection: close\r\n\r\n")
	if got := folded(rec.take(t).Header); len(got) != 1 {
		t.Errorf("with the server's allow list the upstream got %v, want the header", got)
	}
}

func TestSpoofedTrailers(t *testing.T) {
	g, issuer, rec := startIdentities(t)
	token := mint(issuer, claims{"sub": "jane"})
	for name, announced := range map[string]string{
		"announced":                 "X-Auth-Subject",
		"announced among others":    "X-Sum, x_auth_subject, X-Auth-Subject",
		"announced as another":      "X-Sum",
		"announced in another case": "x-auth-subject",
	} {
		t.Run(name, func(t *testing.T) {
			status := g.raw(t, "POST /plain HTTP/1.1\r\nHost: "+g.site+"\r\nAuthorization: Bearer "+token+"\r\nTransfer-Encoding: chunked\r\nTrailer: "+announced+
				"\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nX-Auth-Subject: admin\r\nx_auth_subject: admin\r\nX-Sum: 1\r\n\r\n")
			if status != 200 {
				t.Fatalf("got status %d, want 200", status)
			}
			last := rec.take(t)
			if got := folded(last.Trailer); len(got) > 0 {
				t.Errorf("the upstream got the trailers %v", got)
			}
			if got := fmt.Sprint(folded(last.Header)); got != "[X-Auth-Subject: jane]" {
				t.Errorf("the upstream got %s", got)
			}
			if strings.Contains(announced, "X-Sum") && last.Trailer.Get("X-Sum") != "1" {
				t.Errorf("the upstream got the trailers %v, want X-Sum left alone", last.Trailer)
			}
		})
	}
}

func TestConnectionCannotNameIdentityHeaders(t *testing.T) {
	g, issuer, rec := startIdentities(t)
	token := mint(issuer, claims{"sub": "jane"})
	for _, named := range []string{
		"X-Auth-Subject", "x-auth-subject", "close, X-Auth-Subject", "X-Auth-Subject,close", "X_Auth_Subject , X-Auth-Subject",
		"Authorization", "X-Other, Authorization", "keep-alive\r\nConnection: X-Auth-Subject",
	} {
		t.Run(strings.ReplaceAll(named, "\r\n", " "), func(t *testing.T) {
			status := g.raw(t, "GET /plain HTTP/1.1\r\nHost: "+g.site+"\r\nAuthorization: Bearer "+token+"\r\nX-Other: 1\r\nConnection: "+named+"\r\n\r\n")
			last := rec.take(t)
			if status != 200 || last.Header.Get("X-Auth-Subject") != "jane" || last.Header.Get("Authorization") != "Bearer "+token {
				t.Errorf("got status %d, the upstream got %v", status, last.Header)
			}
			if strings.Contains(named, "X-Other") && last.Header.Get("X-Other") != "" {
				t.Error("X-Other is the client's to name, but reached the upstream")
			}
		})
	}
}

// A preflight as browsers send it passes, and nothing that is more than one.
func TestPreflights(t *testing.T) {
	g, issuer, rec := startIdentities(t)
	token := mint(issuer, nil)
	origin, method := header("Origin", "https://a"), header("Access-Control-Request-Method", "PUT")
	got := g.send(http.MethodOptions, "/preflight?a=1", origin, method, header("Access-Control-Request-Headers", "authorization"),
		header("Sec-Fetch-Mode", "cors"), header("X-Api-Key", "k"), header("X-Original-Url", "/admin"), header("X-Auth-Subject", "admin"))
	last := rec.take(t)
	if got.status != 200 || last.RequestURI != "/preflight?a=1" || last.Header.Get("Origin") != "https://a" ||
		last.Header.Get("Access-Control-Request-Method") != "PUT" || last.Header.Get("Access-Control-Request-Headers") != "authorization" ||
		last.Header.Get("Sec-Fetch-Mode") != "cors" || last.Header.Get("X-Forwarded-For") == "" {
		t.Errorf("got %d; the upstream got %s and %v, want the preflight", got.status, last.RequestURI, last.Header)
	}
	for _, name := range []string{"X-Api-Key", "X-Original-Url", "X-Auth-Subject"} {
		if value := last.Header.Get(name); value != "" {
			t.Errorf("the upstream got %s: %s, which is no part of a preflight", name, value)
		}
	}
	noToken := refused{401, `Bearer realm="gatehouse"`, ""}
	noToken.check(t, g.send(http.MethodOptions, "/plain", origin, method), "")
	noToken.check(t, g.send(http.MethodOptions, "/preflight", origin), "")
	noToken.check(t, g.send(http.MethodOptions, "/preflight", method), "")
	noToken.check(t, g.send(http.MethodGet, "/preflight", origin, method), "")
	for name, more := range map[string][]edit{
		"two origins":  {header("Origin", "https://a", "https://b")},
		"Upgrade":      {header("Upgrade", "websocket"), header("Connection", "Upgrade")},
		"body":         {body("x", 1)},
		"chunked body": {body("x", -1)},
		"Cookie":       {header("Cookie", "a=b")},
		"Basic":        {header("Authorization", "Basic dTpw")},
		"override":     {header("X-Http-Method-Override", "DELETE")},
		"upper case":   {header("X-HTTP-METHOD", "DELETE")},
		"another":      {header("X-Method-Override", "DELETE")},
		"gRPC":         {header("Content-Type", "application/grpc")},
	} {
		t.Run(name, func(t *testing.T) {
			noToken.check(t, g.send(http.MethodOptions, "/preflight", append([]edit{origin, method}, more...)...), "")
		})
	}
	for place, with := range map[string][]string{"cookie": {"", "session=" + token}, "query": {"?access_token=" + token, ""}} {
		edits := []edit{origin, method}
		if with[1] != "" {
			edits = append(edits, header("Cookie", with[1]))
		}
		got := g.send(http.MethodOptions, "/preflight"+with[0], edits...)
		if last := rec.take(t); got.status != 200 || last.Header.Get("X-Auth-Subject") == "" {
			t.Errorf("with a token in the %s: got %d and %v, want a request like others", place, got.status, last.Header)
		}
	}
}

func body(text string, length int64) edit {
	return func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), length }
}

func TestIdentityHeaderValues(t *testing.T) {
	g, issuer, rec := startIdentities(t)
	for _, c := range []struct {
		name   string
		claims claims
		header string
		want   string
	}{
		{"subject", claims{"sub": "jane"}, "X-Auth-Subject", "[jane]"},
		{"not ASCII", claims{"sub": "Jürgen Müller"}, "X-Auth-Subject", "[Jürgen Müller]"},
		{"comma in a text", claims{"sub": "a,b"}, "X-Auth-Subject", "[a,b]"},
		{"list", claims{"groups": []string{"a", "b"}}, "X-Auth-Groups", "[a,b]"},
		{"comma in an element", claims{"groups": []string{"a", "b,admins", "c"}}, "X-Auth-Groups", "[a,c]"},
		{"nothing but commas", claims{"groups": []string{"a,b"}}, "X-Auth-Groups", "[]"},
		{"absent", nil, "X-Auth-Groups", "[]"},
		{"absent within a text", nil, "X-Auth-Mixed", "[user:]"},
		{"within a text", claims{"dept": "ops"}, "X-Auth-Mixed", "[user:ops]"},
		{"a brace is no placeholder", claims{"dept": "{http.auth.user.id}"}, "X-Auth-Mixed", "[user:{http.auth.user.id}]"},
		{"a number", claims{"dept": 7}, "X-Auth-Dept", "[7]"},
		{"a boolean", claims{"dept": false}, "X-Auth-Dept", "[false]"},
		{"null", claims{"dept": nil}, "X-Auth-Dept", "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := g.get("/plain", bearer(issuer.Mint(c.claims))); got.status != 200 {
				t.Fatalf("got %d %v", got.status, got.header)
			}
			if got := fmt.Sprint(rec.take(t).Header[c.header]); got != c.want {
				t.Errorf("the upstream got %s %s, want %s", c.header, got, c.want)
			}
		})
	}
	if !strings.Contains(g.log(), "an element of a list holds a comma, or has a blank at an end, and was left out of an identity header") {
		t.Error("an element left out is not warned about")
	}
	uncarried := invalidToken("a claim of the token cannot be carried in a header")
	for _, value := range []string{"a\r\nX-Evil: 1", "a\nb", "a\x00b", "a\x7fb", "a\x1bb"} {
		uncarried.check(t, g.get("/plain", bearer(issuer.Mint(claims{"sub": value}))), "")
		uncarried.check(t, g.get("/plain", bearer(issuer.Mint(claims{"dept": value}))), "")
		uncarried.check(t, g.get("/plain", bearer(issuer.Mint(claims{"groups": []string{value}}))), "")
	}
}

func TestTokenIsTakenOutAndTheRestLeftAlone(t *testing.T) {
	g, issuer, rec := startIdentities(t)
	token := mint(issuer, nil)
	for _, c := range []struct{ name, query, cookie, wantQuery, wantCookie string }{
		{"query first", "?access_token=TOKEN&b=%2F+%20&c", "", "?b=%2F+%20&c", ""},
		{"query in the middle", "?a=1&access_token=TOKEN&a=2&%zz=;", "", "?a=1&a=2&%zz=;", ""},
		{"query under an escaped name", "?a=%61&access%5ftoken=TOKEN", "", "?a=%61", ""},
		{"query alone", "?access_token=TOKEN", "", "", ""},
		{"cookie first", "?q=%41", "session=TOKEN; a=b; c=\"d e\"", "?q=%41", "a=b; c=\"d e\""},
		{"cookie in the middle", "", "a=b; session=TOKEN; Session=x; sessions=y", "", "a=b; Session=x; sessions=y"},
		{"cookie alone", "", "session=TOKEN", "", ""},
		{"cookies without a name", "", "x; session=TOKEN; =y", "", "x; =y"},
	} {
		for _, path := range []string{"/strip/%2e%2F;p/a+b", "/keep/%41//c"} {
			t.Run(c.name+path[:5], func(t *testing.T) {
				edits := []edit{}
				if c.cookie != "" {
					edits = append(edits, header("Cookie", strings.ReplaceAll(c.cookie, "TOKEN", token)))
				}
				if got := g.get(path+strings.ReplaceAll(c.query, "TOKEN", token), edits...); got.status != 200 {
					t.Fatalf("got %d %v", got.status, got.header)
				}
				last := rec.take(t)
				if last.RequestURI != path+c.wantQuery {
					t.Errorf("the upstream got %s, want %s", last.RequestURI, path+c.wantQuery)
				}
				if got := strings.Join(last.Header["Cookie"], "|"); got != c.wantCookie {
					t.Errorf("the upstream got the cookies %q, want %q", got, c.wantCookie)
				}
				want := map[bool]string{true: "", false: "Bearer " + token}[strings.HasPrefix(path, "/strip")]
				if got := strings.Join(last.Header["Authorization"], "|"); got != want {
					t.Errorf("the upstream got Authorization %q, want %q", got, want)
				}
			})
		}
	}
}

const namesakes = `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		MORE
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth {
		LINES
	}
	respond ok
}
`

// Two issuers may call two callers by one name: where the upstream gets nothing but the
// name, the log says so.
func TestNamesakesOfTwoIssuersAreWarnedOf(t *testing.T) {
	const warning = "callers of several issuers are handed on by a name alone"
	first, second := newIssuer(t), newIssuer(t)
	other := "issuer " + second.URL + " {\n name partner\n audience https://gateway.example.com\n }"
	for name, c := range map[string]struct {
		more, lines string
		warned      bool
	}{
		"the subject alone":      {other, "header X-User {http.auth.user.id}", true},
		"the address alone":      {other, "header X-Mail {http.auth.user.email}", true},
		"with the issuer":        {other, "header X-User {http.auth.user.issuer}/{http.auth.user.id}", false},
		"of one issuer":          {other, "issuer acme\nheader X-User {http.auth.user.id}", false},
		"of the only issuer":     {"", "header X-User {http.auth.user.id}", false},
		"no name":                {other, "header X-Groups {http.auth.user.groups}", false},
		"no headers":             {other, "", false},
		"both are named, and it": {other, "issuer acme partner\nheader X-User {http.auth.user.id}", true},
	} {
		g := start(t, namesakes, "ISSUER", first.URL, "MORE", c.more, "LINES", c.lines)
		if warned := strings.Contains(g.log(), warning); warned != c.warned {
			t.Errorf("%s: warned is %v, expected %v", name, warned, c.warned)
		}
	}
}

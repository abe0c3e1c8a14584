package caddymodule_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const identitySites = `{
	GLOBALS
	servers {
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
(gate) {
	bearer_auth {args[0]} {
		header X-Auth-Subject {http.auth.user.id}
		{block}
	}
}
http://SITE {
	bind 127.0.0.1
	log
	BODY
}
`

// What a matcher leaves out is left out by the client's word as often as not, so
// identity headers are cleaned for all requests of a site.
func TestIdentityHeadersAreCleanedWhateverTheMatcherSays(t *testing.T) {
	issuer, rec := newIssuer(t), newRecorder(t)
	token := mint(issuer, claims{"sub": "jane", "groups": []string{"ops"}})
	for name, body := range map[string]string{
		"a matcher of a header": `
			@guarded not header Api-Key *
			bearer_auth @guarded {
				header X-Auth-Subject {http.auth.user.id}
			}
			reverse_proxy UPSTREAM`,
		"a path": `
			bearer_auth /in/* {
				header X-Auth-Subject {http.auth.user.id}
			}
			reverse_proxy UPSTREAM`,
		"several": `
			bearer_auth /in/* {
				header X-Auth-Subject {http.auth.user.id}
			}
			@guarded not header Api-Key *
			bearer_auth @guarded {
				header X_Auth_Subject {http.auth.user.id}
				header X-Auth-Groups {http.auth.user.groups}
			}
			reverse_proxy UPSTREAM`,
		"route": `
			route {
				bearer_auth /in/* {
					header X-Auth-Subject {http.auth.user.id}
				}
				bearer_auth /out/* {
					header X-Auth-Subject {http.auth.user.id}
				}
				reverse_proxy UPSTREAM
			}`,
		"a snippet": `
			import gate /in/*
			handle {
				reverse_proxy UPSTREAM
			}`,
		"handle, cleaned by hand": `
			identity_headers X-Auth-Subject
			handle /in/* {
				bearer_auth {
					header X-Auth-Subject {http.auth.user.id}
				}
				reverse_proxy UPSTREAM
			}
			handle {
				reverse_proxy UPSTREAM
			}`,
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, identitySites, "BODY", strings.ReplaceAll(body, "UPSTREAM", rec.URL), "ISSUER", issuer.URL)
			for _, spelling := range spellings {
				if got := g.get("/other", header("Api-Key", "x"), header(spelling, "admin")); got.status != 200 {
					t.Fatalf("got %d", got.status)
				}
				if got := folded(rec.take(t).Header); len(got) > 0 {
					t.Errorf("%s: the upstream got %v", spelling, got)
				}
			}
			for _, path := range []string{"/in/x"} {
				for _, spelling := range spellings {
					if got := g.get(path, bearer(token), header(spelling, "admin")); got.status != 200 {
						t.Fatalf("got %d", got.status)
					}
					last := rec.take(t).Header
					if got := folded(last); len(got) == 0 || strings.Contains(fmt.Sprint(got), "admin") {
						t.Errorf("%s: the upstream got %v, want jane alone", spelling, got)
					}
				}
			}
			status := g.raw(t, "POST /other HTTP/1.1\r\nHost: "+g.site+"\r\nApi-Key: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-Auth-Subject\r\nConnection: close\r\n\r\n0\r\nX-Auth-Subject: admin\r\n\r\n")
			if got := folded(rec.take(t).Trailer); status != 200 || len(got) > 0 {
				t.Errorf("got %d, and the trailers %v", status, got)
			}
			if strings.Contains(g.log(), "are not cleaned") {
				t.Errorf("a warning for nothing:\n%s", g.log())
			}
		})
	}
}

// What a bearer_auth inside a handle cannot reach is warned of.
func TestIdentityHeadersOutOfReach(t *testing.T) {
	issuer, rec := newIssuer(t), newRecorder(t)
	inside := "handle /in/* {\nbearer_auth {\nheader X-Auth-Subject {http.auth.user.id}\n}\nreverse_proxy UPSTREAM\n}\n"
	for body, warned := range map[string]bool{
		inside + "handle {\nreverse_proxy UPSTREAM\n}":                                       true,
		inside + "reverse_proxy UPSTREAM":                                                    true,
		inside + "handle {\nrespond page\n}":                                                 false,
		"identity_headers X-Auth-Subject\n" + inside + "handle {\nreverse_proxy UPSTREAM\n}": false,
	} {
		g := start(t, identitySites, "BODY", strings.ReplaceAll(body, "UPSTREAM", rec.URL), "ISSUER", issuer.URL)
		if got := strings.Contains(g.log(), "identity headers are not cleaned of all requests"); got != warned {
			t.Errorf("%s: warned %t, want %t", body, got, warned)
		}
		g.stop()
	}
}

// Two gates of one request: what the outer one has set stays.
func TestTrueIdentityHeadersStay(t *testing.T) {
	issuer, rec := newIssuer(t), newRecorder(t)
	g := start(t, identitySites, "ISSUER", issuer.URL, "BODY", strings.ReplaceAll(`
		route {
			bearer_auth {
				header X-Auth-Subject {http.auth.user.id}
			}
			bearer_auth /* {
				header X-Auth-Kind {http.auth.user.kind}
			}
			bearer_auth /elsewhere {
				header X-Auth-Subject {http.auth.user.id}
				header X-Auth-Kind {http.auth.user.kind}
			}
			reverse_proxy UPSTREAM
		}`, "UPSTREAM", rec.URL))
	got := g.get("/", bearer(issuer.Mint(claims{"sub": "jane", "sid": "1"})), header("x_auth_subject", "admin"), header("X-Auth-Kind", "admin"))
	last := rec.take(t).Header
	if got.status != 200 || fmt.Sprint(folded(last)) != "[X-Auth-Subject: jane]" || last.Get("X-Auth-Kind") != "user" {
		t.Errorf("got %d, the upstream got %v", got.status, last)
	}
}

// What HTTP drops at the ends of a header's value would make alice of "alice ".
func TestIdentityHeadersAreCarriedUnchanged(t *testing.T) {
	g, issuer, rec := startIdentities(t)
	uncarried := invalidToken("a claim of the token cannot be carried in a header")
	for _, value := range []string{"alice ", " alice", "\talice", "alice\t", " ", "\t"} {
		for range 2 { // new, and remembered
			uncarried.check(t, g.get("/plain", bearer(issuer.Mint(claims{"sub": value}))), "")
			uncarried.check(t, g.get("/plain", bearer(issuer.Mint(claims{"dept": value}))), "")
		}
		got := g.get("/plain", bearer(issuer.Mint(claims{"groups": []string{"a", value, "b"}})))
		if groups := rec.take(t).Header.Get("X-Auth-Groups"); got.status != 200 || groups != "a,b" {
			t.Errorf("%q: got %d and the groups %q, want a,b", value, got.status, groups)
		}
	}
	token := mint(issuer, claims{"sub": "a b", "dept": "c d"})
	if got := g.get("/plain", bearer(token)); got.status != 200 || rec.take(t).Header.Get("X-Auth-Subject") != "a b" {
		t.Errorf("a blank inside: got %d", got.status)
	}
}

const others = `{
	GLOBALS
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
	bearer_auth {
		pass_other hpk_ xapi-
		token_from cookie session
		token_from query access_token
		scope read
		header X-Auth-Subject {http.auth.user.id}
	}
	reverse_proxy UPSTREAM
}
`

func TestPassOther(t *testing.T) {
	issuer, rec := newIssuer(t), newRecorder(t)
	g := start(t, others, "ISSUER", issuer.URL, "UPSTREAM", rec.URL)
	for _, sent := range []string{"Bearer hpk_abc", "bearer  hpk_abc", "Bearer xapi-1", "Bearer hpk_a=="} {
		got := g.get("/", header("Authorization", sent), header("X-Auth-Subject", "admin"), header("Connection", "Authorization"))
		if got.status != 200 {
			t.Fatalf("%s: got %d %v", sent, got.status, got.header)
		}
		last := rec.take(t).Header
		want := "Bearer " + sent[strings.LastIndexByte(sent, ' ')+1:]
		if fmt.Sprint(last["Authorization"]) != "["+want+"]" || len(folded(last)) > 0 {
			t.Errorf("%s: the upstream got %v", sent, last)
		}
	}
	jwt := mint(issuer, claims{"scope": "read"})
	for name, c := range map[string]struct {
		status int
		edit   edit
		path   string
	}{
		"another prefix":             {401, header("Authorization", "Bearer hpx_abc"), "/"},
		"the prefix in other case":   {401, header("Authorization", "Bearer HPK_abc"), "/"},
		"another scheme":             {401, header("Authorization", "Basic hpk_abc"), "/"},
		"a JWT behind the prefix":    {401, header("Authorization", "Bearer hpk_"+jwt), "/"},
		"a dot at the end":           {401, header("Authorization", "Bearer hpk_abc."), "/"},
		"a JWE behind the prefix":    {401, header("Authorization", "Bearer hpk_a.b.c.d.e"), "/"},
		"two tokens in one":          {400, header("Authorization", "Bearer hpk_abc hpk_abc"), "/"},
		"no b64token":                {400, header("Authorization", "Bearer hpk_{}"), "/"},
		"two headers":                {400, header("Authorization", "Bearer hpk_abc", "Bearer "+jwt), "/"},
		"in a cookie":                {401, header("Cookie", "session=hpk_abc"), "/"},
		"in the query":               {401, header("X", "y"), "/?access_token=hpk_abc"},
		"beside a token in a cookie": {400, both(header("Authorization", "Bearer hpk_abc"), header("Cookie", "session="+jwt)), "/"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := g.get(c.path, c.edit); got.status != c.status {
				t.Errorf("got %d %v, want %d", got.status, got.header, c.status)
			}
		})
	}
	if got := g.get("/", bearer(jwt)); got.status != 200 || rec.take(t).Header.Get("X-Auth-Subject") == "" {
		t.Errorf("a good token: got %d", got.status)
	}
}

const elsewhere = `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth /keep/* {
		token_from cookie session
		keep_authorization
		header X-Auth-Subject {http.auth.user.id}
	}
	bearer_auth /header/* {
		token_from header X-Access-Token
		header X-Auth-Subject {http.auth.user.id}
	}
	reverse_proxy UPSTREAM
}
`

// A token from another place beside what the application itself needs.
func TestTokenFromAnotherPlace(t *testing.T) {
	issuer, rec := newIssuer(t), newRecorder(t)
	g := start(t, elsewhere, "ISSUER", issuer.URL, "UPSTREAM", rec.URL)
	jwt := mint(issuer, claims{"sub": "jane"})
	for name, c := range map[string]struct {
		path, authorization string
		edit                edit
	}{
		"a cookie beside Basic": {"/keep/", "Basic eDp5", both(header("Cookie", "session="+jwt), header("Authorization", "Basic eDp5"))},
		"a cookie alone":        {"/keep/", "Bearer " + jwt, header("Cookie", "session="+jwt)},
		"a header":              {"/header/", "Bearer " + jwt, header("X-Access-Token", jwt)},
		"a header beside Basic": {"/header/", "Bearer " + jwt, both(header("X-Access-Token", jwt), header("Authorization", "Basic eDp5"))},
	} {
		t.Run(name, func(t *testing.T) {
			if got := g.get(c.path, c.edit); got.status != 200 {
				t.Fatalf("got %d %v", got.status, got.header)
			}
			last := rec.take(t).Header
			if fmt.Sprint(last["Authorization"]) != "["+c.authorization+"]" || last.Get("X-Auth-Subject") != "jane" ||
				len(last["Cookie"])+len(last["X-Access-Token"]) > 0 {
				t.Errorf("the upstream got %v", last)
			}
		})
	}
	for name, c := range map[string]struct {
		status int
		path   string
		edit   edit
	}{
		"Basic alone":                {401, "/keep/", header("Authorization", "Basic eDp5")},
		"a bad token beside Basic":   {401, "/keep/", both(header("Cookie", "session="+jwt+"x"), header("Authorization", "Basic eDp5"))},
		"a bearer beside the cookie": {400, "/keep/", both(header("Cookie", "session="+jwt), header("Authorization", "Bearer "+jwt))},
		"a header where none counts": {401, "/keep/", header("X-Access-Token", "opaque")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := g.get(c.path, c.edit); got.status != c.status {
				t.Errorf("got %d %v, want %d", got.status, got.header, c.status)
			}
		})
	}
}

func both(a, b edit) edit { return func(r *http.Request) { a(r); b(r) } }

const named = `{
	GLOBALS
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
	log_append why {http.auth.reason}
	bearer_auth /scope/* {
		scope read write
		group ops
	}
	bearer_auth /group/* {
		group ops
	}
	bearer_auth /header/* {
		header X-Evil {http.auth.user.claims.evil}
	}
	bearer_auth /machine/*
	respond "in"
	handle_errors {
		respond "{err.status_code} {http.auth.reason} {http.auth.user.id} {http.auth.user.kind}"
	}
}
`

func TestWhoIsRefusedHasAName(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, named, "ISSUER", issuer.URL)
	jane := func(c claims) edit {
		c["sub"], c["sid"] = "jane", "1"
		return bearer(issuer.Mint(c))
	}
	for _, c := range []struct {
		path string
		edit edit
		body string
	}{
		{"/scope/", jane(claims{"groups": []string{"ops"}, "scope": "read"}), "403 scope jane user"},
		{"/scope/", jane(claims{"scope": "read write"}), "403 group jane user"},
		{"/group/", jane(claims{}), "403 group jane user"},
		{"/header/", jane(claims{"evil": "x "}), "401 header_value jane user"},
		{"/group/", header("X", "y"), "401 no_token  "},
		{"/group/", bearer("nonsense"), "401 not_jws  "},
		{"/group/", jane(claims{"exp": 1}), "401 expired  "},
		{"/group/", jane(claims{"groups": []string{"ops"}}), "in"},
	} {
		if got := g.get(c.path, c.edit); got.body != c.body {
			t.Errorf("%s: got %q, want %q", c.path, got.body, c.body)
		}
	}
	eventually(t, "all are in the access log", func() bool { return strings.Count(g.log(), `"msg":"handled request"`) >= 2 })
	for _, line := range []string{`"reason":"group","status":403,"issuer":"acme","subject":"jane"`, `"user_id":"jane"`, `"why":"group"`} {
		if !strings.Contains(g.log(), line) {
			t.Errorf("the log has no %s", line)
		}
	}
	t.Run("a machine that is not registered", func(t *testing.T) {
		g.get("/machine/", bearer(issuer.Mint(claims{"sub": "it's me", "gty": "client-credentials"})))
		if want := `"subject":"it's me","client_id":"","remedy":"caddy gatehouse service-account create 'it'\\''s me' --issuer 'acme'"`; !strings.Contains(g.log(), want) {
			t.Errorf("the log has no %s", want)
		}
	})
	t.Run("the scopes", func(t *testing.T) {
		scopes := `, scope="read write"`
		for _, c := range []struct {
			edit edit
			want string
		}{
			{header("X", "y"), `Bearer realm="gatehouse"` + scopes},
			{bearer("nonsense"), `Bearer realm="gatehouse", error="invalid_token", error_description="the token is not a signed JWT in compact form"` + scopes},
			{jane(claims{"groups": []string{"ops"}, "scope": "read"}), `Bearer realm="gatehouse", error="insufficient_scope", error_description="the token lacks a scope that is required here"` + scopes},
			{jane(claims{}), `Bearer realm="gatehouse", error_description="the caller is in none of the groups required here"`},
			{header("Authorization", "Bearer a b"), `Bearer realm="gatehouse", error="invalid_request", error_description="the Authorization header must be Bearer and one token"`},
		} {
			if got := g.get("/scope/", c.edit).header.Get("WWW-Authenticate"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		}
	})
}

const ruled = `{
	GLOBALS
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
	log_append rules {http.auth.rule}
	bearer_auth /outer/* {
		name outer
		header X-Rule {http.auth.rule}
	}
	bearer_auth /outer/inner/* {
		group ops
		name outer/inner
	}
	bearer_auth /outer/plain/* {
		group ops
	}
	respond "in {http.auth.rule} {http.request.header.X-Rule}"
	handle_errors {
		respond "{http.auth.reason} {http.auth.rule}"
	}
}
`

// What a route's rules are called stands in logs, error pages and headers.
func TestRulesHaveAName(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, ruled, "ISSUER", issuer.URL)
	for path, want := range map[string]string{
		"/outer/": "in outer outer", "/outer/inner/": "group outer/inner", "/outer/plain/": "group ",
	} {
		if got := g.get(path, bearer(issuer.Mint(nil)), header("X-Rule", "forged")).body; got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	if got := g.get("/outer/").body; got != "no_token outer" {
		t.Errorf("without a token: got %q", got)
	}
	eventually(t, "all are in the access log", func() bool { return strings.Count(g.log(), `"msg":"handled request"`) >= 1 })
	for _, line := range []string{`"reason":"group","status":403,"issuer":"acme","rule":"outer/inner","subject"`, `"reason":"no_token","status":401,"issuer":"","rule":"outer"`, `"rules":"outer"`} {
		if !strings.Contains(g.log(), line) {
			t.Errorf("the log has no %s", line)
		}
	}
}

// One name is for one set of rules, wherever it stands.
func TestRulesNeedNamesOfTheirOwn(t *testing.T) {
	issuer := newIssuer(t)
	g := prepare(t, "ISSUER", issuer.URL)
	twice := strings.Replace(ruled, "name outer/inner", "name outer", 1)
	if err := g.load(twice); err == nil || !strings.Contains(err.Error(), "name: two that ask for different things are both called outer: give one of them another name") {
		t.Errorf("got %v", err)
	}
	if err := g.load(strings.Replace(twice, "group ops\n\t\tname", "name", 1)); err != nil {
		t.Errorf("the same rules twice: %v", err)
	}
}

// Two locks that take the same header lock everybody out.
func TestBearerAndBasicOnOneSite(t *testing.T) {
	issuer := newIssuer(t)
	const basic = " {\n\t\tbob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n\t}\n"
	for body, warned := range map[string]bool{
		"bearer_auth\nbasic_auth" + basic:                                                         true,
		"bearer_auth /api/*\nbasic_auth /api/admin/*" + basic:                                     true,
		"bearer_auth /api/*\nbasic_auth /admin/*" + basic:                                         false,
		"bearer_auth {\noptional\n}\nbasic_auth" + basic:                                          false,
		"handle /a/* {\nbearer_auth\nrespond a\n}\nhandle {\nbasic_auth" + basic + "respond b\n}": false,
		"bearer_auth": false,
		"@password header Authorization Basic*\nbearer_auth\nbasic_auth @password" + basic:                                                   true,
		"@other header X-Other *\nbearer_auth\nbasic_auth @other" + basic:                                                                    true,
		"@token header_regexp Authorization ^Bearer\n@other not header Authorization Bearer*\nbearer_auth @token\nbasic_auth @other" + basic: false,
	} {
		g := start(t, identitySites, "BODY", body+"\n\trespond in", "ISSUER", issuer.URL)
		if got := strings.Contains(g.log(), "bearer_auth and basic_auth guard the same requests"); got != warned {
			t.Errorf("%s: warned %t, want %t", body, got, warned)
		}
		g.stop()
	}
}

// A preflight that one bearer_auth lets pass is refused by the next.
func TestPreflightsThatAnotherBearerAuthRefusesAreReported(t *testing.T) {
	issuer := newIssuer(t)
	const passing = "{\npreflight pass\n}\n"
	for body, warned := range map[string]bool{
		"bearer_auth " + passing + "bearer_auth /admin/* {\ngroup ops\n}":                     true,
		"bearer_auth /a/* " + passing + "bearer_auth /a/b/*":                                  true,
		"bearer_auth /a/* " + passing + "bearer_auth /b/*":                                    false,
		"bearer_auth " + passing + "bearer_auth /admin/* " + passing:                          false,
		"@write method POST\nbearer_auth " + passing + "bearer_auth @write {\nscope write\n}": false,
		"@x header X-Admin *\nbearer_auth " + passing + "bearer_auth @x {\nscope write\n}":    false,
		"bearer_auth\nbearer_auth /admin/*":                                                   false,
		"handle /a/* {\nbearer_auth " + passing + "}\nhandle {\nbearer_auth\nrespond in\n}\n": false,
	} {
		g := start(t, identitySites, "BODY", body+"\n\trespond in", "ISSUER", issuer.URL)
		if got := strings.Contains(g.log(), "refuses preflights"); got != warned {
			t.Errorf("%s: warned %t, want %t", body, got, warned)
		}
		g.stop()
	}
}

// A method that nobody thought of is open, where each bearer_auth names its methods.
func TestMethodsThatNoBearerAuthMatchesAreReported(t *testing.T) {
	issuer := newIssuer(t)
	const get, post, write = "@get method GET\nbearer_auth @get\n", "@post {\nmethod POST\npath /a/*\n}\nbearer_auth @post\n", "@write method POST PUT PATCH DELETE\n"
	for body, want := range map[string]string{
		get + post: `["DELETE","PATCH","PUT"]`,
		"@either {\nmethod POST DELETE\n}\nbearer_auth @either":  `["PATCH","PUT"]`,
		get + write + "bearer_auth @write {\nscope write\n}":     "",
		write + "bearer_auth @write":                             "", // reading is public
		get + post + "bearer_auth":                               "",
		"@others not method GET\nbearer_auth @others":            "",
		"bearer_auth /a/*":                                       "",
		"handle {\n" + get + "reverse_proxy @get localhost:1\n}": "",
	} {
		if !strings.Contains(body, "proxy") {
			body += "\nreverse_proxy localhost:1"
		}
		g := start(t, identitySites, "BODY", body, "ISSUER", issuer.URL)
		log := g.log()
		if got := strings.Contains(log, "pass without a token"); got != (want != "") || !strings.Contains(log, want) {
			t.Errorf("%s: want %s, got %s", body, want, log)
		}
		g.stop()
	}
}

func TestValidateFindsMisspeltPlaceholdersAndLonelyMatchers(t *testing.T) {
	issuer := newIssuer(t)
	for body, want := range map[string]string{
		"bearer_auth {\nheader X-Auth-Subject {http.auth.user.sub}\n}":         "found {http.auth.user.sub}, expected {http.auth.user.…} with one of id, kind",
		"bearer_auth {\nheader X-Auth-Subject {http.auth.usr.id}\n}":           "found {http.auth.usr.id}",
		"@p principal {\nkind user\n}\nrespond @p in":                          "principal: no bearer_auth stands in front of it",
		"bearer_auth\n@p principal {\nkind user\n}\nrespond @p in":             "",
		"route {\nbearer_auth\n@p principal {\nkind user\n}\nrespond @p in\n}": "",
	} {
		g := prepare(t, "BODY", body, "ISSUER", issuer.URL)
		if err := g.load(identitySites); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
		g.stop()
	}
}

package caddymodule_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// gates is a Caddyfile with the same gate in its four forms: refusals without a
// body, with a JSON body, and (on the second site) shaped by handle_errors.
const gates = `{
	GLOBALS
	servers {
		protocols h1 h2c
		max_header_size 64KiB
	}
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
			leeway 0s
		}
	}
}
http://SITE {
	bind 127.0.0.1
	log
	@json path /json/*
	bearer_auth @json {
		error_body json
		token_from cookie session
		token_from cookie second
		token_from query access_token
	}
	@none not path /json/*
	bearer_auth @none {
		token_from cookie session
		token_from cookie second
		token_from query access_token
	}
	reverse_proxy UPSTREAM
}
http://SECOND {
	bind 127.0.0.1
	bearer_auth {
		token_from cookie session
		token_from cookie second
		token_from query access_token
	}
	respond "let in"
	handle_errors {
		respond "{err.status_code} {err.message}"
	}
}
`

// startGates runs gates with an issuer of ES256, RS256 and EdDSA keys.
func startGates(t *testing.T) (*gateway, *idp.Issuer) {
	issuer := newIssuer(t, idp.WithAlgorithms("ES256", "RS256", "EdDSA"))
	g := start(t, gates, "ISSUER", issuer.URL, "UPSTREAM", newUpstream(t).URL)
	return g, issuer
}

// refuses makes sure that a request is refused in each of the forms.
func (g *gateway) refuses(t *testing.T, want refused, query string, edits ...edit) {
	t.Helper()
	var all sync.WaitGroup // at once, as tokens of an unknown key wait for the issuer
	all.Go(func() { want.check(t, g.get("/plain/x"+query, edits...), "") })
	all.Go(func() { want.check(t, g.get("/json/x"+query, edits...), want.jsonBody()) })
	all.Go(func() {
		want.check(t, g.do(g.client, http.MethodGet, "http://"+g.second+"/"+query, edits...),
			map[int]string{400: "400 ", 401: "401 ", 403: "403 "}[want.status]+want.message)
	})
	all.Go(func() { g.refusesGRPC(t, want, query, edits...) })
	all.Wait()
}

func (g *gateway) refusesGRPC(t *testing.T, want refused, query string, edits ...edit) {
	t.Helper()
	edits = append([]edit{header("Content-Type", "application/grpc+proto"), header("Te", "trailers")}, edits...)
	got := g.do(g.h2c, http.MethodPost, "http://"+g.site+"/json/x"+query, edits...)
	asGRPC := want
	asGRPC.status = http.StatusOK
	asGRPC.check(t, got, "")
	code := map[int]string{400: "3", 401: "16", 403: "7", 503: "14"}[want.status]
	if got.header.Get("Grpc-Status") != code || got.header.Get("Grpc-Message") != want.message {
		t.Errorf("got grpc-status %q and grpc-message %q, want %s and %q",
			got.header.Get("Grpc-Status"), got.header.Get("Grpc-Message"), code, want.message)
	}
	if got.header.Get("Content-Type") != "application/grpc+proto" {
		t.Errorf("got content type %q, want the request's", got.header.Get("Content-Type"))
	}
}

func TestRequestsWithoutAToken(t *testing.T) {
	g, _ := startGates(t)
	noToken := refused{401, `Bearer realm="gatehouse"`, "a bearer token is required"}
	for name, edits := range map[string][]edit{
		"nothing":                    nil,
		"Basic":                      {header("Authorization", "Basic dXNlcjpwYXNz")},
		"a scheme that begins alike": {header("Authorization", "BearerToken abc")},
		"an empty header":            {header("Authorization", "")},
		"an emptied cookie":          {header("Cookie", "session=")},
		"another cookie":             {header("Cookie", "Session=abc")},
	} {
		t.Run(name, func(t *testing.T) { g.refuses(t, noToken, "", edits...) })
	}
	if !strings.Contains(g.log(), `"msg":"request refused","reason":"no_token"`) {
		t.Error("refusals are not logged at DEBUG")
	}
	if log := g.log(); !strings.Contains(log, "has another scheme than Bearer") || strings.Contains(log, "dXNlcjpwYXNz") {
		t.Error("the log does not say that the header has another scheme, or shows what was sent")
	}
}

func TestMalformedRequests(t *testing.T) {
	g, issuer := startGates(t)
	token := mint(issuer, nil)
	malformed := invalidRequest("the Authorization header must be Bearer and one token")
	cookie := invalidRequest("the cookie for the token holds something that is no token")
	query := invalidRequest("the query parameter for the token holds something that is no token")
	several := invalidRequest("the request has several Authorization headers")
	two := invalidRequest("the request carries a token in more than one place")
	long := invalidRequest("the token is longer than 16 KiB")
	for _, c := range []struct {
		name  string
		want  refused
		query string
		edits []edit
	}{
		{"two Authorization headers", several, "", []edit{header("Authorization", "Bearer "+token, "Bearer "+token)}},
		{"two, one of them Basic", several, "", []edit{header("Authorization", "Bearer "+token, "Basic dXNlcjpwYXNz")}},
		{"bare Bearer", malformed, "", []edit{header("Authorization", "Bearer")}},
		{"Bearer and a space", malformed, "", []edit{header("Authorization", "Bearer ")}},
		{"tab", malformed, "", []edit{header("Authorization", "Bearer\t"+token)}},
		{"comma-joined", malformed, "", []edit{header("Authorization", "Bearer "+token+", Bearer "+token)}},
		{"comma at once", malformed, "", []edit{header("Authorization", "Bearer "+token+",")}},
		{"two tokens", malformed, "", []edit{header("Authorization", "Bearer "+token+" "+token)}},
		{"quoted", malformed, "", []edit{header("Authorization", `Bearer "`+token+`"`)}},
		{"comma after the scheme", malformed, "", []edit{header("Authorization", "Bearer,"+token)}},
		{"padding inside", malformed, "", []edit{header("Authorization", "Bearer "+strings.Replace(token, ".", "=.", 1))}},
		{"JSON serialization", malformed, "", []edit{header("Authorization", `Bearer {"payload":"e30","signatures":[]}`)}},
		{"no ASCII", malformed, "", []edit{header("Authorization", "Bearer "+token+"é")}},
		{"only padding", malformed, "", []edit{header("Authorization", "Bearer ==")}},
		{"over 16 KiB", long, "", []edit{header("Authorization", "Bearer "+strings.Repeat("a", 16<<10+1))}},
		{"header and cookie", two, "", []edit{header("Authorization", "Bearer "+token), header("Cookie", "session="+token)}},
		{"header and query", two, "?access_token=" + token, []edit{header("Authorization", "Bearer "+token)}},
		{"two cookies", two, "", []edit{header("Cookie", "session="+token+"; second="+token)}},
		{"one cookie twice", two, "", []edit{header("Cookie", "session="+token+"; a=b; session="+token)}},
		{"cookie headers", two, "", []edit{header("Cookie", "session="+token, "session="+token)}},
		{"query twice", two, "?access_token=" + token + "&access_token=" + token, nil},
		{"query under an escaped name", two, "?access_token=" + token + "&access%5Ftoken=" + token, nil},
		{"cookie and query", two, "?access_token=" + token, []edit{header("Cookie", "session="+token)}},
		{"newline in the query", query, "?access_token=" + strings.Replace(token, ".", "%0A.", 1), nil},
		{"space in the query", query, "?access_token=" + token + "+x", nil},
		{"over 16 KiB in the query", long, "?access_token=" + strings.Repeat("a", 16<<10+1), nil},
		{"no b64token in the cookie", cookie, "", []edit{header("Cookie", "session=a{b")}},
	} {
		t.Run(c.name, func(t *testing.T) { g.refuses(t, c.want, c.query, c.edits...) })
	}
}

func TestGoodTokensInEveryPlace(t *testing.T) {
	g, issuer := startGates(t)
	token := mint(issuer, claims{"sub": "jane"})
	for name, edits := range map[string][]edit{
		"header":                  {bearer(token)},
		"scheme in lower case":    {header("Authorization", "bearer "+token)},
		"scheme in upper case":    {header("Authorization", "BEARER "+token)},
		"cookie":                  {header("Cookie", "a=b; session="+token+"; c=d")},
		"cookie in quotes":        {header("Cookie", `session="`+token+`"`)},
		"cookie beside Basic":     {header("Cookie", "session="+token), header("Authorization", "Basic dXNlcjpwYXNz")},
		"an empty cookie besides": {header("Cookie", "session="), bearer(token)},
	} {
		t.Run(name, func(t *testing.T) {
			seen := g.get("/plain", edits...).seen(t)
			if got := seen.Headers["Authorization"]; len(got) != 1 || got[0] != "Bearer "+token {
				t.Errorf("the upstream got Authorization %q, want exactly Bearer and the token", got)
			}
		})
	}
	t.Run("query", func(t *testing.T) {
		seen := g.get("/plain?access_token=" + token).seen(t)
		if got := seen.Headers["Authorization"]; len(got) != 1 || got[0] != "Bearer "+token || seen.Query.Has("access_token") {
			t.Errorf("the upstream got Authorization %q and the query %v", got, seen.Query)
		}
	})
}

// Caddy's own bound on headers is met before a token of the longest length is.
func TestTheLongestTokensNeedMaxHeaderSize(t *testing.T) {
	issuer := newIssuer(t)
	token := mint(issuer, claims{"sub": "alice", "groups": []string{strings.Repeat("g", 11_700)}})
	if len(token) > 16<<10 || len(token) < 15<<10 {
		t.Fatalf("the token has %d bytes, want nearly 16 KiB", len(token))
	}
	for option, want := range map[string]int{"": http.StatusRequestHeaderFieldsTooLarge, "max_header_size 32KB": http.StatusOK} {
		g := start(t, `{
			GLOBALS
			servers {
				protocols h1 h2c
				OPTION
			}
			gatehouse {
				issuer ISSUER {
					audience https://gateway.example.com
				}
			}
		}
		http://SITE {
			bind 127.0.0.1
			bearer_auth
			respond "in"
		}`, "ISSUER", issuer.URL, "OPTION", option)
		padding := header("X-Padding", strings.Repeat("p", 1024))
		got, err := try(g.h2c, "GET", "http://"+g.site+"/", bearer(token), padding)
		if err != nil && strings.Contains(err.Error(), "larger than peer's advertised limit") {
			// The server's SETTINGS came before the request left: the client itself refuses then.
			got.status, err = http.StatusRequestHeaderFieldsTooLarge, nil
		}
		if err != nil || got.status != want {
			t.Errorf("with %q: got %d, %v; want %d", option, got.status, err, want)
		}
		g.stop()
	}
}

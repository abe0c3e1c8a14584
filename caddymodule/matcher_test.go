package caddymodule_test

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

const matchers = `{
	GLOBALS
	gatehouse {
		service_accounts {
			registration optional
		}
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		issuer OTHER {
			name other
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	@all principal
	@machine principal {
		kind service_account
	}
	@person principal {
		kind user
	}
	@ops principal {
		group ops dev
		group eu
	}
	@writer principal {
		scope read
		scope write
	}
	@cel expression ` + "`principal({'kind': 'user', 'group': ['ops', 'dev'], 'scope': 'read'})`" + `
	@celnot expression ` + "`!principal({'group': 'ops'})`" + `
	@notops not principal {
		group ops
	}
	@other principal {
		issuer other
		group ops
	}
	@celissuer expression ` + "`principal({'issuer': ['acme'], 'group': ['dev']})`" + `
	handle /gated/* {
		route {
			bearer_auth {
				optional
			}
			header @all +Match all
			header @machine +Match machine
			header @person +Match person
			header @ops +Match ops
			header @writer +Match writer
			header @cel +Match cel
			header @celnot +Match celnot
			header @notops +Match notops
			header @other +Match other
			header @celissuer +Match celissuer
			respond "served"
		}
	}
	handle /misplaced {
		bearer_auth /only/here
		respond @machine "yes"
		respond "no"
	}
	handle /misplacednot {
		bearer_auth /only/here
		respond @notops "yes"
		respond "no"
	}
	handle /misplacedcel {
		bearer_auth /only/here
		respond @cel "yes"
		respond "no"
	}
	handle /misplacedcelnot {
		bearer_auth /only/here
		respond @celnot "yes"
		respond "no"
	}
}
`

func TestMatcherPrincipal(t *testing.T) {
	issuer, other := newIssuer(t), newIssuer(t)
	g := start(t, matchers, "ISSUER", issuer.URL, "OTHER", other.URL)
	for _, c := range []struct {
		name   string
		claims claims
		want   string
	}{
		{"machine", claims{"sub": "ci", "azp": "ci"}, "all machine celnot notops"},
		{"person", nil, "all person celnot notops"},
		{"one line of groups", claims{"groups": []string{"ops"}}, "all person"},
		{"all lines of groups", claims{"groups": []string{"ops", "eu"}}, "all person ops"},
		{"one scope", claims{"scope": "read"}, "all person celnot notops"},
		{"all scopes", claims{"scope": "read write"}, "all person writer celnot notops"},
		{"the expression", claims{"scope": "read", "groups": []string{"dev"}}, "all person cel celnot notops celissuer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := g.get("/gated/x", bearer(issuer.Mint(c.claims)))
			if matched := strings.Join(got.header["Match"], " "); matched != c.want {
				t.Errorf("got %q, want %q", matched, c.want)
			}
		})
	}
	t.Run("another issuer's group of the same name", func(t *testing.T) {
		for group, want := range map[string]string{"ops": "all person other", "dev": "all person celnot notops"} {
			got := g.get("/gated/x", bearer(other.Mint(claims{"groups": []string{group}})))
			if matched := strings.Join(got.header["Match"], " "); matched != want {
				t.Errorf("%s: got %q, want %q", group, matched, want)
			}
		}
	})
	t.Run("anonymous", func(t *testing.T) {
		got := g.get("/gated/x")
		if matched := strings.Join(got.header["Match"], " "); matched != "celnot notops" || got.body != "served" {
			t.Errorf("got %q and %q, want an anonymous request to be no principal", matched, got.body)
		}
	})
	for _, path := range []string{"/misplaced", "/misplacednot", "/misplacedcel", "/misplacedcelnot"} {
		t.Run(path, func(t *testing.T) {
			if got := g.get(path); got.status != http.StatusInternalServerError || got.body != "" {
				t.Errorf("got %d %q, want the error 500", got.status, got.body)
			}
		})
	}
	if !strings.Contains(g.log(), "where no bearer_auth has run yet") {
		t.Error("the log does not say what is wrong with the misplaced matcher")
	}
}

// The provider sits beside http_basic in Caddy's own authentication.
const providers = `{
	"admin": {"disabled": true, "config": {"persist": false}},
	"storage": {"module": "file_system", "root": "DIR/storage"},
	"logging": {"logs": {"default": {"level": "DEBUG", "writer": {"output": "file", "filename": "DIR/caddy.log", "roll": false}}}},
	"apps": {
		"gatehouse": {"issuers": [{"issuer": "ISSUER", "name": "acme", "audiences": ["https://gateway.example.com"]}]},
		"http": {"servers": {"a": {"listen": ["SITE"], "automatic_https": {"disable": true}, "routes": [{
			"handle": [
				{"handler": "authentication", "providers": {
					"bearer": {"scopes": ["read"], "realm": "api"},
					"http_basic": {"accounts": [{"username": "joe", "password": "HASH"}]}
				}},
				{"handler": "static_response", "body": "{http.auth.user.id} {http.auth.user.kind} {http.auth.user.claims.dept}"}
			]
		}]}, "b": {"listen": ["SECOND"], "automatic_https": {"disable": true}, "routes": [{
			"handle": [
				{"handler": "authentication", "providers": {"bearer": {"scopes": ["read"], "realm": "api"}}},
				{"handler": "static_response", "body": "in"}
			]
		}]}}}
	}
}`

// The page on JSON shows both as providers. Caddy asks them in random order.
func TestProviderBearerBesideBasicAsDocumented(t *testing.T) {
	_, text, _ := strings.Cut(read(t, "../docs/json.md"), "## Caddy's own `authentication`")
	_, text, _ = strings.Cut(text, "```json\n")
	handler, _, found := strings.Cut(text, "```")
	if !found {
		t.Fatal("the page has no such handler")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	handler = regexp.MustCompile(`\$2a\$14[^"]+`).ReplaceAllLiteralString(handler, string(hash))
	issuer, g := newIssuer(t), prepare(t)
	before, rest, _ := strings.Cut(providers, `{"handler": "authentication"`)
	_, after, _ := strings.Cut(rest, `{"handler": "static_response"`)
	config := strings.NewReplacer("ISSUER", issuer.URL, "SITE", g.site, "SECOND", g.second, "DIR", g.dir).Replace(
		before + handler + `, {"handler": "static_response"` + after)
	if err := g.loadJSON([]byte(config)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit   edit
		status int
	}{
		"password":       {func(r *http.Request) { r.SetBasicAuth("alice", "pw") }, 200},
		"wrong password": {func(r *http.Request) { r.SetBasicAuth("alice", "x") }, 401},
		"token":          {bearer(issuer.Mint(claims{"sub": "jane", "scope": "gateway.read"})), 200},
		"without scope":  {bearer(issuer.Mint(nil)), 401},
		"bad token":      {bearer("bad"), 401},
		"neither":        {nothing, 401},
	} {
		for range 4 {
			if got := g.get("/", c.edit); got.status != c.status {
				t.Errorf("%s: got %d, want %d", name, got.status, c.status)
			}
		}
	}
}

func TestProviderBearer(t *testing.T) {
	issuer := newIssuer(t)
	g := prepare(t)
	hash, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("ISSUER", issuer.URL, "SITE", g.site, "SECOND", g.second, "DIR", g.dir, "HASH", string(hash)).Replace(providers)
	if err := g.loadJSON([]byte(config)); err != nil {
		t.Fatal(err)
	}
	basic := func(password string) edit {
		return header("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("joe:"+password)))
	}
	for _, c := range []struct {
		name   string
		edit   edit
		status int
		body   string
	}{
		{"bearer", bearer(issuer.Mint(claims{"sub": "jane", "scope": "read", "dept": "ops"})), 200, "jane user ops"},
		{"basic", basic("pw"), 200, "joe "},
		{"wrong password", basic("no"), 401, ""},
		{"no credentials", func(*http.Request) {}, 401, ""},
		{"scope missing", bearer(issuer.Mint(nil)), 401, ""},
		{"bad token", bearer("bad"), 401, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			// Caddy asks its providers in random order.
			for range 8 {
				got := g.get("/", c.edit)
				if got.status != c.status || !strings.HasPrefix(got.body, c.body) || c.body == "" && got.body != "" {
					t.Errorf("got %d %q, want %d %q", got.status, got.body, c.status, c.body)
				}
			}
		})
	}
	alone := func(edits ...edit) string {
		got := g.do(g.client, http.MethodGet, "http://"+g.second+"/", edits...)
		return strings.Join(slices.Concat([]string{http.StatusText(got.status)}, got.header["Www-Authenticate"]), " ")
	}
	if got := alone(); got != `Unauthorized Bearer realm="api"` {
		t.Errorf("without a token: got %s", got)
	}
	if got := alone(bearer(issuer.Mint(nil))); !strings.HasSuffix(got, `error="insufficient_scope", error_description="the token lacks a scope that is required here", scope="read"`) {
		t.Errorf("without the scope: got %s", got)
	}
	if got := alone(header("Authorization", "Bearer a", "Bearer b")); !strings.Contains(got, `error="invalid_request"`) {
		t.Errorf("with two headers: got %s", got)
	}
	if got := alone(bearer(issuer.Mint(claims{"scope": "read"}))); got != "OK" {
		t.Errorf("with a good token: got %s", got)
	}
	issuer.Rotate("ES256", true)
	issuer.SetDown(true)
	if got := g.do(g.client, http.MethodGet, "http://"+g.second+"/", bearer(issuer.Mint(nil))); got.status != 401 || got.header.Get("Retry-After") == "" {
		t.Errorf("with the issuer down: got %d %v, want Retry-After", got.status, got.header)
	}
}

package caddymodule_test

import (
	"cmp"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// recipePages have the recipes.
var recipePages = []string{"../docs/providers.md", "../docs/recipes.md", "../docs/bound-tokens.md"}

// recipe is the nth Caddyfile under a heading of a page with recipes.
func recipe(t *testing.T, heading string, n int) string {
	t.Helper()
	for _, page := range recipePages {
		_, rest, found := strings.Cut(read(t, page), "\n## "+heading+"\n")
		rest, _, _ = strings.Cut(rest, "\n## ")
		if blocks := strings.Split(rest, "```caddyfile\n"); found && len(blocks) > n {
			text, _, _ := strings.Cut(blocks[n], "```")
			return text
		}
	}
	t.Fatalf("there is no recipe %d for %s", n, heading)
	return ""
}

// A recipe is a promise, so none lets a client in by what any client may send.
func TestNoRecipeExemptsByWhatAClientSends(t *testing.T) {
	recipes := ""
	for _, page := range recipePages {
		recipes += read(t, page)
	}
	for name := range examples {
		recipes += exampleFile(t, name, "Caddyfile")
	}
	if found := regexp.MustCompile(`(?m)^\s*not\s+(header|header_regexp|query|protocol|vars|expression)\b.*$`).FindString(recipes); found != "" {
		t.Errorf("a recipe exempts requests by what they say of themselves: %s", found)
	}
}

// The address is that of the connection, whatever a client's headers say.
func TestHealthChecksRecipe(t *testing.T) {
	text := recipe(t, "Health checks without a token", 1)
	for network, status := range map[string]int{"127.0.0.0/8": 200, "10.0.0.0/8": 401} {
		issuer := newIssuer(t)
		g := start(t, "{\n"+globals+"\n\tgatehouse {\n\t\tissuer "+issuer.URL+" {\n\t\t\taudience gateway\n\t\t}\n\t}\n}\nhttp://SITE {\n\tbind 127.0.0.1\n"+
			text+"\n}\n", "10.0.0.0/8", network)
		claimed := both(header("X-Forwarded-For", "10.0.0.1"), header("X-Real-IP", "10.0.0.1"))
		for path, want := range map[string]int{"/healthz": status, "/": 401, "/healthz/users": 401, "/healthz/../users": 401} {
			if got := g.send("GET", path, claimed); got.status != want {
				t.Errorf("%s from %s: got %d, want %d", path, network, got.status, want)
			}
		}
		g.stop()
	}
}

// A password and a token are taken each, and neither is not; nobody who comes with a
// password has the name of somebody with a token.
func TestMovingFromBasicAuthRecipe(t *testing.T) {
	issuer, up := newIssuer(t), newUpstream(t)
	g := start(t, "{\n"+globals+"\n\tgatehouse {\n\t\tissuer "+issuer.URL+" {\n\t\t\taudience gateway\n\t\t}\n\t}\n}\nhttp://SITE {\n\tbind 127.0.0.1\n"+
		recipe(t, "Moving from basic_auth", 1)+"}\n", "127.0.0.1:8009", strings.TrimPrefix(up.URL, "http://"))
	password := func(word string) edit {
		return func(r *http.Request) { r.SetBasicAuth("alice", word) }
	}
	token := bearer(mint(issuer, claims{"aud": "gateway", "sub": "bob", "sid": "s"}))
	forged := header("X-Auth-Subject", "bob")
	for name, c := range map[string]struct {
		edit    edit
		status  int
		subject string
	}{
		"password":              {password("hiccup"), 200, ""},
		"wrong password":        {password("x"), 401, ""},
		"token":                 {token, 200, "bob"},
		"neither":               {forged, 401, ""},
		"scheme in lower case":  {header("Authorization", "basic YWxpY2U6aGljY3Vw"), 200, ""},
		"another scheme":        {header("Authorization", "Negotiate YWxpY2U6aGljY3Vw"), 401, ""},
		"bad token":             {bearer("x"), 401, ""},
		"token before password": {header("Authorization", "Bearer x", "Basic YWxpY2U6aGljY3Vw"), 400, ""},
		"token after password":  {header("Authorization", "Basic YWxpY2U6aGljY3Vw", "bearer x"), 400, ""},
	} {
		got := g.get("/", forged, c.edit)
		if got.status != c.status {
			t.Errorf("%s: got %d, want %d", name, got.status, c.status)
		}
		if c.status == http.StatusOK && got.seen(t).Headers.Get("X-Auth-Subject") != c.subject {
			t.Errorf("%s: the upstream hears of %q, want %q", name, got.seen(t).Headers.Get("X-Auth-Subject"), c.subject)
		}
	}
	if got := g.get("/").header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("without anything: got the challenge %q, and browsers ask for no password", got)
	}
	if strings.Contains(g.log(), "guard the same requests") {
		t.Error("the log warns of both, which guard different requests")
	}
}

// The upstream hears of whose issuer a caller is, and a group of one issuer is not that of
// another.
func TestSeveralIssuersRecipe(t *testing.T) {
	okta, cluster, up := newIssuer(t), newIssuer(t), newUpstream(t)
	config := "{\n" + globals + "\n\tgatehouse {\n\t\tissuer " + okta.URL + " {\n\t\t\tname okta\n\t\t\taudience gateway\n\t\t}\n\t\tissuer " + cluster.URL +
		" {\n\t\t\tname cluster\n\t\t\taudience gateway\n\t\t}\n\t}\n}\nhttp://SITE {\n\tbind 127.0.0.1\n"
	caller := func(issuer *idp.Issuer, group string) edit {
		return bearer(mint(issuer, claims{"aud": "gateway", "sub": "alice", "sid": "s", "groups": []string{group}}))
	}
	g := start(t, config+recipe(t, "Several issuers", 1)+"\trespond \"{http.request.header.X-Auth-Issuer} {http.request.header.X-Auth-Subject}\"\n}\n")
	for issuer, want := range map[*idp.Issuer]string{okta: "okta alice", cluster: "cluster alice"} {
		if got := g.get("/", caller(issuer, "x")); got.body != want {
			t.Errorf("the upstream hears of %q, expected %q", got.body, want)
		}
	}
	g.stop()
	g = start(t, config+recipe(t, "Several issuers", 2)+"}\n", "127.0.0.1:8009", strings.TrimPrefix(up.URL, "http://"))
	for _, c := range []struct {
		issuer *idp.Issuer
		group  string
		status int
	}{{okta, "engineers", 200}, {okta, "shop", 403}, {cluster, "shop", 200}, {cluster, "engineers", 403}} {
		if got := g.get("/", caller(c.issuer, c.group)); got.status != c.status {
			t.Errorf("%s of %s: got %d, expected %d", c.group, c.issuer.URL, got.status, c.status)
		}
	}
}

// Browsers are sent to log in, and what the login proxy gives is checked as the token of a
// program is; a browser cannot take its place.
func TestLoginProxyRecipe(t *testing.T) {
	issuer := newIssuer(t)
	tokens := map[string]string{
		"person":  mint(issuer, claims{"aud": "gateway", "sub": "alice", "sid": "s"}),
		"foreign": mint(issuer, claims{"aud": "other", "sub": "alice", "sid": "s"}),
		"none":    "",
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, err := r.Cookie("_oauth2_proxy")
		switch {
		case r.URL.Path != "/oauth2/auth":
			_, _ = io.WriteString(w, r.URL.RequestURI())
		case err != nil:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			if token := tokens[session.Value]; token != "" {
				w.Header().Set("X-Auth-Request-Access-Token", token)
			}
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(proxy.Close)
	up := newUpstream(t)
	filters := regexp.MustCompile("`([\\w>-]*headers>X-Auth-Request-Access-Token delete)`").FindAllStringSubmatch(read(t, "../docs/recipes.md"), -1)
	if len(filters) != 2 {
		t.Fatalf("the page has the filters %q, want one for the login proxy's answer and one for requests", filters)
	}
	options := strings.Replace(globals, "fields {", "fields {\n"+filters[0][1]+"\n"+filters[1][1], 1)
	g := start(t, "{\n"+options+"\n\tgatehouse {\n\t\tissuer "+issuer.URL+" {\n\t\t\taudience gateway\n\t\t}\n\t}\n}\nhttp://SITE {\n\tbind 127.0.0.1\n"+
		recipe(t, "A login page for people", 1)+"}\n",
		"127.0.0.1:4180", proxy.Listener.Addr().String(), "127.0.0.1:8009", strings.TrimPrefix(up.URL, "http://"))
	const given = "X-Auth-Request-Access-Token"
	for name, c := range map[string]struct {
		edits  []edit
		status int
	}{
		"a browser without a session":       {nil, http.StatusFound},
		"a session":                         {[]edit{header("Cookie", "_oauth2_proxy=person")}, http.StatusOK},
		"a session with a foreign token":    {[]edit{header("Cookie", "_oauth2_proxy=foreign")}, http.StatusUnauthorized},
		"a session without a token":         {[]edit{header("Cookie", "_oauth2_proxy=none")}, http.StatusUnauthorized},
		"a program":                         {[]edit{bearer(tokens["person"])}, http.StatusOK},
		"a program with a foreign token":    {[]edit{bearer(tokens["foreign"])}, http.StatusUnauthorized},
		"another scheme":                    {[]edit{header("Authorization", "Basic YTpi")}, http.StatusUnauthorized},
		"the header without a session":      {[]edit{header(given, tokens["person"])}, http.StatusFound},
		"another token beside a session":    {[]edit{header("Cookie", "_oauth2_proxy=none"), header(given, tokens["foreign"])}, http.StatusUnauthorized},
		"a header beside a program's token": {[]edit{bearer(tokens["person"]), header(given, tokens["foreign"])}, http.StatusBadRequest},
	} {
		got := g.get("/a?b=c&d=e", c.edits...)
		if got.status != c.status {
			t.Errorf("%s: got %d %s, want %d", name, got.status, got.header.Get("WWW-Authenticate"), c.status)
		}
		if to := got.header.Get("Location"); got.status == http.StatusFound && to != "/oauth2/sign_in?rd=%2Fa%3Fb%3Dc%26d%3De" {
			t.Errorf("%s: sent to %s", name, to)
		}
		if got.status == http.StatusOK {
			if seen := got.seen(t).Headers; seen.Get("X-Auth-Subject") != "alice" || seen.Get(given) != "" || seen.Get("Authorization") != "Bearer "+tokens["person"] {
				t.Errorf("%s: the upstream got %v", name, seen)
			}
		}
	}
	if got := g.get("/oauth2/sign_in?rd=x"); got.body != "/oauth2/sign_in?rd=x" {
		t.Errorf("the login proxy's own page: got %d %q", got.status, got.body)
	}
}

// A page of another site may call, and reads refusals. The upstream sets such headers
// as well, as many do, and a browser gets each once.
func TestCORSRecipe(t *testing.T) {
	var asked atomic.Int32
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Expose-Headers", "X-Total")
		_, _ = io.WriteString(w, r.Method)
	}))
	t.Cleanup(service.Close)
	issuer := newIssuer(t)
	g := start(t, "{\n"+globals+"\n\tgatehouse {\n\t\tissuer "+issuer.URL+" {\n\t\t\taudience gateway\n\t\t}\n\t}\n}\nhttp://SITE {\n\tbind 127.0.0.1\n"+
		recipe(t, "CORS", 1)+"}\n", "127.0.0.1:8009", service.Listener.Addr().String())
	page := header("Origin", "https://app.example.com")
	preflight := both(page, both(header("Access-Control-Request-Method", "DELETE"), header("Access-Control-Request-Headers", "authorization,content-type")))
	token := bearer(mint(issuer, claims{"aud": "gateway", "sub": "alice", "sid": "s"}))
	for _, c := range []struct {
		name, method string
		edits        []edit
		status       int
		body         string
	}{
		{"a preflight", "OPTIONS", []edit{preflight}, http.StatusNoContent, ""},
		{"no token", "DELETE", []edit{page}, http.StatusUnauthorized, ""},
		{"OPTIONS that is no preflight", "OPTIONS", []edit{page}, http.StatusUnauthorized, ""},
		{"a preflight with a body", "OPTIONS", []edit{preflight, content("{}")}, http.StatusUnauthorized, ""},
		{"a token", "DELETE", []edit{page, token}, http.StatusOK, "DELETE"},
	} {
		got := g.send(c.method, "/a", c.edits...)
		if got.status != c.status || got.body != c.body || !slices.Equal(got.header.Values("Access-Control-Allow-Origin"), []string{"https://app.example.com"}) ||
			!slices.Equal(got.header.Values("Access-Control-Expose-Headers"), []string{"WWW-Authenticate"}) {
			t.Errorf("%s: got %d %q %v", c.name, got.status, got.body, got.header)
		}
		if allowed := got.header.Get("Access-Control-Allow-Headers"); c.status == http.StatusNoContent && (!strings.Contains(allowed, "Authorization") || !strings.Contains(got.header.Get("Access-Control-Allow-Methods"), "DELETE")) {
			t.Errorf("%s: got %v", c.name, got.header)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the upstream was asked %d times, want once", n)
	}
}

// The page on options says how methods ask for different scopes. No method is left out.
func TestScopesByMethod(t *testing.T) {
	_, text, found := strings.Cut(read(t, "../docs/options.md"), "```caddyfile\n@change method ")
	text, _, _ = strings.Cut(text, "```")
	if !found {
		t.Fatal("the page has no such Caddyfile")
	}
	issuer := newIssuer(t)
	g := start(t, "{\n"+globals+"\n\tgatehouse {\n\t\tissuer "+issuer.URL+" {\n\t\t\taudience gateway\n\t\t}\n\t}\n}\nhttp://SITE {\n\tbind 127.0.0.1\n@change method "+
		text+"respond ok\n}\n")
	for scope, want := range map[string]map[string]int{
		"":             {"GET": 401, "DELETE": 401, "PROPFIND": 401},
		"other":        {"GET": 403, "DELETE": 403, "PROPFIND": 403},
		"orders.read":  {"GET": 200, "DELETE": 403, "PROPFIND": 200},
		"orders.write": {"GET": 200, "DELETE": 200, "PROPFIND": 200},
	} {
		for method, status := range want {
			token := bearer(mint(issuer, claims{"aud": "gateway", "sub": "alice", "sid": "s", "scope": scope}))
			if scope == "" {
				token = header("X-Other", "none")
			}
			if got := g.send(method, "/", token); got.status != status {
				t.Errorf("%s with the scope %q: got %d, want %d", method, scope, got.status, status)
			}
		}
	}
}

// Calls reach a gRPC service with their trailers, and a refusal is one of gRPC.
func TestGRPCRecipe(t *testing.T) {
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		_, _ = io.Copy(w, r.Body)
	}))
	service.Config.Protocols = unencryptedHTTP2()
	service.Start()
	t.Cleanup(service.Close)
	issuer := newIssuer(t)
	g := start(t, "{\n"+globals+"\n\tservers {\n\t\tprotocols h1 h2 h2c h3\n\t}\n\tgatehouse {\n\t\tissuer "+issuer.URL+" {\n\t\t\taudience gateway\n\t\t}\n\t}\n}\nhttp://SITE {\n\tbind 127.0.0.1\n"+
		recipe(t, "A gRPC service", 1)+"}\n", "127.0.0.1:50051", service.Listener.Addr().String())
	for status, token := range map[string]edit{"0": bearer(mint(issuer, claims{"aud": "gateway", "sub": "alice", "sid": "s"})), "16": header("X-Other", "none")} {
		got := g.do(g.h2c, "POST", "http://"+g.site+"/shop.Orders/List", header("Content-Type", "application/grpc"), header("Te", "trailers"), token)
		if got.status != http.StatusOK || cmp.Or(got.trailer.Get("Grpc-Status"), got.header.Get("Grpc-Status")) != status {
			t.Errorf("want grpc-status %s, got %d %v %v", status, got.status, got.header, got.trailer)
		}
	}
}

// The page on recipes says how IPv6 addresses are written. The license may spell
// that of the site in another way. A machine without IPv6 serves IPv4 the same way.
func TestIPv6Addresses(t *testing.T) {
	bind, written, licensed := "::1", "[::1]", "0:0::1"
	if probe, err := net.Listen("tcp", "[::1]:0"); err != nil {
		bind, written, licensed = "127.0.0.1", "127.0.0.1", "127.0.0.1"
	} else {
		_ = probe.Close()
	}
	free := func() string { return strings.Replace(freeAddress(t), "127.0.0.1", written, 1) }
	address, issuer, v := free(), newIssuer(t, idp.WithAddress(free())), newVendor(t)
	v.write(v.sign(0, asks(licensed)))
	g := start(t, "{\n"+globals+"\n\tservers {\n\t\ttrusted_proxies static 2001:db8::/32\n\t}\n\tgatehouse {\n\t\tissuer "+issuer.URL+" {\n\t\t\taudience gateway\n\t\t}\n"+
		"\t\tlicense {\n\t\t\tfile "+v.file()+"\n\t\t\ttrusted_key "+v.public()+"\n\t\t}\n\t}\n}\nhttp://"+address+" {\n\tbind "+bind+"\n\trequire_license\n"+
		"\tbearer_auth {\n\t\tpublic_url http://"+address+"\n\t}\n\t@near remote_ip ::/64 127.0.0.1\n\trespond @near {http.auth.user.id}\n}\n")
	token := bearer(mint(issuer, claims{"aud": "gateway", "sub": "alice", "sid": "s"}))
	if got := g.do(g.client, "GET", "http://"+address+"/", token); got.status != http.StatusOK || got.body != "alice" {
		t.Errorf("got %d %v %q, want alice", got.status, got.header, got.body)
	}
}

// Recipes of an issuer alone, with the tokens that the provider's documents show.
func TestIssuerRecipes(t *testing.T) {
	account := func(namespace string) claims {
		return claims{"namespace": namespace, "serviceaccount": claims{"name": "deployer", "uid": "u"}, "pod": claims{"name": "p", "uid": "v"}}
	}
	for heading, c := range map[string]struct {
		url       string
		vars      []string
		good, bad []claims
	}{
		"Microsoft Entra ID": {
			"https://login.microsoftonline.com/TENANT_ID/v2.0", []string{"API_CLIENT_ID", "a91"},
			[]claims{
				{"aud": "a91", "sub": "0a1b", "oid": "0a1b", "azp": "c11e", "azpacr": "1", "tid": "7e4a", "roles": []string{"Gateway.Access"}, "ver": "2.0"},
				{"aud": "a91", "sub": "pairwise", "oid": "0a1b", "azp": "c11e", "azpacr": "0", "tid": "7e4a", "scp": "access_as_user", "ver": "2.0"},
			},
			[]claims{
				{"aud": "00000003-0000-0000-c000-000000000000", "sub": "pairwise", "oid": "0a1b", "azp": "c11e", "tid": "7e4a", "scp": "User.Read"},
				{"aud": "a91", "sub": "pairwise", "oid": "0a1b", "tid": "7e4a", "name": "Jane", "nonce": "n"}, // an ID token
			},
		},
		"Keycloak": {
			"https://login.example.com/realms/acme", nil,
			[]claims{
				{"aud": []string{"gateway", "account"}, "sub": "5f0c", "typ": "Bearer", "azp": "ci", "client_id": "ci", "clientHost": "10.0.0.7", "preferred_username": "service-account-ci"},
				{"aud": []string{"gateway", "account"}, "sub": "6a1d", "typ": "Bearer", "azp": "web", "sid": "s", "scope": "openid profile", "preferred_username": "jane"},
			},
			[]claims{
				{"aud": "account", "sub": "6a1d", "typ": "Bearer", "azp": "web", "sid": "s", "preferred_username": "jane"},
				{"aud": "gateway", "sub": "6a1d", "typ": "ID", "azp": "gateway", "sid": "s", "preferred_username": "jane"},
			},
		},
		"Auth0": {
			"https://acme.eu.auth0.com/", nil,
			[]claims{
				{"aud": "https://gateway.example.com", "sub": "c11e@clients", "azp": "c11e", "gty": "client-credentials", "scope": "gateway.read"},
				{"aud": []string{"https://gateway.example.com", "https://acme.eu.auth0.com/userinfo"}, "sub": "auth0|6a1d", "azp": "web", "scope": "openid profile", "permissions": []string{"admin"}},
			},
			[]claims{
				{"aud": "https://acme.eu.auth0.com/api/v2/", "sub": "c11e@clients", "azp": "c11e", "gty": "client-credentials"},
				{"aud": "https://gateway.example.com", "sub": "auth0|6a1d", "nonce": "n", "sid": "s"}, // an ID token
			},
		},
		"Okta": {
			"https://acme.okta.com/oauth2/default", nil,
			[]claims{
				{"aud": "api://default", "ver": 1, "jti": "AT.1", "sub": "0oa1", "cid": "0oa1", "scp": []string{"gateway.read"}},
				{"aud": "api://default", "ver": 1, "jti": "AT.2", "sub": "jane@example.com", "uid": "00u1", "cid": "0oa2", "scp": []string{"openid"}},
			},
			[]claims{
				{"aud": "https://acme.okta.com", "ver": 1, "jti": "AT.3", "sub": "0oa1", "cid": "0oa1"},
				{"aud": "api://default", "ver": 1, "jti": "ID.1", "sub": "00u1", "nonce": "n", "amr": []string{"pwd"}},
			},
		},
		"Amazon Cognito": {
			"https://cognito-idp.eu-central-1.amazonaws.com/POOL_ID", []string{"CLIENT_ID", "3n4b5u"},
			[]claims{
				{"aud": idp.Absent, "token_use": "access", "sub": "3n4b5u", "client_id": "3n4b5u", "scope": "gateway/read"},
				{"aud": idp.Absent, "token_use": "access", "sub": "6a1d", "client_id": "3n4b5u", "username": "jane", "cognito:groups": []string{"admin"}},
			},
			[]claims{
				{"aud": idp.Absent, "token_use": "access", "sub": "other", "client_id": "other", "scope": "gateway/read"},
				{"aud": "3n4b5u", "token_use": "id", "sub": "6a1d", "cognito:username": "jane"},
			},
		},
		"Google service accounts": {
			"https://accounts.google.com", nil,
			[]claims{{"aud": "https://gateway.example.com", "sub": "1033", "azp": "1033", "email": "ci@my-project.iam.gserviceaccount.com", "email_verified": true}},
			[]claims{{"aud": "https://other.example.com", "sub": "1033", "azp": "1033", "email": "ci@my-project.iam.gserviceaccount.com"}},
		},
		"GitLab CI": {
			"https://gitlab.com", nil,
			[]claims{{"aud": "https://gateway.example.com", "sub": "project_path:acme/shop:ref_type:branch:ref:main", "project_id": "4711", "namespace_id": "65", "job_id": "302", "pipeline_id": "574", "ref": "main", "pipeline_source": "push", "user_login": "jane"}},
			[]claims{
				{"aud": "https://gitlab.com", "sub": "project_path:acme/shop:ref_type:branch:ref:main", "project_id": "4711", "job_id": "302"},
				{"aud": "https://gateway.example.com", "sub": "1", "name": "Jane", "preferred_username": "jane", "groups": []string{"4711"}}, // a person's ID token
			},
		},
		"Bitbucket Pipelines": {
			"https://api.bitbucket.org/2.0/workspaces/WORKSPACE/pipelines-config/identity/oidc", []string{"WORKSPACE_UUID", "8a1f"},
			[]claims{{"aud": "ari:cloud:bitbucket::workspace/8a1f", "sub": "{437d}:{9d3b}", "repositoryUuid": "{437d}", "stepUuid": "{9d3b}", "pipelineUuid": "{77}", "workspaceUuid": "{8a1f}", "branchName": "main"}},
			[]claims{{"aud": "ari:cloud:bitbucket::workspace/other", "sub": "{437d}:{9d3b}", "repositoryUuid": "{437d}", "stepUuid": "{9d3b}"}},
		},
		"CircleCI": {
			"https://oidc.circleci.com/org/ORGANIZATION_ID", []string{"ORGANIZATION_ID", "0f1e"},
			[]claims{{"aud": "0f1e", "sub": "org/0f1e/project/76c1/user/4b2a", "oidc.circleci.com/project-id": "76c1", "oidc.circleci.com/context-ids": []string{"c1"}}},
			[]claims{{"aud": "0f1e", "sub": "org/0f1e/project/76c1/user/4b2a"}, {"aud": "other", "sub": "org/other/project/76c1/user/4b2a", "oidc.circleci.com/project-id": "76c1"}},
		},
		"Buildkite": {
			"https://agent.buildkite.com", nil,
			[]claims{{"aud": "https://gateway.example.com", "sub": "organization:acme:pipeline:x:ref:refs/heads/main:commit:9f31:step:build", "job_id": "0184", "pipeline_id": "0183"}},
			[]claims{{"aud": "https://buildkite.com/acme", "sub": "organization:acme:pipeline:x:ref:refs/heads/main:commit:9f31:step:build", "job_id": "0184"}},
		},
		"HCP Terraform": {
			"https://app.terraform.io", nil,
			[]claims{{"aud": "https://gateway.example.com", "sub": "organization:o:project:p:workspace:w:run_phase:apply", "terraform_run_phase": "apply", "terraform_run_id": "run-1", "terraform_workspace_id": "ws-1"}},
			[]claims{{"aud": "aws.workload.identity", "sub": "organization:o:project:p:workspace:w:run_phase:apply", "terraform_run_phase": "apply"}},
		},
		"SPIFFE": {
			"https://spire.example.org", []string{":8443/", "/openid/v1/jwks"},
			[]claims{{"iss": idp.Absent, "aud": []string{"gateway"}, "sub": "spiffe://example.org/ns/prod/sa/web"}},
			[]claims{
				{"iss": idp.Absent, "aud": []string{"gateway"}, "sub": "spiffe://other.example/ns/prod/sa/web"},
				{"iss": idp.Absent, "aud": []string{"other"}, "sub": "spiffe://example.org/ns/prod/sa/web"},
			},
		},
		"Dex": {
			"https://dex.example.com", nil,
			[]claims{{"aud": "my-client-id", "sub": "CgVqYW5l", "at_hash": "h", "nonce": "n", "email": "jane@example.com", "email_verified": true}},
			[]claims{
				{"aud": "other-client-id", "sub": "CgVqYW5l", "at_hash": "h", "email": "jane@example.com"},
				{"aud": "my-client-id", "sub": "CgVqYW5l", "at_hash": "h", "c_hash": "c", "nonce": "n"},                                                      // an ID token
				{"aud": "my-client-id", "sub": "CgVqYW5l", "at_hash": "h", "events": claims{"http://schemas.openid.net/event/backchannel-logout": claims{}}}, // a logout token
			},
		},
		"authentik": {
			"https://authentik.example.com/application/o/gateway/", []string{"CLIENT_ID", "Gk3a"},
			[]claims{
				{"aud": "Gk3a", "sub": "5a1c", "azp": "Gk3a", "uid": "S0me", "sid": "b1", "amr": []string{"pwd"}, "auth_time": 1, "nonce": "n", "groups": []string{"admins"}},
				{"aud": "Gk3a", "sub": "9e0d", "azp": "Gk3a", "uid": "0ther", "auth_time": 1, "preferred_username": "ak-ci-client_credentials"},
			},
			[]claims{
				{"aud": "Gk3a", "sub": "5a1c", "sid": "b1", "amr": []string{"pwd"}, "nonce": "n", "at_hash": "h"}, // an ID token
				{"aud": "0ther", "sub": "5a1c", "azp": "0ther", "uid": "S0me", "sid": "b1"},
			},
		},
		"Zitadel": {
			"https://acme.zitadel.cloud", []string{"PROJECT_ID", "6923", "WEB_CLIENT_ID", "7777@acme"},
			[]claims{
				{"aud": []string{"7777@acme", "6923"}, "sub": "1837", "client_id": "7777@acme", "urn:zitadel:iam:org:project:6923:roles": claims{"reader": claims{"1": "acme.example"}}},
				{"aud": []string{"6923"}, "sub": "1838", "client_id": "ci"},
			},
			[]claims{{"aud": []string{"7777@acme"}, "sub": "1837", "client_id": "7777@acme"}, {"aud": []string{"6923"}, "sub": "1837", "azp": "7777@acme", "at_hash": "h"}},
		},
		"Kubernetes workloads": {
			"https://kubernetes.default.svc.cluster.local",
			[]string{"/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", "DIR/ca.crt", "/var/run/secrets/kubernetes.io/serviceaccount/token", "DIR/token"},
			[]claims{{"aud": []string{"gateway"}, "sub": "system:serviceaccount:ci:deployer", "kubernetes.io": account("ci")}},
			[]claims{
				{"aud": []string{"https://kubernetes.default.svc.cluster.local"}, "sub": "system:serviceaccount:ci:deployer", "kubernetes.io": account("ci")},
				{"aud": []string{"gateway"}, "sub": "system:serviceaccount:ci:deployer", "kubernetes.io": account("ci"), "exp": 1},
			},
		},
	} {
		issuer, dir := newIssuer(t, idp.WithTLS(), idp.WithJWKSPath("/openid/v1/jwks")), t.TempDir()
		for name, content := range map[string][]byte{"ca.crt": issuer.CAPEM(), "token": []byte("of-the-pod")} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		block := strings.NewReplacer(append([]string{c.url, issuer.URL}, c.vars...)...).Replace(recipe(t, heading, 1))
		block = strings.ReplaceAll(block, "DIR/", dir+"/")
		if !strings.Contains(block, "\tca ") {
			block = strings.Replace(block, " {\n", " {\n\tca "+dir+"/ca.crt\n", 1)
		}
		g := start(t, "{\n"+globals+"\n\tgatehouse {\n"+block+"\n\t\tservice_accounts {\n\t\t\tregistration optional\n\t\t}\n\t}\n}\nhttp://SITE {\n\tbind 127.0.0.1\n\tbearer_auth\n\trespond ok\n}\n")
		for status, tokens := range map[int][]claims{200: c.good, 401: c.bad} {
			for i, token := range tokens {
				if got := g.get("/", bearer(issuer.Mint(token, idp.WithHeader("typ", "JWT")))); got.status != status {
					t.Errorf("%s: token %d: got %d %q, want %d (%s)", heading, i, got.status, got.body, status, got.header.Get("WWW-Authenticate"))
				}
			}
		}
		g.stop()
	}
}

// testedRecipes are the documented recipes, each run by a test.
var testedRecipes = []string{
	"Microsoft Entra ID", "Keycloak", "Auth0", "Okta", "Amazon Cognito", "Google service accounts", "Kubernetes workloads",
	"Deploys from GitHub Actions", "GitLab CI", "Bitbucket Pipelines", "CircleCI", "Buildkite", "HCP Terraform", "SPIFFE", "Dex", "authentik", "Zitadel",
	"Several issuers", "An MCP server, or any API whose clients must find the issuer", "Gatehouse as another proxy's check", "Behind another proxy", "CORS", "A gRPC service", "Health checks without a token", "Moving from basic_auth", "A login page for people",
	"Auth0 and Okta with DPoP", "Keycloak with both", "Certificates that end at a proxy in front", "A browser app with DPoP",
}

func TestEveryRecipeIsRun(t *testing.T) {
	var found []string
	for _, page := range recipePages {
		for _, part := range strings.Split(read(t, page), "\n## ")[1:] {
			if heading, text, _ := strings.Cut(part, "\n"); strings.Contains(text, "```caddyfile\n") {
				found = append(found, heading)
			}
		}
	}
	if !slices.Equal(found, testedRecipes) {
		t.Errorf("got the recipes %q, want those with a test: %q", found, testedRecipes)
	}
}

// What "Start here" says of the first tokens of a person and of a machine holds.
func TestStartHere(t *testing.T) {
	_, rest, _ := strings.Cut(read(t, "../README.md"), "\n## Start here\n")
	_, rest, _ = strings.Cut(rest, "```caddyfile\n{\n")
	text, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("README.md has no such Caddyfile")
	}
	issuer, admin := newIssuer(t), freeAddress(t)
	g := start(t, "{\n"+strings.Replace(globals, "admin off", "admin "+admin, 1)+"\n"+text,
		"https://login.example.com/realms/acme", issuer.URL, "gateway.example.com {", "http://SITE {\n\tbind 127.0.0.1",
		"127.0.0.1:8009", strings.TrimPrefix(newUpstream(t).URL, "http://"))
	eventually(t, "the service accounts are loaded", func() bool { return strings.Contains(g.log(), "service accounts loaded") })

	person := mint(issuer, claims{"sub": "alice", "groups": []string{"admin"}})
	if got := g.get("/", bearer(person)); got.seen(t).Headers.Get("X-Auth-Subject") != "alice" {
		t.Errorf("a person: got %d %s", got.status, got.body)
	}
	machine := bearer(mint(issuer, claims{"sub": "ci-deploy", "azp": "ci-deploy"}))
	if got := g.get("/", machine); got.status != http.StatusUnauthorized || !strings.Contains(got.header.Get("WWW-Authenticate"), "the service account is not registered") {
		t.Errorf("a machine that nobody registered: got %d %s", got.status, got.header.Get("WWW-Authenticate"))
	}
	if got := g.do(g.client, http.MethodPost, "http://"+admin+"/api/serviceaccounts", bearer(person), content(`{"subject":"ci-deploy","status":"active"}`)); got.status != http.StatusCreated {
		t.Fatalf("registering it: got %d %s", got.status, got.body)
	}
	if got := g.get("/", machine); got.status != http.StatusOK {
		t.Errorf("a registered machine: got %d %s", got.status, got.header.Get("WWW-Authenticate"))
	}
	if got := g.get("/"); got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != `Bearer realm="gatehouse"` {
		t.Errorf("no token: got %d %s", got.status, got.header.Get("WWW-Authenticate"))
	}
}

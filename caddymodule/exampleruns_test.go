package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
	"github.com/gatehouse-proxy/gatehouse/internal/upstream/wsecho"
)

// hoop answers as hoop's gateway does: pages for everybody, its public routes, agents
// by HOOP_KEY on one route, AWS sessions by a signature, and the rest by a bearer: a
// key of its own or a JWT, which it would verify itself. It believes the header
// Api-Key, too.
func hoop(w http.ResponseWriter, r *http.Request) {
	public := regexp.MustCompile(`^/api/(healthz|publicserverinfo|openapiv[23]\.json|login|callback|saml/login|saml/callback|localauth/login|localauth/register|signup)$`)
	download := regexp.MustCompile(`^/api/sessions/[^/]+/download(/input)?$`)
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch path := r.URL.Path; {
	case path == "/ssm/":
		answerIf(w, scheme == "AWS4-HMAC-SHA256", "session")
	case path != "/api" && !strings.HasPrefix(path, "/api/"):
		_, _ = w.Write([]byte("page"))
	case public.MatchString(path):
		_, _ = w.Write([]byte("public"))
	case download.MatchString(path):
		answerIf(w, r.URL.Query().Get("token") == "theirs", "download")
	case path == "/api/ws":
		if r.Header.Get("HOOP_KEY") != "agent" {
			answerIf(w, false, "")
			return
		}
		wsecho.Serve(w, r)
	case r.Header.Get("Api-Key") != "":
		answerIf(w, r.Header.Get("Api-Key") == "xapi-1", "admin")
	case scheme == "Bearer" && strings.HasPrefix(key, "hpk_"):
		answerIf(w, key == "hpk_good", "api key")
	default:
		answerIf(w, scheme == "Bearer" && strings.Count(key, ".") == 2, "caller")
	}
}

func answerIf(w http.ResponseWriter, good bool, text string) {
	if !good {
		http.Error(w, "access denied", http.StatusUnauthorized)
		return
	}
	_, _ = w.Write([]byte(text))
}

func hoopExample(t *testing.T) {
	issuer := newIssuer(t)
	upstream := httptest.NewServer(http.HandlerFunc(hoop))
	t.Cleanup(upstream.Close)
	g := runExample(t, "hoop", append(site("hoop.example.com", "127.0.0.1:8009", upstream.URL), "https://login.example.com/realms/acme", issuer.URL)...)
	agent, none := header("HOOP_KEY", "agent"), header("X", "y")
	person := bearer(issuer.Mint(claims{"sub": "jane", "aud": "hoop", "typ": "Bearer", "sid": "1", "scope": "openid profile"}))
	machine := bearer(issuer.Mint(claims{"sub": "5e7", "aud": "hoop", "typ": "Bearer", "azp": "ci", "client_id": "ci", "preferred_username": "service-account-ci"}))
	expectFrom(t, "hoop", map[string]edit{
		"nothing": nothing, "a person's token": person, "a machine's token": machine, "an agent's `HOOP_KEY`": agent,
		"one of hoop's API keys": header("Authorization", "Bearer hpk_good"), "a wrong API key": header("Authorization", "Bearer hpk_bad"),
		"the header `Api-Key`": header("Api-Key", "xapi-1"), "an AWS signature": header("Authorization", "AWS4-HMAC-SHA256 Credential=theirs"),
	}, func(method, path string, edits ...edit) answer {
		if path == "/api/ws" {
			dialSocket(t, "http://"+g.site+path, edits...)
			return answer{status: http.StatusSwitchingProtocols}
		}
		return g.send(method, path, edits...)
	})
	gate := "" // of Gatehouse's own refusals
	for _, c := range []struct {
		method, path string
		edit         edit
		status       int
		body         string
	}{
		{"GET", "/", none, 200, "page"},
		{"GET", "/js/app.js", none, 200, "page"},
		{"GET", "/auth/callback", none, 200, "page"},
		{"GET", "/api/healthz", none, 200, "public"},
		{"GET", "/api/publicserverinfo", none, 200, "public"},
		{"GET", "/api/openapiv3.json", none, 200, "public"},
		{"GET", "/api/login", none, 200, "public"},
		{"GET", "/api/callback?code=1", none, 200, "public"},
		{"POST", "/api/saml/callback", none, 200, "public"},
		{"POST", "/api/localauth/login", none, 200, "public"},
		{"POST", "/api/signup", none, 200, "public"},
		{"GET", "/api/sessions/1/download?token=theirs", none, 200, "download"},
		{"GET", "/api/sessions/1/download/input?token=theirs", none, 200, "download"},
		{"GET", "/api/users", none, 401, gate},
		{"GET", "/api", none, 401, gate},
		{"GET", "/api/users", agent, 401, gate},
		{"POST", "/api/serviceaccounts", both(agent, header("Api-Key", "xapi-1")), 401, gate},
		{"GET", "/api/users", header("Api-Key", "xapi-1"), 401, gate},
		{"GET", "/api/sessions/1", none, 401, gate},
		{"GET", "/api/healthz/../users", header("Api-Key", "xapi-1"), 401, gate},
		{"GET", "/api/ws/../users", header("Api-Key", "xapi-1"), 401, gate},
		{"GET", "/api/ws", none, 401, "access denied\n"},
		{"GET", "/%61pi/users", header("Api-Key", "xapi-1"), 401, gate},
		{"GET", "/api%2Fusers", header("Api-Key", "xapi-1"), 401, gate},
		{"GET", "//api/users", header("Api-Key", "xapi-1"), 401, gate},
		{"GET", "/api/users", header("Authorization", "Bearer hpk_good"), 200, "api key"},
		{"GET", "/api/users", header("Authorization", "Bearer hpk_bad"), 401, "access denied\n"},
		{"GET", "/api/users", header("Authorization", "Bearer hpk_a.b.c"), 401, gate},
		{"GET", "/api/users", person, 200, "caller"},
		{"GET", "/api/users", machine, 401, gate}, // not registered
		{"GET", "/api/users", both(machine, agent), 401, gate},
	} {
		if got := g.send(c.method, c.path, c.edit); got.status != c.status || got.body != c.body {
			t.Errorf("%s %s: got %d %q, want %d %q (%s)", c.method, c.path, got.status, got.body, c.status, c.body, got.header.Get("WWW-Authenticate"))
		}
	}
}

// A page in a browser may send its token, and read the challenge of a refusal, which
// leads it to the issuer.
func mcpExample(t *testing.T) {
	const origin = "https://inspector.example.com"
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Mcp-Session-Id", "s1")
	}))
	t.Cleanup(upstream.Close)
	issuer := newIssuer(t)
	g := runExample(t, "mcp", append(site("mcp.example.com", "127.0.0.1:3000", upstream.URL), "https://login.example.com/realms/acme", issuer.URL)...)
	scoped := func(scope string) edit {
		return bearer(mint(issuer, claims{"sub": "alice", "aud": "https://mcp.example.com", "scope": scope}))
	}
	expect(t, "mcp", g, map[string]edit{
		"nothing": nothing, "a token with the scope": scoped("mcp"), "a token without the scope": scoped("openid"),
		"a browser's preflight": both(header("Origin", origin), header("Access-Control-Request-Method", "POST")),
	})
	url := "http://" + g.site + "/mcp"
	from := header("Origin", origin)
	allowed := func(got answer) {
		t.Helper()
		if values := got.header.Values("Access-Control-Allow-Origin"); len(values) != 1 || values[0] != origin {
			t.Errorf("allowed origins are %q, want %q alone", values, origin)
		}
	}

	got, err := try(g.client, "OPTIONS", url, from, header("Access-Control-Request-Method", "POST"), header("Access-Control-Request-Headers", "authorization"))
	if err != nil || got.status != http.StatusNoContent || !strings.Contains(got.header.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("the preflight got %d %v, %v", got.status, got.header, err)
	}
	allowed(got)

	got, err = try(g.client, "POST", url, from)
	if err != nil || got.status != http.StatusUnauthorized || !strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
		t.Errorf("without a token: got %d %v, %v", got.status, got.header, err)
	}
	allowed(got)

	got, err = try(g.client, "POST", url, from, scoped("mcp"))
	if err != nil || got.status != http.StatusOK || got.header.Get("Mcp-Session-Id") != "s1" {
		t.Errorf("with a token: got %d %v, %v", got.status, got.header, err)
	}
	allowed(got)

	got, err = try(g.client, "GET", "http://"+g.site+wellKnown, from)
	var document struct {
		AuthorizationServers []string `json:"authorization_servers"`
		ScopesSupported      []string `json:"scopes_supported"`
	}
	if err != nil || json.Unmarshal([]byte(got.body), &document) != nil ||
		!slices.Equal(document.AuthorizationServers, []string{issuer.URL}) || !slices.Equal(document.ScopesSupported, []string{"mcp"}) {
		t.Errorf("the metadata are %d %s, %v", got.status, got.body, err)
	}
	if values := got.header.Values("Access-Control-Allow-Origin"); len(values) != 1 {
		t.Errorf("allowed origins of the metadata are %q", values)
	}
}

// Behind a real forward_auth nobody gets in by saying to be gRPC, nor as somebody
// else by naming them.
func forwardAuthExample(t *testing.T) {
	issuer, up := newIssuer(t), newUpstream(t)
	g := runExample(t, "forward-auth", append(site("app.example.com", "127.0.0.1:8009", up.URL), "https://login.example.com/realms/acme", issuer.URL,
		"http://127.0.0.1:9180 {", "http://SECOND {\n\tbind 127.0.0.1", "127.0.0.1:9180", "SECOND", // HTTP/2, as gRPC needs it
		"\tgatehouse {", "\tservers {\n\t\tprotocols h1 h2c\n\t}\n\tgatehouse {")...)
	token := mint(issuer, claims{"sub": "jane"})
	spoofed := header("X-User", "admin")
	expect(t, "forward-auth", g, map[string]edit{
		"nothing": nothing, "a person's token": bearer(token), "an `X-User` of the client's own": spoofed,
		"a person's token, and an `X-User` of the client's own": both(bearer(token), spoofed),
		"the content type of gRPC":                              header("Content-Type", "application/grpc"),
	})
	for name, client := range map[string]*http.Client{"HTTP/1.1": g.client, "HTTP/2": g.h2c} {
		for _, method := range []string{"GET", "POST"} {
			for _, kind := range []string{"", "application/grpc", "application/grpc-web"} {
				before := up.Count()
				got := g.do(client, method, "http://"+g.site+"/x", spoofed, header("Content-Type", kind))
				if got.status != http.StatusUnauthorized || up.Count() != before {
					t.Errorf("%s %s %q without a token: got %d", name, method, kind, got.status)
				}
			}
			got := g.do(client, method, "http://"+g.site+"/x", spoofed, bearer(token), header("Content-Type", "application/grpc"))
			if seen := got.seen(t); seen.Headers.Get("X-User") != "jane" {
				t.Errorf("%s %s: the upstream saw X-User %q, want jane", name, method, seen.Headers["X-User"])
			}
		}
	}
}

func githubActionsExample(t *testing.T) {
	issuer := newIssuer(t)
	g := runExample(t, "github-actions", append(site("gateway.example.com", "127.0.0.1:8009", newUpstream(t).URL), "https://token.actions.githubusercontent.com", issuer.URL)...)
	job := func(audience, repository, environment string) edit {
		return bearer(issuer.Mint(claims{
			"aud": audience, "sub": "repo:acme@65/shop@" + repository + ":environment:" + environment, "environment": environment,
			"repository": "acme/shop", "repository_id": repository, "repository_owner": "acme", "repository_owner_id": "65",
			"ref": "refs/heads/main", "workflow": "deploy", "run_id": "1", "actor": "jane", "event_name": "push",
		}, idp.WithHeader("typ", "JWT")))
	}
	expect(t, "github-actions", g, map[string]edit{
		"nothing":                               nothing,
		"a job of the environment `production`": job("https://gateway.example.com", "74102345", "production"),
		"a job of another environment":          job("https://gateway.example.com", "74102345", "staging"),
		"another repository that took the name": job("https://gateway.example.com", "74102346", "production"),
		"a job that asked for another audience": job("https://github.com/acme", "74102345", "production"),
	})
}

// provider gives who has which token of an issuer.
func provider(issuer *idp.Issuer, tokens map[string]claims) map[string]edit {
	who := map[string]edit{"nothing": nothing}
	for with, token := range tokens {
		who[with] = bearer(issuer.Mint(token, idp.WithHeader("typ", "JWT")))
	}
	return who
}

// runProvider runs an example whose issuer is a provider, in front of an upstream.
func runProvider(t *testing.T, name, identifier string, issuer *idp.Issuer, vars ...string) *gateway {
	t.Helper()
	vars = append(vars, identifier, issuer.URL)
	return runExample(t, name, append(site("gateway.example.com", "127.0.0.1:8009", newUpstream(t).URL), vars...)...)
}

func entraExample(t *testing.T) {
	issuer, role := newIssuer(t), []string{"Gateway.Access"}
	g := runProvider(t, "entra", "https://login.microsoftonline.com/TENANT_ID/v2.0", issuer, "API_CLIENT_ID", "a91")
	expect(t, "entra", g, provider(issuer, map[string]claims{
		"a person with the role":      {"aud": "a91", "sub": "pairwise", "oid": "0a1b", "azp": "c11e", "azpacr": "0", "tid": "7e4a", "scp": "access_as_user", "roles": role, "ver": "2.0"},
		"a person without the role":   {"aud": "a91", "sub": "pairwise", "oid": "0a1b", "azp": "c11e", "azpacr": "0", "tid": "7e4a", "scp": "access_as_user", "ver": "2.0"},
		"a machine with the role":     {"aud": "a91", "sub": "0a1b", "oid": "0a1b", "azp": "c11e", "azpacr": "1", "tid": "7e4a", "roles": role, "ver": "2.0"},
		"a machine without the role":  {"aud": "a91", "sub": "0a1b", "oid": "0a1b", "azp": "c11e", "azpacr": "1", "tid": "7e4a", "ver": "2.0"},
		"a token for Microsoft Graph": {"aud": "00000003-0000-0000-c000-000000000000", "sub": "pairwise", "oid": "0a1b", "azp": "c11e", "tid": "7e4a", "scp": "User.Read"},
		"an ID token":                 {"aud": "a91", "sub": "pairwise", "oid": "0a1b", "tid": "7e4a", "name": "Jane", "nonce": "n", "roles": role},
	}))
}

func keycloakExample(t *testing.T) {
	issuer, audience := newIssuer(t), []string{"gateway", "account"}
	g := runProvider(t, "keycloak", "https://login.example.com/realms/acme", issuer)
	expect(t, "keycloak", g, provider(issuer, map[string]claims{
		"a person":                   {"aud": audience, "sub": "6a1d", "typ": "Bearer", "azp": "web", "sid": "s", "preferred_username": "jane"},
		"a person with the role":     {"aud": audience, "sub": "6a1d", "typ": "Bearer", "azp": "web", "sid": "s", "preferred_username": "jane", "realm_access": claims{"roles": []string{"deployers"}}},
		"the machine `ci`":           {"aud": audience, "sub": "5f0c", "typ": "Bearer", "azp": "ci", "client_id": "ci", "clientHost": "10.0.0.7", "preferred_username": "service-account-ci"},
		"another machine":            {"aud": audience, "sub": "5f0d", "typ": "Bearer", "azp": "cron", "client_id": "cron", "clientHost": "10.0.0.7", "preferred_username": "service-account-cron"},
		"a token without the mapper": {"aud": "account", "sub": "6a1d", "typ": "Bearer", "azp": "web", "sid": "s", "preferred_username": "jane"},
		"an ID token":                {"aud": "gateway", "sub": "6a1d", "typ": "ID", "azp": "gateway", "sid": "s", "preferred_username": "jane"},
	}))
}

func auth0Example(t *testing.T) {
	issuer := newIssuer(t)
	g := runProvider(t, "auth0", "https://acme.eu.auth0.com/", issuer)
	who := provider(issuer, map[string]claims{
		"a person who may read":         {"aud": []string{"https://gateway.example.com", "https://acme.eu.auth0.com/userinfo"}, "sub": "auth0|6a1d", "azp": "web", "scope": "openid profile", "permissions": []string{"orders:read"}},
		"a machine that may write":      {"aud": "https://gateway.example.com", "sub": "c11e@clients", "azp": "c11e", "gty": "client-credentials", "scope": "orders:write", "permissions": []string{"orders:write"}},
		"a machine without permissions": {"aud": "https://gateway.example.com", "sub": "c11f@clients", "azp": "c11f", "gty": "client-credentials", "permissions": []string{}},
		"an ID token":                   {"aud": "https://gateway.example.com", "sub": "auth0|6a1d", "nonce": "n", "sid": "s", "permissions": []string{"orders:read"}},
	})
	who["an opaque token"] = bearer("l0paqueT0ken")
	expect(t, "auth0", g, who)
}

func oktaExample(t *testing.T) {
	issuer := newIssuer(t)
	g := runProvider(t, "okta", "https://acme.okta.com/oauth2/default", issuer)
	expect(t, "okta", g, provider(issuer, map[string]claims{
		"a person who may read":                {"aud": "api://default", "sub": "jane@example.com", "cid": "0oa1", "uid": "00u1", "ver": 1, "scp": []string{"openid", "orders.read"}},
		"a person of the group":                {"aud": "api://default", "sub": "joe@example.com", "cid": "0oa1", "uid": "00u2", "ver": 1, "scp": []string{"openid", "orders.read"}, "groups": []string{"orders-admins"}},
		"a machine that may write":             {"aud": "api://default", "sub": "0oa2", "cid": "0oa2", "ver": 1, "scp": []string{"orders.write"}, "groups": []string{"orders-admins"}},
		"a machine with another scope":         {"aud": "api://default", "sub": "0oa3", "cid": "0oa3", "ver": 1, "scp": []string{"other"}},
		"a token of the organization's server": {"iss": "https://acme.okta.com", "aud": "https://acme.okta.com", "sub": "jane@example.com", "cid": "0oa1", "uid": "00u1", "scp": []string{"openid"}},
		"an ID token":                          {"aud": "0oa1", "sub": "00u1", "ver": 1, "idp": "00o1", "at_hash": "h", "nonce": "n"},
	}))
}

func kubernetesExample(t *testing.T) {
	issuer, dir := newIssuer(t, idp.WithTLS(), idp.WithJWKSPath("/openid/v1/jwks")), t.TempDir()
	issuer.RequireBearer("of-the-pod") // as the API server does
	for name, content := range map[string][]byte{"ca.crt": issuer.CAPEM(), "token": []byte("of-the-pod")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g := runExample(t, "kubernetes", append(site("http://gateway.shop.svc.cluster.local", "127.0.0.1:8009", newUpstream(t).URL),
		"/var/run/secrets/kubernetes.io/serviceaccount", dir, "https://kubernetes.default.svc.cluster.local", issuer.URL)...)
	pod := func(audience, namespace, account string) claims {
		return claims{"aud": []string{audience}, "sub": "system:serviceaccount:" + namespace + ":" + account, "kubernetes.io": claims{
			"namespace": namespace, "serviceaccount": claims{"name": account, "uid": "u"}, "pod": claims{"name": "p", "uid": "v"},
		}}
	}
	expect(t, "kubernetes", g, provider(issuer, map[string]claims{
		"a pod of the namespace `shop`":                  pod("gateway", "shop", "default"),
		"a `deployer` of the namespace `shop`":           pod("gateway", "shop", "deployer"),
		"the service account `deployer` of `ci`":         pod("gateway", "ci", "deployer"),
		"a pod of another namespace":                     pod("gateway", "guests", "deployer"),
		"the token that each pod has for the API server": pod("https://kubernetes.default.svc.cluster.local", "shop", "default"),
	}))
}

// A load balancer appends the address of its client, whatever the client says. What
// others than the load balancer say is not believed.
func behindProxyExample(t *testing.T) {
	issuer, up := newIssuer(t), newUpstream(t)
	person := bearer(mint(issuer, claims{"sub": "jane"}))
	lied := header("X-Forwarded-For", "127.0.0.9")
	run := func(network string) *gateway {
		return runExample(t, "behind-proxy", append(site("http://gateway.example.com", "127.0.0.1:8009", up.URL),
			"https://login.example.com/realms/acme", issuer.URL, "10.0.0.0/8", network)...)
	}
	g := run("127.0.0.0/8")
	balancer := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: g.site})
		r.Out.Host = r.In.Host
		r.Out.Header["X-Forwarded-For"] = append(slices.Clone(r.In.Header["X-Forwarded-For"]), "203.0.113.7")
		r.Out.Header.Set("X-Forwarded-Proto", "https")
	}})
	t.Cleanup(balancer.Close)
	through := func(r *http.Request) { r.URL.Host = strings.TrimPrefix(balancer.URL, "http://") }
	expect(t, "behind-proxy", g, map[string]edit{
		"nothing": through, "nothing, by the load balancer itself": nothing, "a person's token": both(through, person),
		"an `X-Forwarded-For` of the client's own": both(through, lied),
	})
	headers := g.get("/", both(through, person), lied).seen(t).Headers
	if addresses := strings.Split(headers.Get("X-Forwarded-For"), ", "); !slices.Contains(addresses, "203.0.113.7") || headers.Get("X-Forwarded-Proto") != "https" {
		t.Errorf("the upstream saw %v", headers)
	}
	if log := g.log(); !strings.Contains(log, `"client_ip":"203.0.113.7"`) || strings.Contains(log, `"client_ip":"127.0.0.9"`) {
		t.Error("the log does not have the client's address, or another one")
	}
	g.stop()

	g = run("10.0.0.0/8")
	if got := g.get("/healthz", header("X-Forwarded-For", "10.0.0.1")); got.status != http.StatusUnauthorized {
		t.Errorf("beside the load balancer: got %d", got.status)
	}
	headers = g.get("/", person, header("X-Forwarded-For", "10.0.0.1"), header("X-Forwarded-Proto", "https")).seen(t).Headers
	if headers.Get("X-Forwarded-For") != "127.0.0.1" || headers.Get("X-Forwarded-Proto") != "http" {
		t.Errorf("beside the load balancer: the upstream saw %v", headers)
	}
}

func twoNodesExample(t *testing.T) {
	dir, issuer, up := t.TempDir(), newIssuer(t), newUpstream(t)
	text, _ := strings.CutPrefix(exampleFile(t, "two-nodes", "Caddyfile"), "{\n")
	vars := append(site("gateway.example.com", "127.0.0.1:8009", up.URL), "https://login.example.com/realms/acme", "ISSUER", "/mnt/shared/caddy", "DIR/storage")
	config := strings.NewReplacer(vars...).Replace("{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tlog {\n\t\toutput file LOG\n\t}\n" + text)
	first, second := startNodeOf(t, dir, issuer, config), startNodeOf(t, dir, issuer, config)
	admin := bearer(mint(issuer, claims{"sub": "alice", "groups": []string{"gateway-admins"}}))
	ci := first.machine("ci")
	change := func(method, path, body string, want int) {
		t.Helper()
		if got, err := tryOnce(first.client, method, first.url+path, []edit{admin, content(body)}); err != nil || got.status != want {
			t.Fatalf("%s %s: got %d %s, %v", method, path, got.status, got.body, err)
		}
	}
	ask := func(n *node) func(method, path string, edits ...edit) answer {
		return func(method, path string, edits ...edit) answer {
			got, err := try(n.client, method, n.url+path, edits...)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
	}
	change("POST", "/api/serviceaccounts", `{"subject":"ci","status":"active"}`, http.StatusCreated)
	eventually(t, "the other node knows it", func() bool { return ask(second)("GET", "/", ci).status == http.StatusOK })
	for _, n := range []*node{first, second} {
		expectFrom(t, "two-nodes", map[string]edit{"nothing": nothing, "the machine `ci`": ci, "another machine": n.machine("other"), "an administrator": admin}, ask(n))
	}
	change("PUT", "/api/serviceaccounts/ci", `{"status":"inactive"}`, http.StatusOK)
	eventually(t, "no node lets it in", func() bool {
		return ask(first)("GET", "/", ci).status == http.StatusUnauthorized && ask(second)("GET", "/", ci).status == http.StatusUnauthorized
	})
}

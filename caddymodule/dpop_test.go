package caddymodule_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const dpopSite = `{
	GLOBALS
	gatehouse {
		service_accounts {
			registration optional
		}
		dpop {
			OPTIONS
		}
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	handle /metrics {
		metrics
	}
	handle {
		bearer_auth
		respond "in"
	}
}
`

// dpopGateway is one with options of dpop, whom its holder asks.
type dpopGateway struct {
	*gateway
	issuer *idp.Issuer
	me     *holder
	token  string
}

func startDPoP(t *testing.T, options string) *dpopGateway {
	t.Helper()
	g := &dpopGateway{issuer: newIssuer(t), me: newHolder(t)}
	g.gateway = start(t, dpopSite, "ISSUER", g.issuer.URL, "OPTIONS", options)
	g.token = g.me.token(g.issuer)
	return g
}

// reload loads the site with other options.
func (g *dpopGateway) reload(options string) {
	g.t.Helper()
	if err := g.load(strings.Replace(dpopSite, "OPTIONS", options, 1)); err != nil {
		g.t.Fatal(err)
	}
}

func (g *dpopGateway) proof(changes claims) string {
	return g.me.proof(g.token, "GET", "http://"+g.site+"/a", changes)
}

func (g *dpopGateway) ask(proof string) answer { return g.get("/a", with(g.token, proof)) }

func TestNonceOfTheNode(t *testing.T) {
	g := startDPoP(t, "nonce node")
	first := g.get("/a")
	if got := first.header.Values("DPoP-Nonce"); first.status != 401 || len(got) != 1 {
		t.Fatalf("without a token: %d, nonces %q", first.status, got)
	}
	proof := g.proof(nil)
	got := g.ask(proof)
	nonce := got.header.Get("DPoP-Nonce")
	if got.status != 401 || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), `DPoP realm="gatehouse", error="use_dpop_nonce"`) || nonce == "" {
		t.Fatalf("without a nonce: %d %s, nonce %q", got.status, reasonIn(got), nonce)
	}
	if got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("an answer with a nonce may be kept: %q", got.header)
	}
	good := g.proof(claims{"nonce": nonce})
	if got := g.ask(good); got.status != 200 || got.header.Get("DPoP-Nonce") != "" {
		t.Errorf("with it: %d %s, nonce %q", got.status, reasonIn(got), got.header.Get("DPoP-Nonce"))
	}
	if got := g.ask(good); got.status != 401 || !strings.Contains(reasonIn(got), "was used before") || got.header.Get("DPoP-Nonce") != nonce {
		t.Errorf("again: %d %s", got.status, reasonIn(got))
	}
	for name, bad := range map[string]any{"of another": "bm9uZQ", "empty": ""} {
		if got := g.ask(g.proof(claims{"nonce": bad})); got.status != 401 || !strings.Contains(reasonIn(got), "is old or of another server") {
			t.Errorf("%s: %d %s", name, got.status, reasonIn(got))
		}
	}
	g.reload("nonce node\nmax_age 50s")
	if got := g.ask(g.proof(claims{"nonce": nonce})); got.status != 200 {
		t.Errorf("a reload changes the nonces: %d %s", got.status, reasonIn(got))
	}
	if got := g.ask(good); got.status != 401 || !strings.Contains(reasonIn(got), "was used before") {
		t.Errorf("after a reload: %d %s", got.status, reasonIn(got))
	}
	// Without any configuration the memory ends, as it does with the process. What it
	// remembered has a nonce that is good no more.
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	g.reload("nonce node")
	if got := g.ask(good); got.status != 401 || !strings.Contains(reasonIn(got), "is old or of another server") {
		t.Errorf("after a restart: %d %s", got.status, reasonIn(got))
	}
}

// A gRPC call is refused in gRPC's own way, with the nonce and the challenge beside it,
// and a stream that a proof has opened ends with its token.
func TestDPoPOfStreams(t *testing.T) {
	if apart(t) {
		return
	}
	g := &dpopGateway{issuer: newIssuer(t), me: newHolder(t)}
	config := strings.NewReplacer("GLOBALS", "GLOBALS\nservers {\nprotocols h1 h2c\n}", "OPTIONS", "nonce node", "name acme\n", "name acme\nleeway 0s\n",
		"respond \"in\"", "reverse_proxy UPSTREAM").Replace(dpopSite)
	g.gateway = start(t, config, "ISSUER", g.issuer.URL, "UPSTREAM", newTicker(t).URL)
	g.token = g.me.token(g.issuer)
	got := g.do(g.h2c, "POST", "http://"+g.site+"/", header("Content-Type", "application/grpc"),
		with(g.token, g.me.proof(g.token, "POST", "http://"+g.site+"/", nil)))
	nonce := got.header.Get("DPoP-Nonce")
	if got.status != 200 || got.header.Get("Grpc-Status") != "16" || nonce == "" || !strings.Contains(reasonIn(got), "use_dpop_nonce") {
		t.Errorf("a gRPC call without a nonce: %d %v", got.status, got.header)
	}
	expiry := time.Now().Add(2 * time.Second).Truncate(time.Second)
	token := mint(g.issuer, claims{"cnf": claims{"jkt": g.me.thumbprint}, "exp": expiry.Unix()})
	url := "http://" + g.site + ticks("text/event-stream", "data: tick\n\n")
	stream := open(t, g.client, "GET", url, with(token, g.me.proof(token, "GET", url, claims{"nonce": nonce})))
	body, err := io.ReadAll(stream.Body)
	if err != nil || stream.StatusCode != 200 || strings.Count(string(body), "tick") < 2 {
		t.Errorf("got %d, %d bytes and %v, want a stream that ends", stream.StatusCode, len(body), err)
	}
	cutInTime(t, expiry)
}

// status says how proofs are remembered.
func TestStatusOfProofs(t *testing.T) {
	g := startDPoP(t, "nonce node\nreplay_memory 7")
	admin := freeAddress(t)
	load := func(config string) map[string]any {
		t.Helper()
		text := strings.Replace(strings.Replace(config, "GLOBALS", strings.Replace(globals, "admin off", "admin "+admin, 1), 1), "service_accounts {", "api {\ntrust_admin_endpoint\n}\nservice_accounts {", 1)
		if err := g.load(text); err != nil {
			t.Fatal(err)
		}
		shown, _ := g.do(g.client, "GET", "http://"+admin+"/api/status").object(t)["dpop"].(map[string]any)
		return shown
	}
	config := strings.Replace(dpopSite, "OPTIONS", "nonce node\nreplay_memory 7", 1)
	shown := load(config)
	if shown["nonce"] != "node" || shown["replay_memory"] != 7.0 || shown["remembered"] != 0.0 {
		t.Errorf("at first: %v", shown)
	}
	nonce := g.get("/a").header.Get("DPoP-Nonce")
	if got := g.ask(g.proof(claims{"nonce": nonce})); got.status != 200 {
		t.Fatalf("got %d %s", got.status, reasonIn(got))
	}
	if shown := load(strings.Replace(config, "node", "off", 1)); shown["nonce"] != "off" || shown["remembered"] != 1.0 || shown["other_nodes"] != 0.0 {
		t.Errorf("later: %v", shown)
	}
	if shown := load(strings.Replace(dpopSite, "dpop {\n\t\t\tOPTIONS\n\t\t}\n", "", 1)); shown != nil {
		t.Errorf("without a word of it: %v", shown)
	}
}

// A full memory refuses, and forgets nothing, through reloads, too.
func TestFullReplayMemory(t *testing.T) {
	g := startDPoP(t, "replay_memory 3")
	var taken []string
	for range 3 {
		taken = append(taken, g.proof(nil))
		if got := g.ask(taken[len(taken)-1]); got.status != 200 {
			t.Fatalf("there is room: %d %s", got.status, reasonIn(got))
		}
	}
	fresh := g.proof(nil)
	check := func(when string) {
		t.Helper()
		if got := g.ask(fresh); got.status != 503 || got.header.Get("Retry-After") == "" || reasonIn(got) != "" {
			t.Errorf("%s: %d %v", when, got.status, got.header)
		}
		for _, proof := range taken {
			if got := g.ask(proof); got.status != 401 || !strings.Contains(reasonIn(got), "was used before") {
				t.Errorf("%s, a proof that was taken: %d %s", when, got.status, reasonIn(got))
			}
		}
		if got := g.get("/a", bearer(mint(g.issuer, nil))); got.status != 200 {
			t.Errorf("%s, a bearer: %d", when, got.status)
		}
	}
	check("full")
	g.reload("replay_memory 1")
	check("with less room")
	g.reload("replay_memory 4\nmax_age 50s")
	if got := g.ask(fresh); got.status != 200 {
		t.Errorf("with more room, what was not taken: %d %s", got.status, reasonIn(got))
	}
	taken = append(taken, fresh)
	fresh = g.proof(nil)
	check("full again")
	if err := g.load(strings.Replace(dpopSite, "OPTIONS", "nonce never", 1)); err == nil {
		t.Error("a configuration with a fault loads")
	}
	check("after a reload that failed")
}

// The algorithms and the age of proofs are what the options say.
func TestOptionsOfProofs(t *testing.T) {
	g := startDPoP(t, "algorithms EdDSA\nmax_age 10s")
	if got := g.ask(g.proof(nil)); got.status != 401 || !strings.Contains(reasonIn(got), "algorithm of the DPoP proof is not accepted") || !strings.Contains(reasonIn(got), `algs="EdDSA"`) {
		t.Errorf("another algorithm: %d %s", got.status, reasonIn(got))
	}
	g.reload("algorithms ES256 EdDSA\nmax_age 10s")
	now := g.proof(nil)
	if got := g.ask(now); got.status != 200 {
		t.Errorf("a new proof: %d %s", got.status, reasonIn(got))
	}
	if got := g.ask(g.proof(claims{"iat": time.Now().Unix() - 11})); got.status != 401 || !strings.Contains(reasonIn(got), "is too old") {
		t.Errorf("an old one: %d %s", got.status, reasonIn(got))
	}
}

// What an issuer's own option lets in.
func TestBoundOptionOfIssuers(t *testing.T) {
	issuer, me := newIssuer(t), newHolder(t)
	g := prepare(t, "ISSUER", issuer.URL)
	bound, plain := me.token(issuer), mint(issuer, nil)
	for option, want := range map[string]struct {
		bound, plain int
		challenges   string // without a token
	}{
		"":               {200, 200, `Bearer realm="gatehouse"`},
		"bound off":      {401, 200, `Bearer realm="gatehouse"`},
		"bound optional": {200, 200, `Bearer realm="gatehouse" | DPoP realm="gatehouse", algs=`},
		"bound required": {200, 401, `Bearer realm="gatehouse" | DPoP realm="gatehouse", algs=`},
		"bound dpop":     {200, 401, `DPoP realm="gatehouse", algs=`},
	} {
		config := strings.NewReplacer("dpop {\n\t\t\tOPTIONS\n\t\t}\n", "", "name acme\n", "name acme\n"+option+"\n").Replace(dpopSite)
		if err := g.load(config); err != nil {
			t.Fatal(err)
		}
		proof := me.proof(bound, "GET", "http://"+g.site+"/a", nil)
		if got := g.get("/a", with(bound, proof)); got.status != want.bound {
			t.Errorf("%q, a bound token: %d %s", option, got.status, reasonIn(got))
		}
		if got := g.get("/a", bearer(plain)); got.status != want.plain {
			t.Errorf("%q, a plain token: %d %s", option, got.status, reasonIn(got))
		}
		if got := g.get("/a"); !strings.HasPrefix(reasonIn(got), want.challenges) || strings.Contains(want.challenges, "algs") != strings.Contains(reasonIn(got), "algs") {
			t.Errorf("%q, without a token: %s", option, reasonIn(got))
		}
	}
}

// What cannot work is refused when it is loaded, and before, and says what is missing.
func TestBoundConfigurationsThatDoNotLoad(t *testing.T) {
	certificate, key := selfSigned(t)
	const certificates = "tls CERTIFICATE KEY {\nclient_auth {\nmode request\n}\n}\n"
	for _, c := range []struct{ name, globals, issuer, site, want string }{
		{"no certificates", "", "", "bearer_auth {\nbound mtls\n}\n", "clients cannot show one: add `tls { client_auth { mode request } }`"},
		{"of the issuer", "", "bound mtls", "bearer_auth\n", "clients cannot show one"},
		{"certificates", "", "", certificates + "bearer_auth {\nbound mtls\n}\n", ""},
		{"on another site", "", "", "bearer_auth {\nbound mtls\n}\n}\nhttps://elsewhere.example.com:PORT {\n" + certificates, "clients cannot show one"},
		{"no trusted proxies", "", "", "bearer_auth {\nclient_certificate header Client-Cert rfc9440\n}\n", "client_certificate: the server has no trusted proxies"},
		{"trusted proxies", "servers {\ntrusted_proxies static 127.0.0.1/32\n}", "", "bearer_auth {\nbound mtls\nclient_certificate header Client-Cert rfc9440\n}\n", ""},
		{"of another server", "servers SECOND {\ntrusted_proxies static 127.0.0.1/32\n}", "", "bearer_auth {\nclient_certificate header Client-Cert rfc9440\n}\n", "the server has no trusted proxies"},
		{"nobody", "", "bound off", "bearer_auth {\nbound required\n}\n", "bound required: nobody could be let in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := prepare(t, "CERTIFICATE", certificate, "KEY", key)
			_, port, _ := strings.Cut(g.site, ":")
			text := strings.ReplaceAll("{\nGLOBALS\n"+c.globals+"\ngatehouse {\nissuer https://login.example.com {\nname acme\naudience a\n"+c.issuer+"\n}\n}\n}\n"+
				"https://gw.example.com:PORT {\ntls CERTIFICATE KEY\n"+c.site+"}\nhttp://SECOND {\nbind 127.0.0.1\n}\n", "PORT", port)
			if strings.Contains(c.site, "tls C") && !strings.Contains(c.site, "elsewhere") {
				text = strings.Replace(text, "tls CERTIFICATE KEY\n", "", 1)
			}
			err := g.load(text)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("a start says %v, want %q", err, c.want)
			}
		})
	}
}

// A site that takes any host takes proofs for any host, and the log says so.
func TestAnyHostIsWarnedOf(t *testing.T) {
	const warning = "bearer_auth takes DPoP proofs for any host"
	for name, c := range map[string]struct {
		address, options string
		want             int
	}{
		"any host":          {":PORT", "bearer_auth", 1},
		"with its address":  {":PORT", "bearer_auth {\npublic_url https://gw.example.com\n}", 0},
		"with its name":     {"http://gw.example.com:PORT", "bearer_auth", 0},
		"for none by proof": {":PORT", "bearer_auth {\nbound mtls\nclient_certificate header Client-Cert rfc9440\n}", 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := prepare(t)
			_, port, _ := strings.Cut(g.site, ":")
			text := "{\nGLOBALS\nservers {\ntrusted_proxies static 127.0.0.1/32\n}\ngatehouse {\ndpop {\nnonce off\n}\nissuer https://login.example.com {\nname acme\naudience a\n}\n}\n}\n" +
				strings.ReplaceAll(c.address, "PORT", port) + " {\nbind 127.0.0.1\n" + c.options + "\n}\n"
			if err := g.load(text); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(g.log(), warning); got != c.want {
				t.Errorf("%d warnings, want %d", got, c.want)
			}
		})
	}
}

// Who administers needs a token that is not bound.
func TestAPIOfAnIssuerOfBoundTokensIsWarnedOf(t *testing.T) {
	for bound, want := range map[string]int{"optional": 0, "off": 0, "required": 1, "dpop": 1} {
		g := start(t, strings.NewReplacer("service_accounts {", "api {\nadmin_group admins\n}\nservice_accounts {", "dpop {\n\t\t\tOPTIONS\n\t\t}\n", "", "name acme\n", "name acme\nbound "+bound+"\n").Replace(dpopSite), "ISSUER", "https://login.example.com")
		if got := strings.Count(g.log(), "the API takes plain bearer tokens only"); got != want {
			t.Errorf("bound %s: %d warnings, want %d", bound, got, want)
		}
		g.stop()
	}
}

// The recipes for providers, and for a proxy in front.
func TestBoundRecipes(t *testing.T) {
	issuer, me := newIssuer(t), newHolder(t)
	server, key := selfSigned(t)
	mine, err := tls.LoadX509KeyPair(server, key) // good for a client, too
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(mine.Certificate[0])
	x5t, der := base64.RawURLEncoding.EncodeToString(sum[:]), base64.StdEncoding.EncodeToString(mine.Certificate[0])
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{mine}}}}
	t.Cleanup(client.CloseIdleConnections)
	load := func(text string, replaced ...string) *gateway {
		t.Helper()
		g := prepare(t, replaced...)
		for _, from := range []string{"https://acme.eu.auth0.com/", "https://login.example.com/realms/acme"} {
			text = strings.ReplaceAll(text, from, issuer.URL)
		}
		text = strings.ReplaceAll(text, "127.0.0.1:8009", strings.TrimPrefix(newUpstream(t).URL, "http://"))
		if err := g.load(strings.Replace(text, "gatehouse {", globals+"\ngatehouse {\nservice_accounts {\nregistration optional\n}\n", 1)); err != nil {
			t.Fatal(err)
		}
		return g
	}
	check := func(g *gateway, what, url string, want int, edits ...edit) {
		t.Helper()
		if got := g.do(client, "GET", url, edits...); got.status != want {
			t.Errorf("%s: got %d %s, want %d", what, got.status, reasonIn(got), want)
		}
	}
	token := func(audience string, cnf claims) string {
		return mint(issuer, claims{"aud": audience, "typ": "Bearer", "sid": "s", "azp": "web", "sub": "auth0|jane", "cnf": cnf})
	}
	proven := func(url, token string) edit { return with(token, me.proof(token, "GET", url, nil)) }

	g := load("{\ngatehouse {\n" + recipe(t, "Auth0 and Okta with DPoP", 1) + "}\n}\nhttp://SITE {\nbind 127.0.0.1\nbearer_auth\nrespond ok\n}\n")
	url, bound := "http://"+g.site+"/", token("https://gateway.example.com", claims{"jkt": me.thumbprint})
	check(g, "DPoP", url, 200, proven(url, bound))
	check(g, "a bearer", url, 401, bearer(mint(issuer, claims{"aud": "https://gateway.example.com", "sub": "auth0|jane", "azp": "web"})))
	g.stop()

	g = load(recipe(t, "Keycloak with both", 1), "gatehouse {", "fallback_sni 127.0.0.1\nservers {\nstrict_sni_host insecure_off\n}\ngatehouse {",
		"gateway.example.com {", "https://SITE {\nbind 127.0.0.1", "tls {", "tls "+server+" "+key+" {")
	url, bound = "https://"+g.site+"/", token("gateway", claims{"jkt": me.thumbprint})
	check(g, "DPoP", url, 200, proven(url, bound))
	check(g, "a certificate", url, 200, bearer(token("gateway", claims{"x5t#S256": x5t})))
	check(g, "another certificate", url, 401, bearer(token("gateway", claims{"x5t#S256": me.thumbprint})))
	check(g, "a bearer", url, 401, bearer(mint(issuer, claims{"aud": "gateway", "typ": "Bearer", "sid": "s", "azp": "web"})))
	g.stop()

	for network, want := range map[string]int{"127.0.0.0/8": 200, "10.0.0.0/8": 401} {
		g = load(recipe(t, "Certificates that end at a proxy in front", 1), "10.0.0.0/8", network, "http://gateway.example.com {", "http://SITE {\nbind 127.0.0.1\n")
		url, bound = "http://"+g.site+"/", token("https://gateway.example.com", claims{"x5t#S256": x5t})
		check(g, "trusted is "+network, url, want, bearer(bound), header("Client-Cert", ":"+der+":"))
		g.stop()
	}
}

// The recipe for pages in a browser: what the page may send and read.
func TestBrowserRecipe(t *testing.T) {
	text := recipe(t, "A browser app with DPoP", 1)
	issuer, me := newIssuer(t), newHolder(t)
	g := prepare(t, "https://login.example.com/realms/acme", issuer.URL, "https://api.example.com", "https://gateway.example.com",
		"api.example.com {", "http://SITE {\nbind 127.0.0.1\n", "127.0.0.1:8009", strings.TrimPrefix(newUpstream(t).URL, "http://"))
	if err := g.load(strings.Replace(text, "gatehouse {", globals+"\ngatehouse {", 1)); err != nil {
		t.Fatal(err)
	}
	origin := header("Origin", "https://app.example.com")
	got := g.send("OPTIONS", "/a", origin, header("Access-Control-Request-Method", "GET"), header("Access-Control-Request-Headers", "authorization,dpop"))
	if got.status != 204 || !strings.Contains(got.header.Get("Access-Control-Allow-Headers"), "DPoP") {
		t.Errorf("the preflight: %d %v", got.status, got.header)
	}
	token, nonce := me.token(issuer), ""
	for _, want := range []int{401, 200} {
		proof := me.proof(token, "GET", "http://"+g.site+"/a", claims{"nonce": nonce})
		if nonce == "" {
			proof = me.proof(token, "GET", "http://"+g.site+"/a", nil)
		}
		got := g.get("/a", origin, with(token, proof))
		if got.status != want || !strings.Contains(got.header.Get("Access-Control-Expose-Headers"), "DPoP-Nonce") || got.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
			t.Errorf("got %d %v, want %d", got.status, got.header, want)
		}
		if nonce = got.header.Get("DPoP-Nonce"); want == 401 && nonce == "" {
			t.Error("the page gets no nonce")
		}
		if want == 200 && got.seen(t).Headers.Get("Authorization") != "Bearer "+token {
			t.Errorf("the upstream gets %v", got.seen(t).Headers)
		}
	}
}

// The metadata of a resource say which tokens may and must be bound.
func TestResourceTellsOfBoundTokens(t *testing.T) {
	const site = `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
			ISSUERS
		}
	}
}
https://SITE {
	bind 127.0.0.1
	tls CERTIFICATE KEY {
		client_auth {
			mode request
		}
	}
	bearer_auth {
		protected_resource https://127.0.0.1/a
		ROUTE
	}
}
`
	g := startBound(t) // for its clients
	client := g.clients()["1"]
	for _, c := range []struct {
		issuer, route      string
		proofs, only, mtls any
	}{
		{"", "", nil, nil, nil},
		{"bound off", "", nil, nil, nil},
		{"bound optional", "", true, nil, nil},
		{"bound dpop", "", true, true, nil},
		{"bound mtls", "", nil, nil, true},
		{"", "bound dpop", true, true, nil},
		{"", "bound required", true, nil, true},
		{"", "bound mtls", nil, nil, true},
	} {
		g.vars = append([]string{"ISSUERS", c.issuer, "ROUTE", c.route}, g.vars...)
		if err := g.load(strings.Replace(site, "GLOBALS", "GLOBALS\nservers {\nstrict_sni_host insecure_off\n}", 1)); err != nil {
			t.Fatal(err)
		}
		g.vars = g.vars[4:]
		document := g.do(client, http.MethodGet, "https://"+g.site+"/.well-known/oauth-protected-resource/a").object(t)
		list, _ := document["dpop_signing_alg_values_supported"].([]any)
		if (c.proofs != nil) != (len(list) > 0) || document["dpop_bound_access_tokens_required"] != c.only || document["tls_client_certificate_bound_access_tokens"] != c.mtls {
			t.Errorf("%q, %q: %v", c.issuer, c.route, document)
		}
	}
}

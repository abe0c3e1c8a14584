package caddymodule_test

import (
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

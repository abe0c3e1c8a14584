package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// asking is a gate whose issuer is asked with each request, about all its tokens.
const asking = `{
	ASKING
	gatehouse {
		issuer ISSUER {
			name NAME
			audience https://gateway.example.com
			kind user
			introspection {
				client_id gateway
				client_secret {env.GATEHOUSE_TEST_CLIENT_SECRET}
				MORE
			}
		}
		api {
			issuer NAME
			trust_admin_endpoint
		}
	}
}
http://SITE {
	bind 127.0.0.1
	handle /metrics {
		metrics
	}
	bearer_auth /all/* {
		header X-User {http.auth.user.id}
		header X-Groups {http.auth.user.groups}
		header X-Until {http.auth.user.expires_at}
	}
	bearer_auth /ops/* {
		group ops
	}
	reverse_proxy UPSTREAM
}
`

// startAsking runs asking with more options of introspection.
func startAsking(t *testing.T, name, more string) (g *gateway, issuer *idp.Issuer, admin string) {
	t.Helper()
	t.Setenv("GATEHOUSE_TEST_CLIENT_SECRET", clientSecret)
	issuer = newIssuer(t, idp.WithClient(idp.Client{ID: "gateway", Secret: clientSecret}))
	admin = freeAddress(t)
	own := strings.Replace(globals, "admin off", "admin "+admin, 1)
	return start(t, asking, "ASKING", own, "ISSUER", issuer.URL, "NAME", name, "UPSTREAM", newUpstream(t).URL, "MORE", more), issuer, admin
}

// An opaque token is let in with what its issuer says, until it is revoked; while the
// issuer does not answer, nobody knows.
func TestOpaqueTokens(t *testing.T) {
	name := unique("opaque")
	for mode, more := range map[string]string{"plain": "cache 0s", "signed": "cache 0s\nsigned"} {
		t.Run(mode, func(t *testing.T) {
			g, issuer, admin := startAsking(t, name+mode, more)
			token := secret(issuer.Opaque(claims{"sub": "jane", "groups": []string{"ops", "dev"}}))
			seen := g.get("/all/", bearer(token)).seen(t)
			if seen.Headers.Get("X-User") != "jane" || seen.Headers.Get("X-Groups") != "ops,dev" || seen.Headers.Get("X-Until") == "" {
				t.Errorf("the upstream got %v", seen.Headers)
			}
			if got := g.get("/ops/", bearer(secret(issuer.Opaque(claims{"groups": []string{"dev"}})))); got.status != http.StatusForbidden {
				t.Errorf("outside the group: %d", got.status)
			}
			if got := g.get("/all/", bearer(secret(issuer.Opaque(claims{"aud": "x"})))); got.status != http.StatusUnauthorized {
				t.Errorf("for another audience: %d", got.status)
			}
			body, err := json.Marshal(map[string]string{"token": token})
			if err != nil {
				t.Fatal(err)
			}
			got := post(g, "http://"+admin+"/api/tokens/explain", string(body))
			if e := got.object(t); e["verdict"] != "let_in" || !strings.Contains(got.body, issuer.IntrospectionURL()) || !strings.Contains(got.body, "asked as gateway") || strings.Contains(got.body, token) {
				t.Errorf("explained as %s", got.body)
			}
			issuer.SetDown(true)
			if got := g.get("/all/", bearer(token)); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || got.header.Get("WWW-Authenticate") != "" {
				t.Errorf("without an answer: %d %v", got.status, got.header)
			}
			g.showsIntrospection(t, admin, false)
			issuer.SetDown(false)
			if got := g.get("/all/", bearer(token)); got.status != http.StatusOK {
				t.Errorf("with an answer again: %d", got.status)
			}
			g.showsIntrospection(t, admin, true)
			issuer.Revoke(token)
			if got := g.get("/all/", bearer(token)); got.status != http.StatusUnauthorized || !strings.Contains(got.header.Get("WWW-Authenticate"), `error="invalid_token", error_description="the issuer says that the token is not active"`) {
				t.Errorf("revoked: %d %v", got.status, got.header)
			}
			now := g.scrape()
			for series, want := range map[string]float64{
				`introspections_total{issuer="` + name + mode + `",result="active"}`:   5,
				`introspections_total{issuer="` + name + mode + `",result="inactive"}`: 1,
				`introspections_total{issuer="` + name + mode + `",result="failed"}`:   1,
				`introspections_total{issuer="` + name + mode + `",result="limited"}`:  0,
				`introspection_duration_seconds_count{issuer="` + name + mode + `"}`:   7,
				tokens(name+mode, "inactive"):                                          1,
				tokens(name+mode, "introspection_unavailable"):                         1,
			} {
				if got, ok := now[series]; !ok || got != want {
					t.Errorf("%s is %v, want %v", series, got, want)
				}
			}
			for _, one := range []struct{ said, level string }{
				{"the issuer does not answer questions about tokens; tokens that it was not asked about lately get 503", "warn"},
				{"the issuer answers questions about tokens again", "info"},
			} {
				if lines := g.logged(one.said); len(lines) != 1 || lines[0]["level"] != one.level {
					t.Errorf("the log says %v", lines)
				}
			}
			if strings.Contains(g.log(), clientSecret) {
				t.Error("the secret is in the log")
			}
			if got := g.do(g.client, http.MethodGet, "http://"+admin+"/config/"); strings.Contains(got.body, clientSecret) || !strings.Contains(got.body, "{env.GATEHOUSE_TEST_CLIENT_SECRET}") {
				t.Error("the secret is in the configuration, or its placeholder is not")
			}
		})
	}
}

// showsIntrospection looks at what operators see of the issuer.
func (g *gateway) showsIntrospection(t *testing.T, admin string, healthy bool) {
	t.Helper()
	got := g.do(g.client, http.MethodGet, "http://"+admin+"/api/issuers")
	var list []struct {
		Introspection *struct {
			Endpoint  string `json:"endpoint"`
			Healthy   bool   `json:"healthy"`
			LastError string `json:"last_error"`
		} `json:"introspection"`
	}
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || len(list) != 1 || list[0].Introspection == nil {
		t.Fatalf("%v in %s", err, got.body)
	}
	if s := list[0].Introspection; s.Healthy != healthy || (s.LastError == "") != healthy || !strings.HasSuffix(s.Endpoint, "/introspect") {
		t.Errorf("introspection is shown as %+v", s)
	}
}

// An issuer that is only asked has no keys, and is healthy: opaque tokens are let in, its
// JWTs are not. Where signed answers are wanted, it needs keys.
func TestIssuerThatIsOnlyAsked(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_CLIENT_SECRET", clientSecret)
	for more, healthy := range map[string]bool{"cache 0s": true, "cache 0s\nsigned": false} {
		t.Run(more, func(t *testing.T) {
			issuer := newIssuer(t, idp.WithClient(idp.Client{ID: "gateway", Secret: clientSecret}))
			issuer.EditMetadata(func(metadata map[string]any) { delete(metadata, "jwks_uri") })
			name, admin := unique("asked"), freeAddress(t)
			own := strings.Replace(globals, "admin off", "admin "+admin, 1)
			g := start(t, asking, "ASKING", own, "ISSUER", issuer.URL, "NAME", name, "UPSTREAM", newUpstream(t).URL, "MORE", more)
			jwt, want := g.get("/all/", bearer(mint(issuer, claims{"sub": "jane"}))), http.StatusUnauthorized
			if !healthy {
				want = http.StatusServiceUnavailable
			}
			if jwt.status != want {
				t.Errorf("a JWT was answered with %d, want %d", jwt.status, want)
			}
			if got := g.get("/all/", bearer(secret(issuer.Opaque(claims{"sub": "jane"})))); (got.status == http.StatusOK) != healthy {
				t.Errorf("an opaque token was answered with %d %v", got.status, got.header)
			}
			var list []struct {
				Healthy   bool   `json:"healthy"`
				LastError string `json:"last_error"`
			}
			got := g.do(g.client, http.MethodGet, "http://"+admin+"/api/issuers")
			if err := json.Unmarshal([]byte(got.body), &list); err != nil || len(list) != 1 {
				t.Fatalf("%v in %s", err, got.body)
			}
			if list[0].Healthy != healthy || (list[0].LastError == "") != healthy {
				t.Errorf("the issuer is shown as %+v", list[0])
			}
			failures := `caddy_gatehouse_jwks_fetches_total{issuer="` + name + `",result="failure"} `
			metrics := g.get("/metrics").body
			if none := !strings.Contains(metrics, failures) || strings.Contains(metrics, failures+"0\n"); none != healthy {
				t.Errorf("that no fetch failed is %t in the metrics", none)
			}
		})
	}
}

// An issuer without metadata is asked where the endpoint is written. That it has no keys
// is not known.
func TestIssuerWithoutMetadataIsAsked(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_CLIENT_SECRET", clientSecret)
	issuer := newIssuer(t, idp.WithClient(idp.Client{ID: "gateway", Secret: clientSecret}))
	issuer.SetWellKnown(false, false)
	g := start(t, asking, "ASKING", globals, "ISSUER", issuer.URL, "NAME", unique("asked"), "UPSTREAM", newUpstream(t).URL,
		"MORE", "cache 0s\nendpoint "+issuer.IntrospectionURL())
	if got := g.get("/all/", bearer(secret(issuer.Opaque(claims{"sub": "jane"})))); got.status != http.StatusOK {
		t.Errorf("an opaque token was answered with %d %v", got.status, got.header)
	}
	if got := g.get("/all/", bearer(mint(issuer, nil))); got.status != http.StatusServiceUnavailable {
		t.Errorf("a JWT was answered with %d", got.status)
	}
}

// A JWT that its issuer revoked is out, where all tokens are asked about.
func TestRevokedJWTs(t *testing.T) {
	g, issuer, _ := startAsking(t, unique("asked"), "tokens all\ncache 0s")
	token := mint(issuer, claims{"sub": "jane", "jti": idp.Absent})
	issuer.Know(token, claims{"groups": []string{"ops"}})
	if got := g.get("/ops/", bearer(token)); got.status != http.StatusOK {
		t.Errorf("with the groups of the answer: %d %v", got.status, got.header)
	}
	issuer.Revoke(token)
	if got := g.get("/ops/", bearer(token)); got.status != http.StatusUnauthorized {
		t.Errorf("revoked: %d", got.status)
	}
}

// Who is asked is reached with the trust that the issuer's block gives, also where its
// keys are in a file.
func TestIntrospectionOverTLS(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_CLIENT_SECRET", clientSecret)
	issuer := newIssuer(t, idp.WithTLS(), idp.WithClient(idp.Client{ID: "gateway", Secret: clientSecret}))
	g := prepare(t, "ASKING", globals, "ISSUER", issuer.URL, "NAME", "acme", "UPSTREAM", newUpstream(t).URL, "MORE", "endpoint "+issuer.IntrospectionURL())
	for name, data := range map[string][]byte{"ca.pem": issuer.CAPEM(), "keys.json": issuer.JWKS()} {
		if err := os.WriteFile(filepath.Join(g.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	token := secret(issuer.Opaque(claims{"sub": "jane"}))
	for options, want := range map[string]int{
		"ca DIR/ca.pem": http.StatusOK, "ca DIR/ca.pem\njwks_file DIR/keys.json": http.StatusOK, "jwks_file DIR/keys.json": http.StatusServiceUnavailable,
	} {
		if err := g.load(strings.Replace(asking, "kind user", "kind user\n"+options, 1)); err != nil {
			t.Fatal(err)
		}
		if got := g.get("/all/", bearer(token)); got.status != want {
			t.Errorf("with %s: %d", options, got.status)
		}
	}
}

// What an issuer does not like about the client is said by its error code.
func TestIntrospectionSaysTheErrorCode(t *testing.T) {
	g, issuer, admin := startAsking(t, unique("denied"), "")
	issuer.AddClient(idp.Client{ID: "gateway", Secret: "another"})
	if got := g.get("/all/", bearer(secret(issuer.Opaque(nil)))); got.status != http.StatusServiceUnavailable {
		t.Errorf("got %d", got.status)
	}
	const want = "status 401 (invalid_client), not 200; does the issuer know this client_id"
	if listed := g.do(g.client, http.MethodGet, "http://"+admin+"/api/issuers"); !strings.Contains(listed.body, want) {
		t.Errorf("shown is %s", listed.body)
	}
	if lines := g.logged("the issuer does not answer questions about tokens; tokens that it was not asked about lately get 503"); len(lines) != 1 || !strings.Contains(fmt.Sprint(lines[0]), want) {
		t.Errorf("the log says %v", lines)
	}
}

// A reload that changes nothing keeps what was answered; one that changes who is asked,
// or how, does not.
func TestReloadsAndAnswers(t *testing.T) {
	g, issuer, _ := startAsking(t, unique("kept"), "cache 1h")
	token := secret(issuer.Opaque(nil))
	for i, change := range []struct {
		from, to string
		asked    int
	}{{"MORE", "MORE", 1}, {"header X-User {http.auth.user.id}", "", 1}, {"client_id gateway", "client_id gateway\ntokens all", 2}} {
		if err := g.load(strings.Replace(asking, change.from, change.to, 1)); err != nil {
			t.Fatal(err)
		}
		if got := g.get("/all/", bearer(token)); got.status != http.StatusOK || issuer.Introspections() != change.asked {
			t.Errorf("after reload %d: %d, and %d questions", i, got.status, issuer.Introspections())
		}
	}
}

// What only shows when the configuration is loaded.
func TestIntrospectionThatDoesNotLoad(t *testing.T) {
	for more, want := range map[string]string{
		"private_key DIR/none.pem":                                              "introspection: private_key: open ",
		"private_key DIR/bad.pem":                                               "bad.pem: expected one private key, as PEM or as a JWK",
		"client_secret {env.GATEHOUSE_TEST_UNSET_SECRET}":                       "introspection: client_secret {env.GATEHOUSE_TEST_UNSET_SECRET}: a placeholder is unknown or empty",
		"client_secret s\nendpoint {env.GATEHOUSE_TEST_ENDPOINT}":               `introspection: endpoint: "http://login.example.com" is http to another machine`,
		"client_secret s\nprefix {env.GATEHOUSE_TEST_PREFIX}":                   "prefix",
		"client_secret s\ncache 500ms":                                          "cache: found 500ms, expected 0s, or 1s to 1h0m0s",
		"client_secret literal-secret {env.GATEHOUSE_TEST_UNSET_SECRET}":        "client_secret: found",
		"client_secret {env.GATEHOUSE_TEST_UNSET_SECRET}literal-secret\nsigned": "introspection: client_secret: a placeholder is unknown or empty",
	} {
		t.Setenv("GATEHOUSE_TEST_ENDPOINT", "http://login.example.com")
		t.Setenv("GATEHOUSE_TEST_PREFIX", "eyJ")
		g := prepare(t, "ASKING", globals, "ISSUER", "http://127.0.0.1:1", "NAME", "acme", "UPSTREAM", "http://127.0.0.1:1", "MORE", more)
		if err := os.WriteFile(filepath.Join(g.dir, "bad.pem"), []byte("secret text"), 0o600); err != nil {
			t.Fatal(err)
		}
		config := strings.Replace(asking, "client_secret {env.GATEHOUSE_TEST_CLIENT_SECRET}\n", "", 1)
		err := g.load(config)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret text") {
			t.Errorf("%s: got %v, want %q", more, err, want)
		}
	}
}

package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/usage"
)

// limited is a site whose license has limits.
const limited = `{
	WITHADMIN
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
			preset keycloak
		}
		service_accounts {
			refresh 50ms
		}
		license {
			trusted_key PUBLIC
			ENFORCEMENT
		}
		api {
			trust_admin_endpoint
		}
	}
}
http://SITE {
	bind 127.0.0.1
	handle /metrics {
		metrics
	}
	@rest not path /metrics
	require_license @rest
	bearer_auth @rest
	respond "in"
}
`

// limitedTo asks for a license with a limit.
func limitedTo(most int64, enforcement license.Enforcement) license.Request {
	r := asks("127.0.0.1")
	r.TTL = 1000 * time.Hour
	r.Limits = map[string]int64{license.LimitUsers: most, license.LimitServiceAccounts: most}
	r.Enforcement = map[string]license.Enforcement{license.LimitUsers: enforcement, license.LimitServiceAccounts: enforcement}
	return r
}

// TestLimitDeny: beyond a limit the new one is refused, and nobody who was in, on all
// nodes and over a restart; machines do not count as people.
func TestLimitDeny(t *testing.T) {
	v, issuer := newVendor(t), newIssuer(t)
	g, admin := storedLicense(t, limited, "", v, "ISSUER", issuer.URL, "ENFORCEMENT", "")
	g.install(t, admin, v.sign(0, limitedTo(2, license.Deny)))
	person := func(name string) edit {
		return bearer(mint(issuer, claims{"sub": name, "sid": "1", "preferred_username": name}))
	}
	account := func(subject string) answer {
		return g.do(g.client, http.MethodPost, "http://"+admin+"/api/serviceaccounts", content(fmt.Sprintf(`{"subject":%q,"name":"x","status":"active"}`, subject)))
	}
	for _, subject := range []string{"ci-1", "ci-2"} {
		if got := account(subject); got.status != http.StatusCreated {
			t.Fatalf("got %d %s", got.status, got.body)
		}
	}
	if got := account("ci-3"); got.status != http.StatusForbidden || !strings.Contains(got.body, "at most 2 service accounts") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	lines := `{"subject":"ci-1","status":"active"}` + "\n" + `{"subject":"ci-3","status":"active"}` + "\n"
	imported := func(lines string) answer {
		return g.do(g.client, http.MethodPost, "http://"+admin+"/api/serviceaccounts:import?mode=upsert", content(lines))
	}
	if got := imported(lines); got.status != http.StatusForbidden || !strings.Contains(got.body, "nothing was written") {
		t.Errorf("an import that makes more: %d %s", got.status, got.body)
	}
	if got := imported(lines[:strings.Index(lines, "\n")]); got.status != http.StatusOK {
		t.Errorf("an import that makes none more: %d %s", got.status, got.body)
	}
	machine := bearer(mint(issuer, claims{"sub": "ci-1", "azp": "ci-1", "clientHost": "10.0.0.1"}))
	for range 3 { // each with several tokens
		for _, name := range []string{"ada", "bob"} {
			if got := g.get("/", person(name)); got.status != http.StatusOK {
				t.Fatalf("%s: %d %s", name, got.status, got.body)
			}
		}
	}
	refused := forbidden("the license does not cover any more people")
	again := person("eve")
	for range 2 {
		refused.check(t, g.get("/", again), "")
	}
	if got := g.get("/", machine); got.status != http.StatusOK {
		t.Errorf("the machine: %d %s", got.status, got.body)
	}
	g.stop()
	if err := g.load(limited); err != nil {
		t.Fatal(err)
	}
	refused.check(t, g.get("/", person("zoe")), "") // the first request of all
	for _, name := range []string{"ada", "bob"} {
		if got := g.get("/", person(name)); got.status != http.StatusOK {
			t.Errorf("%s was put out: %d %s", name, got.status, got.body)
		}
	}
	m := g.scrape()
	for series, want := range map[string]float64{
		`license_used{limit="users"}`: 2, `license_limit{limit="users"}`: 2, `license_used{limit="service_accounts"}`: 2,
		`license_over_limit_total{limit="users",result="let_in"}`: m[`license_over_limit_total{limit="users",result="let_in"}`],
	} {
		if m[series] != want {
			t.Errorf("%s is %v, want %v", series, m[series], want)
		}
	}
	if m[`license_over_limit_total{limit="users",result="refused"}`] < 3 || m[`license_over_limit_total{limit="service_accounts",result="refused"}`] < 2 {
		t.Error("refusals were not counted")
	}
	got := g.do(g.client, http.MethodGet, "http://"+admin+"/api/orgs/license/usage")
	limits := usageOf(t, got.body)
	if limits["users"]["used"] != 2.0 || limits["users"]["enforcement"] != "deny" || limits["service_accounts"]["used"] != 2.0 {
		t.Errorf("got %s", got.body)
	}
	if strings.Contains(got.body, "ada") {
		t.Error("the report names people")
	}
	if _, err := usage.Open([]byte(got.body)); err != nil {
		t.Error(err)
	}
	if _, err := usage.Open([]byte(strings.Replace(got.body, `"used":2`, `"used":1`, 1))); err == nil {
		t.Error("a report that was changed is taken")
	}
	// A larger license lets the next ones in at once, the same token too.
	g.install(t, admin, v.sign(0, limitedTo(4, license.Deny)))
	if got := g.get("/", again); got.status != http.StatusOK {
		t.Errorf("with a larger license: %d %s", got.status, got.body)
	}
}

// TestLimitAdvisory: what is beyond the limit is logged, and nobody is refused; and where the
// license has no limit, nobody is counted.
func TestLimitAdvisory(t *testing.T) {
	v, issuer := newVendor(t), newIssuer(t)
	for name, c := range map[string]struct {
		license.Enforcement
		option string
	}{
		"the license's word": {license.Advisory, ""},
		"the deployment's":   {license.Deny, "enforcement log"},
	} {
		t.Run(name, func(t *testing.T) {
			g, admin := storedLicense(t, limited, "", v, "ISSUER", issuer.URL, "ENFORCEMENT", c.option)
			person := func(name string) answer {
				return g.get("/", bearer(mint(issuer, claims{"sub": name, "sid": "1"})))
			}
			plain := asks("127.0.0.1")
			g.install(t, admin, v.sign(0, plain))
			person("before")
			g.install(t, admin, v.sign(0, limitedTo(1, c.Enforcement)))
			eventually(t, "people are counted", func() bool {
				person("ada")
				return g.scrape()[`license_used{limit="users"}`] == 1
			})
			for _, who := range []string{"ada", "bob", "bob", "eve"} {
				if got := person(who); got.status != http.StatusOK {
					t.Errorf("%s: %d %s", who, got.status, got.body)
				}
			}
			if used := g.scrape()[`license_used{limit="users"}`]; used != 3 {
				t.Errorf("%v people count, want 3", used)
			}
			if n := strings.Count(g.log(), "more is used than the license is for"); n != 1 {
				t.Errorf("logged %d times", n)
			}
			var status struct {
				License struct {
					Usage map[string]usage.Share `json:"usage"`
				} `json:"license"`
			}
			got := g.do(g.client, http.MethodGet, "http://"+admin+"/api/status")
			if err := json.Unmarshal([]byte(got.body), &status); err != nil || status.License.Usage["users"].Used != 3 {
				t.Errorf("%v: %s", err, got.body)
			}
		})
	}
}

// TestLimitOverNodes: two processes that share a storage count together, and one that is
// killed forgets nobody who was let in a moment before.
func TestLimitOverNodes(t *testing.T) {
	if apart(t) {
		return
	}
	v, dir, issuer := newVendor(t), t.TempDir(), newIssuer(t)
	v.write(v.sign(0, limitedTo(2, license.Deny)))
	caddyfile := strings.NewReplacer(
		"service_accounts {", "license {\n file "+v.file()+"\n trusted_key "+v.public()+"\n }\n service_accounts {",
	).Replace(nodeConfig)
	first, second := startNodeOf(t, dir, issuer, caddyfile), startNodeOf(t, dir, issuer, caddyfile)
	lets := func(n *node, name string) bool {
		t.Helper()
		got, err := try(n.client, http.MethodGet, n.url+"/", bearer(mint(issuer, claims{"sub": name, "amr": []string{"pwd"}})))
		if err != nil {
			t.Fatal(err)
		}
		return got.status == http.StatusOK
	}
	if !lets(first, "ada") || !lets(second, "bob") {
		t.Fatal("refused within the limit")
	}
	for name, n := range map[string]*node{"first": first, "second": second} {
		eventually(t, name+" knows of both", func() bool {
			got, err := n.send(http.MethodGet, "/api/orgs/license/usage")
			return err == nil && usageOf(t, got.body)["users"]["used"] == 2.0
		})
		if lets(n, "eve") || !lets(n, "ada") || !lets(n, "bob") {
			t.Errorf("%s lets in another one, or puts out who was in", name)
		}
	}
	first.kill()
	third := startNodeOf(t, dir, issuer, caddyfile)
	if lets(third, "eve") || !lets(third, "ada") || !lets(third, "bob") {
		t.Error("a node that starts anew does not know who was in")
	}
}

package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// withAPI has the API in all of its places: on the site, behind a prefix, and on
// the admin endpoint at SECOND.
const withAPI = `{
	WITHADMIN
	servers {
		protocols h1 h2c
	}
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
			leeway 0s
		}
		MORE
		service_accounts {
			refresh 50ms
			ACCOUNTS
		}
		api {
			OPTIONS
		}
	}
}
http://SITE {
	bind 127.0.0.1
	handle_path /gatehouse/* {
		gatehouse_api
		respond "not under the prefix" 418
	}
	handle /guarded/* {
		uri strip_prefix /guarded
		bearer_auth {
			error_body json
		}
		@grpc header Content-Type application/grpc*
		reverse_proxy @grpc GRPC {
			flush_interval -1
		}
		reverse_proxy UPSTREAM {
			flush_interval -1
		}
	}
	gatehouse_api
	respond "handed on" 418
}
`

// apiGlobals has the admin endpoint at SECOND.
var apiGlobals = strings.Replace(globals, "admin off", "admin SECOND", 1)

// apiGateway is a gateway with the API.
type apiGateway struct {
	*gateway
	issuer *idp.Issuer
	vars   []string
}

func startAPI(t *testing.T, pairs ...string) *apiGateway {
	t.Helper()
	issuer, up := newIssuer(t), newUpstream(t)
	vars := []string{
		"WITHADMIN", apiGlobals, "ISSUER", issuer.URL,
		"UPSTREAM", up.URL, "GRPC", strings.Replace(up.URL, "http://", "h2c://", 1),
	}
	g := &apiGateway{prepare(t, vars...), issuer, vars}
	if err := g.load(apiConfig(pairs...)); err != nil {
		t.Fatalf("loading the configuration: %v", err)
	}
	// Caddy's admin server outlives the configuration that is stopped.
	t.Cleanup(func() {
		if err := caddy.Load([]byte(`{"admin":{"disabled":true,"config":{"persist":false}}}`), true); err != nil {
			t.Errorf("switching the admin endpoint off: %v", err)
		}
	})
	g.awaitAccounts(t)
	return g
}

// awaitAccounts waits until the accounts were read: until then machines that are
// not declared are neither let in nor sent away for good, where they must be
// registered.
func (g *apiGateway) awaitAccounts(t *testing.T) {
	t.Helper()
	stranger := g.machine("stranger")
	eventually(t, "the accounts are read", func() bool { return g.get("/guarded/", stranger).status != http.StatusServiceUnavailable })
}

// apiConfig fills in what differs; what is not named is empty.
func apiConfig(pairs ...string) string {
	return strings.NewReplacer(append(pairs, "MORE", "", "ACCOUNTS", "", "OPTIONS", "")...).Replace(withAPI)
}

// places are where the API is, as the beginning of its addresses.
func (g *apiGateway) places() map[string]string {
	return map[string]string{"site": "http://" + g.site, "prefix": "http://" + g.site + "/gatehouse", "admin endpoint": "http://" + g.second}
}

// admin is the token of a person who may administer.
func (g *apiGateway) admin() edit {
	return bearer(mint(g.issuer, claims{"sub": "alice", "groups": []string{"admin"}}))
}

// machine is the token that a machine gets by client credentials.
func (g *apiGateway) machine(subject string) edit {
	return bearer(mint(g.issuer, claims{"sub": subject, "azp": subject, "scope": "deploy", "exp": 4102444800}))
}

func content(body string) edit {
	return func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
		r.Header.Set("Content-Type", "application/json")
	}
}

func (g *apiGateway) create(subject, more string) {
	g.t.Helper()
	name, _ := json.Marshal(subject)
	got := g.send("POST", "/api/serviceaccounts", g.admin(), content(fmt.Sprintf(`{"subject":%s,"status":"active"%s}`, name, more)))
	if got.status != http.StatusCreated {
		g.t.Fatalf("creating %q: got %d %s", subject, got.status, got.body)
	}
}

func (g *apiGateway) disable(subject string) {
	g.t.Helper()
	got := g.send("PUT", "/api/serviceaccounts/"+url.PathEscape(subject), g.admin(), content(`{"status":"inactive"}`))
	if got.status != http.StatusOK {
		g.t.Fatalf("disabling %q: got %d %s", subject, got.status, got.body)
	}
}

// wants holds an answer against a status and a body.
func (a answer) wants(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("got %d %q, want %d %q", a.status, a.body, status, body)
	}
}

func message(text string) string { return fmt.Sprintf("{\"message\":%q}\n", text) }

var stamps = regexp.MustCompile(`"(created|updated)_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"`)

// A machine is not known, is registered, asks who it is, is switched off: in every
// place, with status and body of each step.
func TestLifeOfAMachine(t *testing.T) {
	g := startAPI(t)
	for name, base := range g.places() {
		t.Run(name, func(t *testing.T) {
			subject := strings.ReplaceAll("robot on the "+name, " ", "-")
			machine, ask := g.machine(subject), base+"/api/userinfo"
			unknown := invalidToken("the service account is not registered")
			unknown.check(t, g.do(g.client, "GET", ask, machine), unknown.jsonBody())
			unknown.check(t, g.get("/guarded/", machine), unknown.jsonBody())
			person := bearer(mint(g.issuer, claims{"sub": "carol", "azp": "portal", "exp": 4102444800}))
			g.do(g.client, "GET", ask, person).wants(t, 200, `{"id":"carol","subject":"carol","name":"","email":"","status":"active","groups":[],"is_admin":false,`+
				`"kind":"user","issuer":"acme","client_id":"portal","scopes":[],"expires_at":"2100-01-01T00:00:00Z"}`+"\n")

			made := g.do(g.client, "POST", base+"/api/serviceaccounts", g.admin(), content(`{"subject":"`+subject+`","name":"Robot","status":"active","groups":["deployers"]}`))
			record := `{"id":"` + account.ID(subject) + `","org_id":"` + account.OrgID + `","subject":"` + subject + `","name":"%s","status":"%s","groups":%s,"issuer":"acme","issuer_identifier":"` + g.issuer.URL + `","by":"either","created_at":"T","updated_at":"T"}` + "\n"
			made.body = stamps.ReplaceAllString(made.body, `"${1}_at":"T"`)
			made.wants(t, 201, fmt.Sprintf(record, "Robot", "active", `["deployers"]`))
			g.do(g.client, "GET", ask, machine).wants(t, 200, `{"id":"`+account.ID(subject)+`","subject":"`+subject+`","name":"Robot","email":"","status":"active","groups":["deployers"],"is_admin":false,`+
				`"kind":"service_account","issuer":"acme","client_id":"`+subject+`","scopes":["deploy"],"expires_at":"2100-01-01T00:00:00Z"}`+"\n")
			g.get("/guarded/", machine).seen(t)

			off := g.do(g.client, "PUT", base+"/api/serviceaccounts/"+subject, g.admin(), content(`{"status":"inactive"}`))
			off.body = stamps.ReplaceAllString(off.body, `"${1}_at":"T"`)
			off.wants(t, 200, fmt.Sprintf(record, "", "inactive", "[]"))
			inactive := invalidToken("the service account is switched off")
			inactive.check(t, g.do(g.client, "GET", ask, machine), inactive.jsonBody())
			inactive.check(t, g.get("/guarded/", machine), inactive.jsonBody())

			g.do(g.client, "PUT", base+"/api/serviceaccounts/"+subject, g.admin(), content(`{"status":"active"}`))
			g.get("/guarded/", machine).seen(t)
			g.do(g.client, "DELETE", base+"/api/serviceaccounts/"+subject, g.admin()).wants(t, 204, "")
			unknown.check(t, g.get("/guarded/", machine), unknown.jsonBody())
		})
	}
	g.checkAudit(t, `acme/alice service_account.create robot-on-the-site done active
acme/alice service_account.update robot-on-the-site done inactive
acme/alice service_account.update robot-on-the-site done active
acme/alice service_account.delete robot-on-the-site done`)
	changes := g.send("GET", "/api/status", g.admin()).body
	if !strings.Contains(changes, `"action":"service_account.update","target":"robot-on-the-site","outcome":"done","status":"inactive"}`) {
		t.Errorf("the status says %s", changes)
	}
}

// checkAudit wants the lines in the audit log, one after the other.
func (g *apiGateway) checkAudit(t *testing.T, want string) {
	t.Helper()
	var all []string
	for line := range strings.Lines(g.log()) {
		var e struct{ Logger, Msg, Actor, Target, Outcome, Status string }
		if json.Unmarshal([]byte(line), &e) == nil && e.Logger == "gatehouse.audit" {
			all = append(all, strings.TrimSpace(strings.Join([]string{e.Actor, e.Msg, e.Target, e.Outcome, e.Status}, " ")))
		}
	}
	if !strings.Contains(strings.Join(all, "\n"), want) {
		t.Errorf("the audit log has\n%s\nwant in it\n%s", strings.Join(all, "\n"), want)
	}
}

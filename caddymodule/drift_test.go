package caddymodule_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// refusalCase makes one refusal happen.
type refusalCase struct {
	path  string // of the route; empty: /all/
	token string // that is sent, and explained; empty: only what edits say
	edits []edit

	proof       string // of DPoP, for the request, if there is one
	certificate string // of the client in PEM, for the explanation

	rule  string // what the route's rules are called that refuse the token
	route bool   // the route's rules or the request's form refuse it, not the token
	none  bool   // the refusal names no issuer
}

func refusalCases(issuer *idp.Issuer, name, admin string, g *gateway) map[string]refusalCase {
	with := func(member string, value any) refusalCase {
		return refusalCase{token: mint(issuer, claims{member: value})}
	}
	machine := func(subject string) string { return mint(issuer, claims{"sub": subject, "gty": "client-credentials"}) }
	post(g, "http://"+admin+"/api/serviceaccounts", `{"subject":"lapsed","status":"active","issuer":"`+name+`","expires_at":"2020-01-01T00:00:00Z"}`)
	now, good, gone := time.Now().Unix(), mint(issuer, nil), mint(issuer, claims{"sid": "gone"})
	post(g, "http://"+admin+"/api/revocations", `{"session":"gone","issuer":"`+name+`"}`)
	var costly string // one of more keys than are tried
	for range 6 {
		costly = issuer.Prepare("ES512")
		issuer.Publish(costly)
	}
	return map[string]refusalCase{
		"no_token":         {route: true, none: true},
		"several_headers":  {edits: []edit{header("Authorization", "Bearer "+good, "Bearer "+good)}, route: true, none: true},
		"two_tokens":       {token: good, edits: []edit{header("Cookie", "session="+good)}, route: true, none: true},
		"malformed_header": {token: good + " " + good, none: true},
		"protocol":         {path: "/header/", edits: []edit{header("Upgrade", "h2c")}, route: true, none: true},
		"cross_site": {
			edits: []edit{header("Cookie", "session="+good), header("Upgrade", "websocket"), header("Sec-Fetch-Site", "cross-site")},
			route: true, none: true,
		},
		"malformed_cookie":       {edits: []edit{header("Cookie", "session={}")}, route: true, none: true},
		"malformed_token_header": {edits: []edit{header("X-Access-Token", "Bearer a")}, route: true, none: true},
		"malformed_query":        {path: "/all/?access_token={}", route: true, none: true},
		"too_long":               {token: strings.Repeat("a", auth.MaxTokenBytes+1), none: true},
		"not_jws":                {token: "opaque", none: true},
		"header_member":          {token: mint(issuer, nil, idp.WithHeader("kid", nil)), none: true},
		"repeated_member":        {token: secret(issuer.Mint(nil, idp.WithRawPayload([]byte(`{"x":1,"x":2}`)))), none: true},
		"not_unicode":            {token: secret(issuer.Mint(nil, idp.WithRawPayload([]byte(`{"x":"\ud800"}`)))), none: true},
		"kind_unclear":           with("sid", idp.Absent),
		"malformed_claims":       with("exp", "9999999999"),
		"algorithm":              {token: secret(issuer.Mint(nil, idp.WithHeader("alg", "nOnE")))},
		"critical":               {token: secret(issuer.Mint(nil, idp.WithHeader("crit", []string{"exp"}))), none: true},
		"type":                   {token: mint(issuer, nil, idp.WithHeader("typ", "logout+jwt"))},
		"issuer":                 {token: mint(issuer, claims{"iss": "https://other.example.com"}), none: true},
		"no_subject":             with("sub", idp.Absent),
		"no_expiry":              with("exp", idp.Absent),
		"expired":                with("exp", now-1),
		"not_yet_valid":          with("nbf", now+600),
		"lifetime":               with("exp", now+36000),
		"audience":               with("aud", "https://other.example.com"),
		"bound":                  with("cnf", claims{"jkt": newHolder(g.t).thumbprint}),
		"inactive":               {token: secret("asked_" + strings.Repeat("unknown", 8))},
		"unknown_key":            {token: mint(issuer, nil, idp.WithHeader("kid", "theirs"))},
		"signature":              {token: secret(flip(good))},
		"many_keys":              {token: secret(flip(mint(issuer, nil, idp.WithKey(costly), idp.WithHeader("kid", idp.Absent))))},
		"header_value":           {path: "/header/", token: mint(issuer, claims{"evil": "a\r\nb"}), route: true},
		"acr":                    {path: "/acr/", rule: "acr", token: good, route: true},
		"auth_time":              {path: "/lately/", rule: "lately", token: good, route: true},
		"scope":                  {path: "/scope/", rule: "scope", token: good, route: true},
		"group":                  {path: "/group/", rule: "group", token: good, route: true},
		"claim":                  {path: "/claim/", rule: "claim", token: good, route: true},
		"kind":                   {path: "/machines/", rule: "machines", token: good, route: true},
		"kind_denied":            {path: "/people/", rule: "people", token: machine("ci"), route: true},
		"revoked":                {token: gone},
		"account_unknown":        {token: machine("nobody")},
		"account_inactive":       {token: machine("retired")},
		"account_expired":        {token: machine("lapsed")},
	}
}

// What a refusal is called must be the same wherever it shows: in the metric,
// the log and the explanation. The package docs holds the page against it.
func TestRefusalsAgreeEverywhere(t *testing.T) {
	if apart(t) {
		return
	}
	name := unique("drift")
	g, issuer, admin := observe(t, name)
	down := mint(issuer, claims{"iss": downURL(t, g)})
	cases := refusalCases(issuer, name, admin, g)
	cases["keys_unavailable"] = refusalCase{token: down}
	cases["introspection_unavailable"] = refusalCase{token: secret("down_" + strings.Repeat("unknown", 8))}
	for _, refusal := range auth.Refusals() {
		c, ok := cases[refusal.Reason]
		if !ok && refusal != auth.ErrAccountsUnavailable && refusal != auth.ErrRevocationsUnavailable && // TestRefusalsAgreeWithoutStorage has them
			refusal != auth.ErrUserLimit { // TestLimitDeny has it
			t.Errorf("no case makes %s happen", refusal.Reason)
		}
		if !ok {
			continue
		}
		t.Run(refusal.Reason, func(t *testing.T) { g.agrees(t, c, refusal, name, admin) })
	}
}

// A node that starts while storage is away does not know what is revoked; and if it
// does, it knows only the accounts of its configuration, and must not say of others that
// nobody registered them.
func TestRefusalsAgreeWithoutStorage(t *testing.T) {
	name := unique("unread")
	g, issuer, admin := observable(t, name)
	orphan := func(kind string) string { // a record without those that name it
		file := filepath.Join(g.dir, "storage", "gatehouse", kind, "shard-00-"+strings.Repeat("0", 32)+".json")
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	occupied, unread := orphan("accounts"), orphan("revocations")
	if err := g.load(observed); err != nil {
		t.Fatalf("storage is never a reason not to start: %v", err)
	}
	machine := func(subject string) string { return mint(issuer, claims{"sub": subject, "gty": "client-credentials"}) }
	g.agrees(t, refusalCase{token: mint(issuer, nil)}, auth.ErrRevocationsUnavailable, name, admin)
	if err := os.Remove(unread); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the revocations are read", func() bool { return g.get("/all/", bearer(mint(issuer, nil))).status == http.StatusOK })
	g.agrees(t, refusalCase{token: machine("nobody")}, auth.ErrAccountsUnavailable, name, admin)
	if got := g.get("/all/", bearer(machine("nobody"))); got.header.Get("Retry-After") == "" || got.header.Get("WWW-Authenticate") != "" {
		t.Errorf("got the header %v, want Retry-After and no challenge", got.header)
	}
	if got := g.get("/all/", bearer(machine("ci"))); got.status != http.StatusOK {
		t.Errorf("got %d %v, want the declared account let in", got.status, got.header)
	}
	const said = "the storage of the service accounts cannot be used; those known stay in force"
	eventually(t, "the log says so", func() bool { return len(g.logged(said)) > 0 })
	if lines := g.logged(said); len(lines) != 1 || lines[0]["level"] != "warn" || lines[0]["error"] == nil {
		t.Errorf("the log says %v, want one WARN with the cause", lines)
	}
	if err := os.Remove(occupied); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the accounts are read", func() bool { return len(g.logged("service accounts loaded")) == 1 })
	g.agrees(t, refusalCase{token: machine("nobody")}, auth.ErrAccountUnknown, name, admin)
}

func (g *gateway) agrees(t *testing.T, c refusalCase, refusal *auth.Refusal, name, admin string) {
	t.Helper()
	label, path := name, "/all/"
	if c.none {
		label = ""
	}
	if refusal.Reason == "keys_unavailable" || refusal.Reason == "introspection_unavailable" {
		label = name + "-down"
	}
	if c.path != "" {
		path = c.path
	}
	edits := c.edits
	if c.proof != "" {
		edits = append([]edit{with(c.token, c.proof)}, edits...)
	} else if c.token != "" {
		edits = append([]edit{bearer(c.token)}, edits...)
	}
	before, lines := g.scrape(), len(g.logged("request refused"))
	if got := g.get(path, edits...); got.status != refusal.Status {
		t.Errorf("got %d, want %d", got.status, refusal.Status)
	}
	if n := g.scrape().since(t, before, tokens(label, refusal.Reason)); n != 1 {
		t.Errorf("the metric counted %v, want 1", n)
	}
	logged := g.logged("request refused")
	if len(logged) != lines+1 || logged[lines]["reason"] != refusal.Reason || logged[lines]["issuer"] != label || logged[lines]["level"] != "debug" {
		t.Errorf("the log says %v, want one line with the reason", logged[lines:])
	}
	if !c.route || c.rule != "" {
		question := map[string]string{"token": c.token}
		if c.proof != "" {
			question["proof"], question["method"], question["url"] = c.proof, http.MethodGet, "http://"+g.site+path
		}
		if c.certificate != "" {
			question["certificate"] = c.certificate
		}
		if c.rule != "" {
			question["rule"] = c.rule
		}
		g.explains(t, question, refusal, label, admin)
	}
}

func (g *gateway) explains(t *testing.T, question map[string]string, refusal *auth.Refusal, label, admin string) {
	t.Helper()
	body, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	got := post(g, "http://"+admin+"/api/tokens/explain", string(body))
	e := got.object(t)
	if got.status != http.StatusOK || e["verdict"] != "refused" || e["reason"] != refusal.Reason || e["message"] != refusal.Message || e["issuer"] != label {
		t.Errorf("the explanation is %d %v %v %v %v", got.status, e["verdict"], e["reason"], e["message"], e["issuer"])
	}
	broken := 0
	for _, rule := range e["rules"].([]any) {
		if held, asked := rule.(map[string]any)["held"].(bool); asked && !held {
			broken++
		}
	}
	if broken == 0 {
		t.Errorf("no rule of the explanation is broken: %v", e["rules"])
	}
}

// downURL is the issuer that is configured and never answers.
func downURL(t *testing.T, g *gateway) string {
	t.Helper()
	for i, v := range g.vars {
		if v == "DOWN" {
			return g.vars[i+1]
		}
	}
	t.Fatal("no issuer is down")
	return ""
}

var troubleshootingRow = regexp.MustCompile("(?m)^\\| ([^|`]+) \\| `([a-z_]+)` \\|")

// troubleshooting gives the documented messages of refusals by their reasons.
func troubleshooting(t *testing.T) map[string]string {
	t.Helper()
	rows := make(map[string]string)
	for _, row := range troubleshootingRow.FindAllStringSubmatch(read(t, "../docs/troubleshooting.md"), -1) {
		rows[row[2]] = row[1]
	}
	return rows
}

// A key that cannot be used is shown with the reason, to operators and to who has a
// token of it explained.
func TestUnusableKeysAreShown(t *testing.T) {
	name := unique("unusable")
	g, issuer, admin := observe(t, name)
	issuer.AddRawKey(map[string]any{"kty": "oct", "kid": "shared", "k": "AAAA"})
	issuer.AddRawKey(map[string]any{"kty": "RSA", "kid": "tiny", "n": "AQAB", "e": "AQAB"})
	if got := post(g, "http://"+admin+"/api/issuers/"+name+"/refresh", ""); got.status != http.StatusOK || !strings.Contains(got.body, `\"shared\", is symmetric`) || !strings.Contains(got.body, `\"tiny\", is an RSA key of`) {
		t.Errorf("the refreshed issuer is shown as %d %s", got.status, got.body)
	}
	token := mint(issuer, nil, idp.WithHeader("kid", "tiny"))
	got := post(g, "http://"+admin+"/api/tokens/explain", `{"token":"`+token+`"}`)
	if !strings.Contains(got.body, "which the issuer publishes, but which is an RSA key of") {
		t.Errorf("the explanation does not say why the key is not used: %d %s", got.status, got.body)
	}
}

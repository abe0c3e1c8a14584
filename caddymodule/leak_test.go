package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// Whatever passes, nothing that the server writes holds a token, a signature or
// a secret: no log at DEBUG, metric, event, answer or configuration.
func TestNothingWrittenHoldsASecret(t *testing.T) {
	if apart(t) {
		return
	}
	const sharedKey = "a-shared-key-that-must-stay-secret-0123456789"
	t.Setenv("GATEHOUSE_TEST_SHARED_KEY", sharedKey)
	v, name := newVendor(t), unique("leak")
	g, issuer, admin := observe(t, name, "MORE", `signing {
			key `+v.private()+`
			group admin
		}
		sso {
			product docs
			credential test-api-key {env.GATEHOUSE_TEST_SHARED_KEY}
			account acme {
				authorization_endpoint https://login.example.com/authorize
				client_id web
				redirect_uri https://docs.example.com/callback
			}
		}`)
	private, err := os.ReadFile(v.private())
	if err != nil {
		t.Fatal(err)
	}

	var written strings.Builder
	var mu sync.Mutex
	note := func(a answer) answer {
		mu.Lock()
		defer mu.Unlock()
		written.WriteString(a.body + "\n")
		return a
	}
	for reason, c := range refusalCases(issuer, name, admin, g) {
		path, edits := "/all/", c.edits
		if c.path != "" {
			path = c.path
		}
		if c.token != "" {
			edits = append([]edit{bearer(c.token)}, edits...)
		}
		var all sync.WaitGroup // at once, as tokens of an unknown key wait for the issuer
		all.Go(func() { note(g.get(path, edits...)) })
		all.Go(func() { note(g.get("/api/userinfo", edits...)) })
		if c.token != "" && len(c.token) < 8000 {
			all.Go(func() { note(post(g, "http://"+admin+"/api/tokens/explain", `{"token":"`+c.token+`"}`)) })
		}
		all.Wait()
		if t.Failed() {
			t.Fatalf("at %s", reason)
		}
	}
	good := mint(issuer, claims{"groups": []string{"admin"}}, idp.WithHeader("kid", idp.Absent))
	sign := `{"license_type":"enterprise","allowed_hosts":["a.example.com"],"description":"Acme","expire_at":"24h"}`
	if got := post(g, "http://"+g.site+"/api/orgs/license/sign", sign, bearer(good)); got.status != http.StatusOK {
		t.Errorf("signing: got %d %s", got.status, got.body)
	}
	for _, path := range []string{"/all/", "/metrics", "/api/status", "/api/issuers", "/api/userinfo", "/gatehouse/", "/api/v4/sso_url?product=docs"} {
		note(g.get(path, bearer(good), header("Authorization", "Bearer "+good)))
	}
	config := note(g.do(g.client, http.MethodGet, "http://"+admin+"/config/"))
	if !json.Valid([]byte(config.body)) || !strings.Contains(config.body, name) {
		t.Errorf("got %d %s, want the configuration", config.status, config.body)
	}
	everything := written.String() + g.log() + heardAll()
	if !strings.Contains(everything, "let_in") || !strings.Contains(everything, "request refused") {
		t.Error("too little was written to tell")
	}
	if line := leaked(everything); line != "" {
		t.Errorf("a token stands in %.300s", line)
	}
	for _, secret := range []string{sharedKey, strings.TrimSpace(string(private)), strings.Split(string(private), "\n")[1]} {
		if strings.Contains(everything, secret) {
			t.Error("a secret was written")
		}
	}
}

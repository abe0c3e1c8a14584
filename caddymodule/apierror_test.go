package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

func TestErrorsOfTheAPI(t *testing.T) {
	g := startAPI(t, "ACCOUNTS", "account fixed {\n groups readers\n }")
	g.create("stored", "")
	admin := g.admin()
	nobody := func(*http.Request) {}
	for name, base := range g.places() {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				method, path string
				edits        []edit
				status       int
				body         string // "" stands for any
			}{
				{"GET", "/api/userinfo", []edit{nobody}, 401, message("a bearer token is required")},
				{"GET", "/api/serviceaccounts", []edit{header("Authorization", "Bearer a b")}, 400, ""},
				{"GET", "/api/serviceaccounts", []edit{bearer(mint(g.issuer, claims{"sub": "bob"}))}, 403, message("the caller is in none of the groups required here")},
				{"PATCH", "/api/serviceaccounts", []edit{nobody}, 405, message("method not allowed: expected GET, HEAD, POST")},
				{"POST", "/api/userinfo", []edit{nobody}, 405, message("method not allowed: expected GET, HEAD")},
				{"GET", "/api/serviceaccounts/nobody", []edit{admin}, 404, message("resource not found")},
				{"GET", "/api/serviceaccounts/%2e%2e", []edit{admin}, 404, ""},
				{"POST", "/api/serviceaccounts", []edit{admin, content(`{"subject":"stored","status":"active"}`)}, 409, message("resource already exists")},
				{"POST", "/api/serviceaccounts", []edit{admin, content(`{"subject":"fixed","status":"active"}`)}, 409, message("resource already exists")},
				{"PUT", "/api/serviceaccounts/fixed", []edit{admin, content(`{"status":"inactive"}`)}, 409, message(account.ErrDeclared.Error())},
				{"DELETE", "/api/serviceaccounts/fixed", []edit{admin}, 409, message(account.ErrDeclared.Error())},
				{"POST", "/api/serviceaccounts", []edit{admin, content(`{"subject":"` + strings.Repeat("x", 65<<10) + `"}`)}, 413, message("the body is larger than 64 KiB")},
				{"POST", "/api/serviceaccounts", []edit{admin, content(`{"subject":"a","status":"active"}`), header("Content-Type", "text/html")}, 400, message("wrong content type: expected application/json")},
				{"POST", "/api/serviceaccounts", []edit{admin, content(`{"subject":"a","status":"active","x":1}`)}, 400, ""},
				{"POST", "/api/serviceaccounts", []edit{admin, content(`{"subject":"a","status":"on"}`)}, 422, message(`status is "on"; want "active" or "inactive"`)},
				{"GET", "/api/serviceaccounts?limit=0", []edit{admin}, 422, message("limit: expected one number from 1 to 1000")},
			} {
				got := g.do(g.client, c.method, base+c.path, c.edits...)
				if got.status != c.status || c.body != "" && got.body != c.body || got.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s %s: got %d %q %v, want %d %q", c.method, c.path, got.status, got.body, got.header, c.status, c.body)
				}
				if allow := got.header.Get("Allow"); (c.status == 405) != (allow != "") {
					t.Errorf("%s %s: got Allow %q", c.method, c.path, allow)
				}
			}
			if got := g.do(g.client, "HEAD", base+"/api/userinfo", admin); got.status != 200 || got.body != "" {
				t.Errorf("HEAD: got %d %q", got.status, got.body)
			}
			for query, want := range map[string]string{"": "fixed stored", "?limit=1": "fixed", "?limit=1&after=fixed": "stored", "?after=stored": ""} {
				if got := g.do(g.client, "GET", base+"/api/serviceaccounts"+query, admin); listed(t, got) != want {
					t.Errorf("%s: got %s, want %q", query, got.body, want)
				}
			}
		})
	}
	g.get("/api/nothing", admin).wants(t, 418, "handed on")
	g.get("/gatehouse/api/nothing", admin).wants(t, 418, "not under the prefix")
	g.do(g.client, "GET", "http://"+g.second+"/api/nothing", admin).wants(t, 404, message("there is no such route"))
	if got := g.do(g.client, "GET", "http://"+g.second+"/config/"); got.status != 200 {
		t.Errorf("Caddy's own admin routes answer %d", got.status)
	}
}

// listed gives the subjects of a list; an array must be there.
func listed(t *testing.T, got answer) string {
	t.Helper()
	var list []struct{ Subject string }
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || list == nil {
		t.Fatalf("got %d %q, want an array", got.status, got.body)
	}
	var subjects []string
	for _, a := range list {
		subjects = append(subjects, a.Subject)
	}
	return strings.Join(subjects, " ")
}

func TestSeveralIssuersAndNoneNamed(t *testing.T) {
	other := newIssuer(t)
	more := "issuer " + other.URL + " {\n name other\n audience https://gateway.example.com\n }"
	g := startAPI(t, "MORE", more)
	for name, base := range g.places() {
		for _, path := range []string{"/api/userinfo", "/api/serviceaccounts"} {
			got := g.do(g.client, "GET", base+path, g.admin())
			if got.status != 403 || !strings.Contains(got.body, "`api { issuer") {
				t.Errorf("%s %s: got %d %s, want 403 naming the option", name, path, got.status, got.body)
			}
		}
	}
	if err := g.load(apiConfig("MORE", more, "OPTIONS", "issuer other\nadmin_group operators")); err != nil {
		t.Fatal(err)
	}
	if got := g.get("/api/serviceaccounts", g.admin()); got.status != 401 {
		t.Errorf("a token of the other issuer: got %d %s", got.status, got.body)
	}
	theirs := bearer(mint(other, claims{"sub": "olga", "groups": []string{"operators"}}))
	g.send("POST", "/api/serviceaccounts", theirs, content(`{"subject":"a","status":"active"}`)).wants(t, 422, message("issuer is missing; want one of the configured: acme, other"))
	if got := g.send("POST", "/api/serviceaccounts", theirs, content(`{"subject":"a","issuer":"acme","status":"active"}`)); got.status != 201 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	for _, bad := range []string{"OPTIONS|issuer nobody", "ACCOUNTS|account x", "ACCOUNTS|account x {\n issuer nobody\n }", "ACCOUNTS|account .. {\n issuer acme\n }", "ACCOUNTS|account x {\n issuer acme\n groups a a\n }"} {
		what, text, _ := strings.Cut(bad, "|")
		if err := g.load(apiConfig("MORE", more, what, text)); err == nil {
			t.Errorf("loaded with %s", text)
		}
	}
}

// Ten thousand accounts by one request.
func TestImportOfTenThousand(t *testing.T) {
	g := startAPI(t)
	var lines bytes.Buffer
	for i := range 10_000 {
		fmt.Fprintf(&lines, `{"subject":"machine-%05d","name":"Machine %d","status":"active","groups":["fleet"]}`+"\n", i, i)
	}
	started := time.Now()
	got := g.send("POST", "/api/serviceaccounts:import", g.admin(), content(lines.String()), header("Content-Type", "application/x-ndjson"))
	t.Logf("10000 accounts in %s", time.Since(started))
	if got.status != 200 || strings.Count(got.body, `"result":"created"}`) != 10_000 {
		t.Fatalf("got %d %.300s", got.status, got.body)
	}
	g.get("/guarded/", g.machine("machine-09999")).seen(t)
	if got := g.get("/api/serviceaccounts?after=machine-09998", g.admin()); listed(t, got) != "machine-09999" {
		t.Errorf("got %s", got.body)
	}
}

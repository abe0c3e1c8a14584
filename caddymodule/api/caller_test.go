package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// adminRoutes are the routes for administrators, each with a good body.
var adminRoutes = []struct{ method, path, body string }{
	{"GET", "/api/serviceaccounts", ""},
	{"POST", "/api/serviceaccounts", `{"subject":"new","status":"active"}`},
	{"POST", "/api/serviceaccounts:import", `{"subject":"new","status":"active"}`},
	{"GET", "/api/serviceaccounts/ci", ""},
	{"PUT", "/api/serviceaccounts/ci", `{"status":"inactive"}`},
	{"DELETE", "/api/serviceaccounts/ci", ""},
}

func TestWhoIsLetIn(t *testing.T) {
	s := newSite(t)
	s.send("POST", "/api/serviceaccounts", `{"subject":"ci","status":"active"}`)
	before := s.trail()
	for name, c := range map[string]struct {
		edit      edit
		status    int
		challenge string
	}{
		"nobody":          {func(r *http.Request) { r.Header.Del("Authorization") }, 401, `Bearer realm="gatehouse"`},
		"another scheme":  {header("Authorization", "Basic YTpi"), 401, `Bearer realm="gatehouse"`},
		"two headers":     {header("Authorization", "Bearer a", "Bearer b"), 400, `error="invalid_request"`},
		"a forged token":  {func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")+"A") }, 401, `error="invalid_token"`},
		"no group":        {s.token(map[string]any{"sub": "bob"}), 403, `error_description="the caller is in none of the groups required here"`},
		"a group alike":   {s.token(map[string]any{"sub": "bob", "groups": []string{"Admin", "admin ", "admins"}}), 403, `error_description="the caller is in none of the groups required here"`},
		"the signers":     {s.token(map[string]any{"sub": "bob", "groups": []string{"signers"}}), 403, `error_description="the caller is in none of the groups required here"`},
		"a forged header": {func(r *http.Request) { r.Header.Del("Authorization"); r.Header.Set("X-Forwarded-User", "alice") }, 401, `Bearer realm="gatehouse"`},
	} {
		t.Run(name, func(t *testing.T) {
			for _, route := range adminRoutes {
				got := s.send(route.method, route.path, route.body, c.edit)
				got.fails(t, c.status, "")
				if challenge := got.header.Get("WWW-Authenticate"); !strings.Contains(challenge, c.challenge) {
					t.Errorf("%s %s: got the challenge %q, want %s", route.method, route.path, challenge, c.challenge)
				}
			}
		})
	}
	if s.trail() != before || len(s.registry.Page(account.Query{})) != 1 {
		t.Errorf("something was done: %s", s.trail())
	}
}

func TestMethodsAreJudgedBeforeTheCaller(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct{ method, path, allow string }{
		{"POST", "/api/userinfo", "GET, HEAD"},
		{"DELETE", "/api/serviceaccounts", "GET, HEAD, POST"},
		{"GET", "/api/serviceaccounts:import", "POST"},
		{"PATCH", "/api/serviceaccounts/ci", "DELETE, GET, HEAD, PUT"},
		{"OPTIONS", "/api/serviceaccounts/ci", "DELETE, GET, HEAD, PUT"},
		{"TRACE", "/api/serviceaccounts/ci", "DELETE, GET, HEAD, PUT"},
		{"get", "/api/userinfo", "GET, HEAD"},
	} {
		got := s.send(c.method, c.path, "", func(r *http.Request) { r.Header.Del("Authorization") })
		got.fails(t, 405, "method not allowed")
		if allow := got.header.Get("Allow"); allow != c.allow {
			t.Errorf("%s %s: got Allow %q, want %q", c.method, c.path, allow, c.allow)
		}
	}
	for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		s.send("GET", "/api/serviceaccounts/nobody", "", header(name, "DELETE")).fails(t, 404, "resource not found")
	}
}

func TestHead(t *testing.T) {
	s := newSite(t)
	got := s.send("HEAD", "/api/userinfo", "")
	got.wants(t, 200, "")
	if got.header.Get("Content-Type") != "application/json" {
		t.Errorf("got the header %v", got.header)
	}
	s.send("HEAD", "/api/serviceaccounts/nobody", "").wants(t, 404, "")
	s.send("HEAD", "/api/userinfo", "", header("Authorization")).wants(t, 401, "")
}

// What is not exactly a route's path is not the API's, so that nothing that looks
// like one is answered under another's name.
func TestPathsThatAreNotTheAPIs(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{
		"/", "/api", "/api/", "/api/serviceaccounts/", "/API/userinfo", "/api//userinfo", "//api/userinfo", "/api/userinfo/",
		"/api/./userinfo", "/x/../api/userinfo", "/api/%75serinfo", "/api%2Fuserinfo", "/api/userinfo%00", "/api/serviceaccounts%3Aimport",
		"/api/serviceaccountsx", "/gatehouse/api/userinfo",
	} {
		if got := s.send("GET", path, ""); got.status != http.StatusTeapot {
			t.Errorf("%s: got %d %q, want it left alone", path, got.status, got.body)
		}
	}
}

func TestUserinfo(t *testing.T) {
	s := newSite(t)
	machine := s.token(map[string]any{"sub": "robot", "azp": "robot", "scope": "a b", "groups": []string{"own"}, "exp": 4102444800})
	person := s.token(map[string]any{
		"sub": "carol", "azp": "portal", "name": "Carol", "email": "carol@example.com", "groups": []string{"admin"}, "exp": 4102444800,
	})
	s.send("GET", "/api/userinfo", "", person).wants(t, 200, `{"id":"carol","subject":"carol","name":"Carol","email":"carol@example.com","status":"active",`+
		`"groups":["admin"],"is_admin":true,"kind":"user","issuer":"acme","client_id":"portal","scopes":[],"expires_at":"2100-01-01T00:00:00Z"}`+"\n")
	s.send("GET", "/api/userinfo", "", machine).wants(t, 200, `{"id":"robot","subject":"robot","name":"","email":"","status":"active",`+
		`"groups":["own"],"is_admin":false,"kind":"service_account","issuer":"acme","client_id":"robot","scopes":["a","b"],"expires_at":"2100-01-01T00:00:00Z"}`+"\n")
	made := s.send("POST", "/api/serviceaccounts", `{"subject":"robot","name":"R2","status":"active","groups":["admin"]}`).object(t)
	got := s.send("GET", "/api/userinfo", "", machine).object(t)
	if got["id"] != made["id"] || got["name"] != "R2" || got["is_admin"] != true || got["subject"] != "robot" {
		t.Errorf("got %v, want what is registered too", got)
	}
	s.send("PUT", "/api/serviceaccounts/robot", `{"status":"inactive"}`)
	s.send("GET", "/api/userinfo", "", machine).fails(t, 401, "switched off")
}

func TestNoIssuerNamed(t *testing.T) {
	s := newSite(t, func(services *api.Services, _ *site) { services.Authenticate = nil })
	for _, route := range append(adminRoutes, struct{ method, path, body string }{"GET", "/api/userinfo", ""}) {
		s.send(route.method, route.path, route.body).fails(t, 403, "`api { issuer")
	}
}

func TestTrustedCaller(t *testing.T) {
	s := newSite(t, func(_ *api.Services, s *site) { s.trusted = true })
	anonymous := header("Authorization")
	s.send("POST", "/api/serviceaccounts", `{"subject":"ci","status":"active"}`, anonymous).wants(t, 201,
		s.send("GET", "/api/serviceaccounts/ci", "", anonymous).body)
	s.send("GET", "/api/userinfo", "", anonymous).wants(t, 200, `{"id":"admin-endpoint","subject":"admin-endpoint","name":"admin-endpoint","email":"","status":"active",`+
		`"groups":[],"is_admin":true,"kind":"service_account","issuer":"","client_id":"","scopes":[],"expires_at":null}`+"\n")
	if got := s.trail(); got != "admin-endpoint service_account.create ci done\n" {
		t.Errorf("the audit log has %q", got)
	}
	// Who shows a token is judged by it.
	s.send("GET", "/api/serviceaccounts", "", s.token(map[string]any{"sub": "bob"})).fails(t, 403, "")
	s.send("GET", "/api/serviceaccounts", "", header("Authorization", "")).fails(t, 401, "")
}

// Without the issuer's keys nobody can be recognized; that is not an error of the API.
func TestKeysThatCannotBeHad(t *testing.T) {
	s := newSite(t)
	token := s.admin()
	s.issuer.SetDown(true)
	got := s.send("GET", "/api/userinfo", "", token)
	got.fails(t, 503, "keys")
	if got.header.Get("Retry-After") == "" || got.header.Get("WWW-Authenticate") != "" || len(s.failures()) != 0 {
		t.Errorf("got the header %v, and %d lines at ERROR, want Retry-After, no challenge and none", got.header, len(s.failures()))
	}
}

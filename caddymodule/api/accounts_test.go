package api_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

var timestamp = regexp.MustCompile(`"(created|updated)_at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"`)

// steady takes out of a body what differs from run to run.
func (a answer) steady() answer {
	a.body = timestamp.ReplaceAllString(a.body, `"${1}_at":"T"`)
	return a
}

func TestLifeOfAnAccount(t *testing.T) {
	s := newSite(t)
	s.send("GET", "/api/serviceaccounts", "").wants(t, 200, "[]\n")
	id := account.ID("ci")
	want := `{"id":"` + id + `","org_id":"` + account.OrgID + `","subject":"ci","name":"CI <1>","status":"active","groups":["deployers"],"issuer":"acme",` +
		`"expires_at":"2100-01-01T00:00:00Z","created_at":"T","updated_at":"T"}` + "\n"
	made := s.send("POST", "/api/serviceaccounts", `{"subject":"ci","name":"CI <1>","status":"active","groups":["deployers"],"expires_at":"2100-01-01T00:00:00Z"}`)
	made.body = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(made.body)
	made.steady().wants(t, 201, want)
	s.send("POST", "/api/serviceaccounts", `{"subject":"ci","status":"active"}`).wants(t, 409, `{"message":"resource already exists"}`+"\n")
	for _, key := range []string{"ci", id, "%63i"} {
		if got := s.send("GET", "/api/serviceaccounts/"+key, "").object(t); got["id"] != id {
			t.Errorf("by %s: got %v", key, got)
		}
	}
	s.send("PUT", "/api/serviceaccounts/"+id, `{"status":"inactive"}`).steady().wants(t, 200,
		`{"id":"`+id+`","org_id":"`+account.OrgID+`","subject":"ci","name":"","status":"inactive","groups":[],"issuer":"acme","created_at":"T","updated_at":"T"}`+"\n")
	s.send("PUT", "/api/serviceaccounts/ci", `{"subject":"other","status":"active"}`).fails(t, 422, "subject")
	s.send("DELETE", "/api/serviceaccounts/ci", "").wants(t, 204, "")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		s.send(method, "/api/serviceaccounts/ci", `{"status":"active"}`).wants(t, 404, `{"message":"resource not found"}`+"\n")
	}
	if got, want := s.trail(), `acme/alice service_account.create ci done
acme/alice service_account.create ci refused
acme/alice service_account.update ci done
acme/alice service_account.update ci refused
acme/alice service_account.delete ci done
acme/alice service_account.update ci refused
acme/alice service_account.delete ci refused
`; got != want {
		t.Errorf("the audit log has\n%swant\n%s", got, want)
	}
}

func TestWhatAPIShowsCanBeSentBack(t *testing.T) {
	s := newSite(t)
	shown := s.send("POST", "/api/serviceaccounts", `{"subject":"ci","status":"active","groups":["a"],"expires_at":"2100-01-01T00:00:00Z"}`).body
	s.send("PUT", "/api/serviceaccounts/ci", shown).wants(t, 200, shown)
	s.send("DELETE", "/api/serviceaccounts/ci", "")
	s.send("POST", "/api/serviceaccounts", shown).wants(t, 201, shown)
}

// awkward are subjects that paths, headers and logs find hard to carry.
var awkward = []string{
	"repo:acme/shop:ref:refs/heads/main", "ci@example.com", "auth0|abc", "a/../b", "../../etc", "..a", "./", "/", "//", "a//b", "100%", "%2F", "%",
	"two words", " ", "?q=1", "#f", "a;b", "a+b", "käse", "日本語", "🙂", `quo"te`, `back\slash`, "<script>", strings.Repeat("x", 255), strings.Repeat("é", 127) + "x",
	"system:serviceaccount:ns:name", "serviceaccounts:import", "*", "{http.request.host}", "\u2028",
}

func TestAwkwardSubjects(t *testing.T) {
	s := newSite(t)
	for _, subject := range awkward {
		body, err := json.Marshal(map[string]string{"subject": subject, "status": "active"})
		if err != nil {
			t.Fatal(err)
		}
		path := "/api/serviceaccounts/" + url.PathEscape(subject)
		if got := s.send("POST", "/api/serviceaccounts", string(body)); got.status != 201 || got.object(t)["subject"] != subject {
			t.Errorf("%q: creating it gave %d %s", subject, got.status, got.body)
			continue
		}
		if got := s.send("GET", path, ""); got.status != 200 || got.object(t)["subject"] != subject {
			t.Errorf("%q: got %d %s", subject, got.status, got.body)
		}
		if got := s.send("PUT", path, `{"status":"inactive"}`); got.status != 200 || got.object(t)["subject"] != subject {
			t.Errorf("%q: changing it gave %d %s", subject, got.status, got.body)
		}
		if got := s.send("DELETE", path, ""); got.status != 204 {
			t.Errorf("%q: deleting it gave %d %s", subject, got.status, got.body)
		}
	}
	if left := s.registry.List("", 0); len(left) != 0 {
		t.Errorf("%d accounts are left", len(left))
	}
}

func TestPathIsDecodedOnce(t *testing.T) {
	s := newSite(t)
	s.send("POST", "/api/serviceaccounts", `{"subject":"a/b","status":"active"}`)
	s.send("GET", "/api/serviceaccounts/a%252Fb", "").fails(t, 404, "resource not found")
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		s.send(method, "/api/serviceaccounts/"+strings.Repeat("x", 256), `{"status":"active"}`).fails(t, 404, "resource not found")
	}
	for _, path := range []string{"a%2Fb", "a/b", "a%2fb"} {
		if got := s.send("GET", "/api/serviceaccounts/"+path, ""); got.status != 200 {
			t.Errorf("%s: got %d %s", path, got.status, got.body)
		}
	}
}

func TestSeveralIssuers(t *testing.T) {
	s := newSite(t, func(services *api.Services, _ *site) { services.Issuers = []string{"acme", "other"} })
	s.send("POST", "/api/serviceaccounts", `{"subject":"a","status":"active"}`).fails(t, 422, "issuer")
	if got := s.send("POST", "/api/serviceaccounts", `{"subject":"a","status":"active","issuer":"other"}`); got.status != 201 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

func TestPaging(t *testing.T) {
	s := newSite(t)
	for _, subject := range []string{"c", "a", "b", "é", "B"} {
		s.send("POST", "/api/serviceaccounts", `{"subject":"`+subject+`","status":"active"}`)
	}
	for query, want := range map[string]string{
		"":                     "B a b c é",
		"?limit=1000":          "B a b c é",
		"?limit=2":             "B a",
		"?limit=2&after=a":     "b c",
		"?after=aa":            "b c é",
		"?after=%C3%A9":        "",
		"?limit=1&after=":      "B",
		"?limit=1&unknown=yes": "B",
	} {
		var list []struct{ Subject string }
		got := s.send("GET", "/api/serviceaccounts"+query, "")
		if err := json.Unmarshal([]byte(got.body), &list); err != nil || list == nil {
			t.Fatalf("%s: got %q, %v", query, got.body, err)
		}
		var subjects []string
		for _, a := range list {
			subjects = append(subjects, a.Subject)
		}
		if strings.Join(subjects, " ") != want {
			t.Errorf("%s: got %v, want %s", query, subjects, want)
		}
	}
	for query, status := range map[string]int{
		"?limit=0": 422, "?limit=1001": 422, "?limit=-1": 422, "?limit=99999999999999999999": 422,
		"?limit=": 400, "?limit=ten": 400, "?limit=1e3": 400, "?limit=1&limit=2": 400,
	} {
		s.send("GET", "/api/serviceaccounts"+query, "").fails(t, status, "limit")
	}
}

func TestDeclaredAccountsAreReadOnly(t *testing.T) {
	s := newSite(t, func(services *api.Services, s *site) {
		declared, err := account.NewDeclared([]account.Draft{{Subject: "fixed", Status: account.StatusActive, Issuer: "acme"}})
		if err != nil {
			s.t.Fatal(err)
		}
		services.Accounts = account.View{Declared: declared, Registry: s.registry}
	})
	s.send("POST", "/api/serviceaccounts", `{"subject":"stored","status":"active"}`)
	want := `{"id":"` + account.ID("fixed") + `","org_id":"` + account.OrgID + `","subject":"fixed","name":"","status":"active","groups":[],"issuer":"acme"}`
	s.send("GET", "/api/serviceaccounts/fixed", "").wants(t, 200, want+"\n")
	if got := s.send("GET", "/api/serviceaccounts", "").body; !strings.HasPrefix(got, "["+want+`,{"id":"`+account.ID("stored")) {
		t.Errorf("listed %s, want both", got)
	}
	s.send("POST", "/api/serviceaccounts", `{"subject":"fixed","status":"active"}`).fails(t, 409, "resource already exists")
	s.send("PUT", "/api/serviceaccounts/fixed", `{"status":"inactive"}`).fails(t, 409, "configuration")
	s.send("DELETE", "/api/serviceaccounts/"+account.ID("fixed"), "").fails(t, 409, "configuration")
	s.send("POST", "/api/serviceaccounts:import?mode=upsert", `{"subject":"fixed","status":"active"}`+"\n"+`{"subject":"new","status":"active"}`).wants(t, 200,
		`{"line":1,"subject":"fixed","result":"refused","message":"`+account.ErrDeclared.Error()+`"}`+"\n"+`{"line":2,"subject":"new","result":"created"}`+"\n")
}

func TestStorageThatCannotBeWritten(t *testing.T) {
	s := newSite(t)
	s.send("POST", "/api/serviceaccounts", `{"subject":"known","status":"active"}`)
	s.storage.SetDown(true)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/api/serviceaccounts", `{"subject":"new","status":"active"}`},
		{"PUT", "/api/serviceaccounts/known", `{"status":"inactive"}`},
		{"DELETE", "/api/serviceaccounts/known", ""},
		{"POST", "/api/serviceaccounts:import", `{"subject":"new","status":"active"}`},
	} {
		got := s.send(c.method, c.path, c.body)
		got.wants(t, 503, `{"message":"`+account.ErrBusy.Error()+`"}`+"\n")
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: no Retry-After", c.method, c.path)
		}
	}
	if got := s.send("GET", "/api/serviceaccounts/known", ""); got.status != 200 || got.object(t)["status"] != "active" {
		t.Errorf("got %d %s, want what was known", got.status, got.body)
	}
	failures := s.failures()
	// On a busy machine the first may be over before storage has answered.
	if len(failures) != 4 || !errors.Is(failures[3], hostileDown) {
		t.Errorf("the log has %v, want four errors, and the storage's own in the end", failures)
	}
	if got := s.trail(); strings.Count(got, " failed\n") != 4 {
		t.Errorf("the audit log has\n%s", got)
	}
	s.storage.SetDown(false)
	got := s.send("DELETE", "/api/serviceaccounts/known", "")
	for range 5 { // a lock that could not be given back meanwhile is not free at once
		if got.status != 503 {
			break
		}
		got = s.send("DELETE", "/api/serviceaccounts/known", "")
	}
	if got.status != 204 {
		t.Errorf("got %d %s with the storage back", got.status, got.body)
	}
}

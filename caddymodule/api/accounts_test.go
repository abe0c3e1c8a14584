package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
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
	want := `{"id":"` + id + `","org_id":"` + account.OrgID + `","subject":"ci","name":"CI <1>","status":"active","groups":["deployers"],"issuer":"acme","by":"either",` +
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
		`{"id":"`+id+`","org_id":"`+account.OrgID+`","subject":"ci","name":"","status":"inactive","groups":[],"issuer":"acme","by":"either","created_at":"T","updated_at":"T"}`+"\n")
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
	"two words", "?q=1", "#f", "a;b", "a+b", "käse", "日本語", "🙂", `quo"te`, `back\slash`, "<script>", strings.Repeat("x", 255), strings.Repeat("é", 127) + "x",
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
	if left := s.registry.Page(account.Query{}); len(left) != 0 {
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

// twoIssuers are configured besides each other.
func twoIssuers(services *api.Services, _ *site) {
	services.Issuers = account.Issuers{{Name: "acme", Identifier: "https://acme.example"}, {Name: "other", Identifier: "https://other.example"}}
}

func TestSeveralIssuers(t *testing.T) {
	s := newSite(t, twoIssuers)
	const all, one = "/api/serviceaccounts", "/api/serviceaccounts/a"
	s.send("POST", all, `{"subject":"a","status":"active"}`).fails(t, 422, "issuer")
	for _, issuer := range []string{"other", "acme"} {
		body := `{"subject":"a","status":"active","issuer":"` + issuer + `"}`
		made := s.send("POST", all, body)
		if made.status != 201 || made.object(t)["issuer_identifier"] != "https://"+issuer+".example" {
			t.Errorf("got %d %s", made.status, made.body)
		}
		s.send("POST", all, body).fails(t, 409, "resource already exists")
		if got := s.send("GET", one+"?issuer="+issuer, ""); got.status != 200 || got.object(t)["id"] != made.object(t)["id"] {
			t.Errorf("got %d %s", got.status, got.body)
		}
		if got := s.send("GET", all+"/"+made.object(t)["id"].(string), ""); got.status != 200 || got.object(t)["issuer"] != issuer {
			t.Errorf("got %d %s", got.status, got.body)
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		s.send(method, one, `{"status":"inactive"}`).fails(t, 409, "acme, other; say which is meant by ?issuer=")
		s.send(method, one+"?issuer=third", `{"status":"inactive"}`).fails(t, 404, "resource not found")
		s.send(method, one+"?issuer=acme&issuer=other", `{"status":"inactive"}`).fails(t, 400, "issuer: found 2 values, expected one")
	}
	s.send("PUT", one+"?issuer=acme", `{"status":"inactive","issuer":"other"}`).fails(t, 422, `issuer is "other"; want "acme", which never changes`)
	for _, c := range [][2]string{{"?issuer=acme", `{"status":"inactive"}`}, {"", `{"status":"inactive","issuer":"other"}`}} {
		if got := s.send("PUT", one+c[0], c[1]); got.status != 200 || got.object(t)["status"] != "inactive" {
			t.Errorf("got %d %s", got.status, got.body)
		}
	}
	for query, want := range map[string]int{"": 2, "?issuer=acme": 1, "?after=a&after_issuer=acme": 1, "?after=a": 0, "?limit=1": 1, "?search=A": 2, "?search=a&issuer=other": 1, "?search=a&limit=1": 1, "?search=b": 0} {
		if got := s.send("GET", all+query, ""); strings.Count(got.body, `"subject"`) != want {
			t.Errorf("%s: got %s, want %d", query, got.body, want)
		}
	}
	s.send("DELETE", one+"?issuer=acme", "").wants(t, 204, "")
	s.send("DELETE", one, "").wants(t, 204, "") // the only one that is left
	if trail := s.trail(); !strings.Contains(trail, "service_account.delete acme/a done") || !strings.Contains(trail, "service_account.delete other/a done") {
		t.Errorf("the audit log does not tell the accounts apart:\n%s", trail)
	}
}

// Accounts are found by what is in their subject, name or groups, and by their id,
// over all pages.
func TestSearchAccounts(t *testing.T) {
	s := newSite(t)
	const all = "/api/serviceaccounts"
	s.send("POST", all, `{"subject":"z:builder","status":"active","name":"Nightly Émile","groups":["deploy"]}`)
	var lines strings.Builder
	for i := range 1500 {
		fmt.Fprintf(&lines, "{\"subject\":\"m%04d\",\"status\":\"active\"}\n", i)
	}
	if got := s.send("POST", all+":import", lines.String(), header("Content-Type", "application/x-ndjson")); got.status != 200 {
		t.Fatal(got.body)
	}
	id := s.send("GET", all+"/z:builder", "").object(t)["id"].(string)
	for search, want := range map[string]int{
		"Builder": 1, "nightly+%C3%A9mile": 1, "DEPLOY": 1, id: 1, id[:35]: 0, "m0": 1000, "m": 1501, "m&limit=7": 7, "m&after=m1498": 2, "nobody": 0,
	} {
		if got := s.send("GET", all+"?search="+search, ""); strings.Count(got.body, `"subject"`) != want {
			t.Errorf("%s: got %d, want %d", search, strings.Count(got.body, `"subject"`), want)
		}
	}
}

// TestIfMatch: what was read is what is changed, or nothing is.
func TestIfMatch(t *testing.T) {
	s := newSite(t)
	const path = "/api/serviceaccounts/a"
	old := s.send("POST", "/api/serviceaccounts", `{"subject":"a","status":"active"}`).header.Get("ETag")
	now := s.send("PUT", path, `{"status":"inactive"}`, header("If-Match", old)).header.Get("ETag")
	if got := s.send("GET", path, "").header.Get("ETag"); got != now || got == old || len(got) < 18 {
		t.Errorf("got the tags %s, %s and %s", old, now, got)
	}
	for _, tag := range []string{old, "W/" + now, now[1:], `""`, "x", ""} {
		for _, method := range []string{"PUT", "DELETE"} {
			s.send(method, path, `{"status":"active"}`, header("If-Match", tag)).fails(t, 412, "was changed meanwhile")
		}
	}
	for _, tags := range [][]string{{"*"}, {old + ", " + now}, {old, now}, {strings.TrimSuffix(now, `"`) + `-gzip"`}} {
		if got := s.send("PUT", path, `{"status":"inactive"}`, header("If-Match", tags...)); got.status != 200 {
			t.Errorf("%q: got %d %s", tags, got.status, got.body)
		}
	}
	s.send("PUT", "/api/serviceaccounts/b", `{"status":"active"}`, header("If-Match", "*")).fails(t, 404, "resource not found")
	s.send("DELETE", path, "", header("If-Match", now)).wants(t, 204, "")
}

// TestConfirm: accounts that were registered for another issuer of that name are
// not this one's before somebody says so.
func TestConfirm(t *testing.T) {
	s := newSite(t, twoIssuers)
	const confirm = "/api/serviceaccounts:confirm"
	was := account.Issuers{{Name: "acme", Identifier: "https://was.example"}, {Name: "other", Identifier: "https://other.example"}}
	for _, subject := range []string{"a", "b", "c"} {
		for _, issuer := range was {
			if _, err := s.registry.Apply(t.Context(), []account.Change{{Op: account.Create, Draft: &account.Draft{Subject: subject, Status: account.StatusActive, Issuer: issuer.Name, Issuers: was}}}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	shown := s.send("GET", "/api/serviceaccounts/b?issuer=acme", "")
	if got := s.send("PUT", "/api/serviceaccounts/b", shown.body); got.status != 200 || got.object(t)["issuer_identifier"] != "https://was.example" {
		t.Errorf("sent back it became %d %s", got.status, got.body)
	}
	s.send("POST", confirm, `{"issuer":"third"}`).fails(t, 422, "issuer")
	s.send("POST", confirm, `{"issuer":"acme","all":true}`).fails(t, 400, "expected")
	s.send("POST", confirm, `{"issuer":"acme","subject":"nobody"}`).fails(t, 404, "resource not found")
	s.send("POST", confirm, `{"issuer":"acme","subject":"b"}`).wants(t, 200, `{"confirmed":1}`+"\n")
	s.send("POST", confirm, `{"issuer":"acme"}`).wants(t, 200, `{"confirmed":2}`+"\n")
	s.send("POST", confirm, `{"issuer":"acme"}`).wants(t, 200, `{"confirmed":0}`+"\n")
	for _, a := range s.registry.Page(account.Query{}) {
		if want := "https://" + a.Traits().Issuer + ".example"; a.Traits().Identifier != want {
			t.Errorf("%s of %s is for %s, want %s", a.Subject(), a.Traits().Issuer, a.Traits().Identifier, want)
		}
	}
	if trail := s.trail(); strings.Count(trail, "service_account.confirm acme/") != 4 {
		t.Errorf("the audit log holds\n%s", trail)
	}
}

func TestPaging(t *testing.T) {
	s := newSite(t)
	for _, subject := range []string{"c", "a", "b", "é", "B"} {
		s.send("POST", "/api/serviceaccounts", `{"subject":"`+subject+`","status":"active"}`)
	}
	for query, want := range map[string]string{
		"":                 "B a b c é",
		"?limit=1000":      "B a b c é",
		"?limit=2":         "B a",
		"?limit=2&after=a": "b c",
		"?after=aa":        "b c é",
		"?after=%C3%A9":    "",
		"?limit=1&after=":  "B",
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
		declared, err := s.registry.WithDeclared([]account.Draft{{Subject: "fixed", Status: account.StatusActive, Issuer: "acme"}})
		if err != nil {
			s.t.Fatal(err)
		}
		services.Accounts = declared
	})
	s.send("POST", "/api/serviceaccounts", `{"subject":"stored","status":"active"}`)
	want := `{"id":"` + account.ID("fixed") + `","org_id":"` + account.OrgID + `","subject":"fixed","name":"","status":"active","groups":[],"issuer":"acme","by":"either"}`
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
	s.takeStorageDown()
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/api/serviceaccounts", `{"subject":"new","status":"active"}`},
		{"PUT", "/api/serviceaccounts/known", `{"status":"inactive"}`},
		{"DELETE", "/api/serviceaccounts/known", ""},
		{"POST", "/api/serviceaccounts:import", `{"subject":"new","status":"active"}`},
	} {
		got := s.send(c.method, c.path, c.body)
		got.wants(t, 503, `{"message":"`+registry.ErrBusy.Error()+`"}`+"\n")
		if got.header.Get("Retry-After") == "" {
			t.Errorf("%s %s: no Retry-After", c.method, c.path)
		}
	}
	if got := s.send("GET", "/api/serviceaccounts/known", ""); got.status != 200 || got.object(t)["status"] != "active" {
		t.Errorf("got %d %s, want what was known", got.status, got.body)
	}
	failures := s.failures()
	// On a busy machine the first may be over before storage has answered.
	if len(failures) != 4 || !errors.Is(failures[3], storageDown) {
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

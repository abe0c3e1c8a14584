package command

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// people fills a site with one account of each sort.
func (g *site) people() {
	g.add("ci-deploy", "active", map[string]any{"name": "CI deploys", "groups": []string{"deployers", "readers"}})
	g.add("old-job", "active", map[string]any{"expires_at": "2026-05-31T00:00:00Z"})
	g.add("off", "inactive", map[string]any{"expires_at": "2026-08-30T12:00:00Z"})
	g.add("repo:acme/shop:ref:refs/heads/main", "active", map[string]any{"issuer": "github"})
	g.add("declared", "active", map[string]any{"created_at": nil, "updated_at": nil})
}

func TestGoldenAccounts(t *testing.T) {
	g, s := newSite(t)
	g.people()
	golden(t, "list", s.must("service-account", "list").stdout)
	golden(t, "list.json", s.must("service-account", "list", "--json").stdout)
	golden(t, "show", s.must("service-account", "show", "off").stdout)
	golden(t, "show.json", s.must("service-account", "show", "off", "--json").stdout)
	golden(t, "export", s.must("service-account", "export").stdout)
}

func TestAccountListEmpty(t *testing.T) {
	_, s := newSite(t)
	if r := s.must("service-account", "list"); r.stdout != "SUBJECT  NAME  STATUS  ISSUER  GROUPS  EXPIRES\n" {
		t.Errorf("got %q", r.stdout)
	}
	if r := s.must("service-account", "list", "--json"); r.stdout != "[]\n" {
		t.Errorf("got %q", r.stdout)
	}
	if r := s.must("service-account", "export"); r.stdout != "" || r.stderr != "" {
		t.Errorf("got %q %q", r.stdout, r.stderr)
	}
}

// TestAccountPages lists more than fit in one page.
func TestAccountPages(t *testing.T) {
	g, s := newSite(t)
	for i := range 2001 {
		g.add(fmt.Sprintf("job-%04d", i), "active", nil)
	}
	if r := s.must("service-account", "list"); strings.Count(r.stdout, "\n") != 2002 || strings.Count(r.stdout, "SUBJECT") != 1 {
		t.Errorf("got %d lines", strings.Count(r.stdout, "\n"))
	}
	g.wantAsked("GET /api/serviceaccounts?limit=1000", "GET /api/serviceaccounts?after=job-0999&after_issuer=acme&limit=1000",
		"GET /api/serviceaccounts?after=job-1999&after_issuer=acme&limit=1000")

	var list []accountInfo
	out := s.must("service-account", "list", "--json", "--limit", "1500", "--after", "job-0009").stdout
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1500 || list[0].Subject != "job-0010" {
		t.Errorf("got %d accounts, %v", len(list), err)
	}
	g.wantAsked("GET /api/serviceaccounts?after=job-0009&limit=1000", "GET /api/serviceaccounts?after=job-1009&after_issuer=acme&limit=500")

	r := s.must("service-account", "export")
	if strings.Count(r.stdout, "\n") != 2001 {
		t.Errorf("exported %d lines", strings.Count(r.stdout, "\n"))
	}
	s.fails([]string{"--limit is 0"}, "service-account", "list", "--limit", "0")
	s.fails([]string{"--limit is -1"}, "service-account", "list", "--limit", "-1")
}

// TestPagesThatGoNowhere asks a server that repeats itself.
func TestPagesThatGoNowhere(t *testing.T) {
	g, s := newSite(t)
	page := "[" + strings.TrimSuffix(strings.Repeat(`{"subject":"same"},`, 1000), ",") + "]"
	g.says("GET "+accountsPath, answer{status: 200, body: page})
	r := s.run("service-account", "list")
	if r.err == nil || !strings.Contains(r.stderr, "does not go on from page to page") {
		t.Errorf("got %v", r.err)
	}
	if asked := len(g.got()); asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

func TestAccountCreate(t *testing.T) {
	g, s := newSite(t)
	r := s.must("service-account", "create", "ci-deploy", "--name", "CI deploys", "--groups", "deployers, readers", "--groups", "ops",
		"--issuer", "acme", "--expires-at", "90d", "--inactive")
	golden(t, "create", r.stdout)
	want := `{"subject":"ci-deploy","name":"CI deploys","status":"inactive","groups":["deployers","readers","ops"],"issuer":"acme","expires_at":"2026-08-30T12:00:00Z"}`
	if got := g.bodies[0]; got != want {
		t.Errorf("sent %s\nwant %s", got, want)
	}
	s.must("service-account", "create", "least", "--json")
	if got := g.bodies[1]; got != `{"subject":"least","status":"active"}` {
		t.Errorf("sent %s", got)
	}
	s.fails([]string{"HTTP 409 Conflict: resource already exists"}, "service-account", "create", "least")
}

// TestAccountCreateRefusals sends nothing that cannot hold.
func TestAccountCreateRefusals(t *testing.T) {
	g, s := newSite(t)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{".."}, "subject"},
		{[]string{strings.Repeat("x", 256)}, "subject has 256 bytes"},
		{[]string{"a\x00b"}, "subject"},
		{[]string{"a", "--groups", "x,,y"}, "groups holds an empty name"},
		{[]string{"a", "--groups", "x,x"}, "groups holds"},
		{[]string{"a", "--name", strings.Repeat("x", 256)}, "name has 256 bytes"},
		{[]string{"a", "--issuer", strings.Repeat("x", 256)}, "issuer has 256 bytes"},
		{[]string{"a", "--expires-at", "soon"}, "expires_at: found"},
		{[]string{"a", "--expires-at", ""}, "expires_at: found"},
		{[]string{"a", "--expires-at", "-3d"}, "expires_at: found"},
		{[]string{"a", "--expires-at", "1999-01-01"}, "expires_at is in the year 1999"},
	} {
		s.fails([]string{c.want}, append([]string{"service-account", "create"}, c.args...)...)
	}
	g.wantAsked()
}

// TestSubjectsInPaths goes through subjects that a path may trip over.
func TestSubjectsInPaths(t *testing.T) {
	g, s := newSite(t)
	for _, subject := range []string{
		"repo:acme/shop:ref:refs/heads/main", "a/../b", "a//b", "auth0|5f7c8ec7", "a@b", "100%", "%2F", "a?b=c", "a#b", "a b", "größe", "…", "a;b", "+",
		strings.Repeat("ü", 127),
	} {
		g.add(subject, "active", nil)
		if r := s.must("service-account", "show", subject, "--json"); !strings.Contains(r.stdout, account.ID(subject)) {
			t.Errorf("%s: got %s", subject, r.stdout)
		}
		g.wantAsked("GET " + accountsPath + "/" + url.PathEscape(subject))
		s.must("service-account", "disable", subject)
		if g.accounts[subject]["status"] != "inactive" {
			t.Errorf("%s was not disabled", subject)
		}
		s.must("service-account", "delete", subject)
		if g.accounts[subject] != nil {
			t.Errorf("%s was not deleted", subject)
		}
		g.got()
	}
	for _, command := range []string{"show", "enable", "disable", "delete"} {
		for subject, want := range map[string]string{"..": "no path can name", ".": "no path can name", strings.Repeat("x", 256): "255 bytes"} {
			s.fails([]string{want}, "service-account", command, subject)
		}
	}
	g.wantAsked()
}

// TestSwitch changes the status and nothing else.
func TestSwitch(t *testing.T) {
	g, s := newSite(t)
	g.add("job", "active", map[string]any{"groups": []string{"a", "b"}, "name": "Job", "expires_at": "2027-01-01T00:00:00Z"})
	before, _ := json.Marshal(g.accounts["job"])
	r := s.must("service-account", "disable", "job")
	if !strings.Contains(r.stdout, "Status   inactive") {
		t.Errorf("got %s", r.stdout)
	}
	g.wantAsked("GET /api/serviceaccounts/job", "PUT /api/serviceaccounts/job")
	if r := s.must("service-account", "disable", "job"); !strings.Contains(r.stderr, "job is inactive already") {
		t.Errorf("got %q", r.stderr)
	}
	g.wantAsked("GET /api/serviceaccounts/job")
	s.must("service-account", "enable", "job", "--json")
	if after, _ := json.Marshal(g.accounts["job"]); string(after) != string(before) {
		t.Errorf("got %s\nwant %s", after, before)
	}
}

func TestSwitchRefusals(t *testing.T) {
	g, s := newSite(t)
	g.people()
	s.fails([]string{"HTTP 404 Not Found: resource not found"}, "service-account", "disable", "nobody")
	g.got()
	s.fails([]string{"HTTP 409 Conflict: the account is declared in the configuration"}, "service-account", "disable", "declared")
	g.wantAsked("GET /api/serviceaccounts/declared", "PUT /api/serviceaccounts/declared") // not tried again
	s.fails([]string{"HTTP 409"}, "service-account", "delete", "declared")
	s.fails([]string{"HTTP 404"}, "service-account", "delete", "nobody")
	s.fails([]string{"HTTP 404"}, "service-account", "show", "nobody")

	g.says("PUT /api/serviceaccounts/ci-deploy", answer{status: http.StatusOK, body: `{"subject":"ci-deploy","status":"active"}`})
	s.fails([]string{`answered that ci-deploy is "active"; want inactive`}, "service-account", "disable", "ci-deploy")
	g.says("GET /api/serviceaccounts/off", answer{status: http.StatusOK, body: `[]`})
	s.fails([]string{"is not what Gatehouse answers"}, "service-account", "disable", "off")
	s.fails([]string{"is not what Gatehouse answers"}, "service-account", "show", "off")
}

func TestAccountDelete(t *testing.T) {
	g, s := newSite(t)
	g.people()
	if r := s.must("service-account", "delete", "off"); r.stdout != "Deleted  off\n" {
		t.Errorf("got %q", r.stdout)
	}
	r := s.must("service-account", "delete", "old-job", "--json")
	if r.stdout != "{\n  \"result\": \"deleted\",\n  \"subject\": \"old-job\"\n}\n" {
		t.Errorf("got %q", r.stdout)
	}
}

func TestExportLeavesOutDeclared(t *testing.T) {
	g, s := newSite(t)
	g.people()
	r := s.must("service-account", "export")
	if strings.Contains(r.stdout, `"declared"`) || !strings.Contains(r.stderr, "left out what the configuration declares: 1 account (") {
		t.Errorf("got %s\n%s", r.stdout, r.stderr)
	}
	r = s.must("service-account", "export", "--declared", "--json")
	if !strings.Contains(r.stdout, `"declared"`) || r.stderr != "" || strings.Count(r.stdout, "\n") != 5 {
		t.Errorf("got %s\n%s", r.stdout, r.stderr)
	}
	for line := range strings.Lines(r.stdout) {
		if _, err := account.Decode([]byte(line)); err != nil {
			t.Errorf("import would refuse %s: %v", line, err)
		}
	}
}

// TestConnectionFlagsBeforeTheCommand are those of the command above.
func TestConnectionFlagsBeforeTheCommand(t *testing.T) {
	g, s := newSite(t)
	s.connection = nil
	s.must("service-account", "--address", g.address(), "list")
	s.must("keys", "--address", g.address(), "refresh", "--json", "--token-file", s.file("token", goodToken, 0o600))
}

// TestRepair shows both sides, and keeps the one that is named.
func TestRepair(t *testing.T) {
	_, s, _ := atTwo(t)
	s.account("create", "good", "--issuer", "acme")
	s.account("create", "off", "--issuer", "acme")
	s.account("disable", "off")
	r := s.account("repair")
	for _, want := range []string{"Storage is        well\n", "1 active, 1 inactive, 0 expired", "Only the server   0 accounts\n", "Different         0 accounts\n"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("got %q, want %q", r.stdout, want)
		}
	}
	if r := s.account("repair", "--keep", "node"); r.stdout != "Kept           node\nWritten again  0 records\n" {
		t.Errorf("got %q", r.stdout)
	}
	if r := s.account("repair", "--json"); !strings.Contains(r.stdout, `"storage_state": "ready"`) {
		t.Errorf("got %q", r.stdout)
	}
	s.fails([]string{"want node or storage"}, "service-account", "repair", "--keep", "both")
}

package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// awkward are subjects that a server may be tempted to clean.
var awkward = []string{
	"repo:acme/shop:ref:refs/heads/main", "ci@example.com", "auth0|abc", "a/../b", "..a", "a..", "a/./b", "a//b", "/", "x/", "100%", "%2F", "%252e",
	"two words", "?q=1", "#f", "a;b", "a+b", "käse", "日本語", `back\slash`, "{http.request.host}", strings.Repeat("x", 255), strings.Repeat("é", 127) + "x",
}

func TestAwkwardSubjectsInPaths(t *testing.T) {
	g := startAPI(t)
	admin, places := g.admin(), g.places()
	var lines strings.Builder
	for _, subject := range awkward {
		body, _ := json.Marshal(map[string]string{"subject": subject, "status": "active"})
		fmt.Fprintf(&lines, "%s\n", body)
	}
	if got := g.send("POST", "/api/serviceaccounts:import", admin, content(lines.String())); strings.Count(got.body, `"created"}`) != len(awkward) {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	for i, subject := range awkward {
		path := "/api/serviceaccounts/" + url.PathEscape(subject)
		for name, base := range places {
			var found struct{ Subject string }
			got := g.do(g.client, "GET", base+path, admin)
			if err := json.Unmarshal([]byte(got.body), &found); err != nil || got.status != 200 || found.Subject != subject {
				t.Errorf("%s: %q: got %d %s", name, subject, got.status, got.body)
			}
		}
		// Each place changes some of them.
		base := places[[]string{"site", "prefix", "admin endpoint"}[i%3]]
		if got := g.do(g.client, "PUT", base+path, admin, content(`{"status":"inactive"}`)); got.status != 200 || !strings.Contains(got.body, account.ID(subject)) {
			t.Errorf("%s: changing %q: got %d %s", base, subject, got.status, got.body)
		}
		g.do(g.client, "DELETE", base+path, admin).wants(t, 204, "")
	}
	if got := g.get("/api/serviceaccounts", admin); got.body != "[]\n" {
		t.Errorf("left are %s", got.body)
	}
}

// A subject that climbs above the prefix is not under it, as Caddy sees it; its id
// names it everywhere.
func TestSubjectThatClimbsOutOfThePrefix(t *testing.T) {
	g := startAPI(t)
	const subject = "../../../../etc"
	g.create(subject, "")
	for name, base := range g.places() {
		if got := g.do(g.client, "GET", base+"/api/serviceaccounts/"+account.ID(subject), g.admin()); got.status != 200 {
			t.Errorf("%s: got %d %s", name, got.status, got.body)
		}
	}
}

// Paths with plain dots or empty elements are cleaned by the admin endpoint, which
// redirects; nothing is done under either name.
func TestUnescapedPaths(t *testing.T) {
	g := startAPI(t)
	g.create("a/b", "")
	for _, path := range []string{"/api/serviceaccounts/a//b", "/api/serviceaccounts/x/../a/b", "/api/serviceaccounts/./a/b"} {
		for name, base := range g.places() {
			conn, err := net.Dial("tcp", strings.SplitN(strings.TrimPrefix(base, "http://"), "/", 2)[0])
			if err != nil {
				t.Fatal(err)
			}
			request, err := http.NewRequest("DELETE", base, nil)
			if err != nil {
				t.Fatal(err)
			}
			g.admin()(request)
			request.URL.Opaque = strings.TrimPrefix(base, "http://"+request.Host) + path
			if err := request.Write(conn); err != nil {
				t.Fatal(err)
			}
			answer := make([]byte, 1<<10)
			n, err := conn.Read(answer)
			conn.Close()
			if status := string(answer[:n]); err != nil || strings.HasPrefix(status, "HTTP/1.1 2") {
				t.Errorf("%s %s: got %q, %v", name, path, status, err)
			}
		}
	}
	if got := g.get("/api/serviceaccounts/a%2Fb", g.admin()); got.status != 200 {
		t.Errorf("got %d %s, want the account still there", got.status, got.body)
	}
}

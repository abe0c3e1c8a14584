package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// person is a token of alice's session at the application portal, issued some time ago.
func (g *apiGateway) person(subject string, more claims) edit {
	c := claims{"sub": subject, "azp": "portal", "sid": "session-of-" + subject, "jti": "token-of-" + subject, "iat": time.Now().Add(-10 * time.Minute).Unix(), "exp": 4102444800}
	for name, value := range more {
		c[name] = value
	}
	return bearer(mint(g.issuer, c))
}

// revoke revokes what the members say, and gives the revocation.
func (g *apiGateway) revoke(body string) (made struct {
	ID, Issuer, By string
	Identifier     string    `json:"issuer_identifier"`
	IssuedBefore   int64     `json:"issued_before"`
	ExpiresAt      time.Time `json:"expires_at"`
}) {
	g.t.Helper()
	got := g.send("POST", "/api/revocations", g.admin(), content(body))
	if got.status != http.StatusCreated {
		g.t.Fatalf("revoking %s: got %d %s", body, got.status, got.body)
	}
	if err := json.Unmarshal([]byte(got.body), &made); err != nil {
		g.t.Fatal(err)
	}
	return made
}

var revoked = invalidToken("the token was revoked")

// What is revoked is refused from the next request on, whatever it is called by; who
// logs in again is let in; and what was taken back is let in again.
func TestRevoke(t *testing.T) {
	g := startAPI(t, "MORE", "")
	for target, name := range map[string]string{"subject": "%s", "session": "session-of-%s", "token_id": "token-of-%s", "client": "portal-of-%s"} {
		t.Run(target, func(t *testing.T) {
			who := "person-" + target
			old := g.person(who, claims{"azp": "portal-of-" + who})
			g.get("/guarded/", old).seen(t)
			other := g.person("other-"+target, nil)
			g.get("/guarded/", other).seen(t)
			made := g.revoke(fmt.Sprintf(`{"%s":"`+name+`","reason":"left","issued_before":%d}`, target, who, time.Now().Add(-30*time.Second).Unix()))
			if made.Issuer != "acme" || made.Identifier != g.issuer.URL || made.By != "acme/alice" || made.ExpiresAt.Unix() != made.IssuedBefore+24*3600 { // the leeway is 0 here
				t.Errorf("it is %+v", made)
			}
			revoked.check(t, g.get("/guarded/", old), revoked.jsonBody())
			g.get("/guarded/", other).seen(t)
			g.get("/guarded/", g.person(who, claims{"iat": time.Now().Unix(), "azp": "portal-of-" + who})).seen(t)
			revoked.check(t, g.get("/guarded/", g.person(who, claims{"azp": "portal-of-" + who, "scope": "more"})), revoked.jsonBody())
			if listed := g.send("GET", "/api/revocations?search="+who, g.admin()); !strings.Contains(listed.body, made.ID) {
				t.Errorf("listed are %s", listed.body)
			}
			g.send("DELETE", "/api/revocations/"+made.ID, g.admin()).wants(t, 204, "")
			g.get("/guarded/", old).seen(t)
			g.send("DELETE", "/api/revocations/"+made.ID, g.admin()).wants(t, 404, message("resource not found"))
		})
	}
	g.revoke(`{"subject":"audited"}`)
	g.checkAudit(t, "acme/alice revocation.create subject audited done")
	page := g.send("GET", "/api/status", g.admin())
	if folder := `"storage":"file_system ` + filepath.Join(g.dir, "storage") + `"`; !strings.Contains(page.body, folder) {
		t.Errorf("the status does not say %s: %s", folder, page.body)
	}
	if !strings.Contains(page.body, `"revocations":{"count":1,"loaded":true`) {
		t.Errorf("the status is %s", page.body)
	}
}

// A token that does not say when it was issued stays revoked, whoever logs in again: the
// log and the explanation say so.
func TestRevokedWithoutIssuedAt(t *testing.T) {
	g := startAPI(t)
	undated, dated := g.person("carol", claims{"iat": idp.Absent}), g.person("bob", nil)
	for _, who := range []string{"carol", "bob"} {
		g.revoke(`{"subject":"` + who + `"}`)
	}
	const said = "the token does not say when it was issued"
	for _, one := range []struct {
		token edit
		said  bool
	}{{undated, true}, {dated, false}} {
		lines := len(g.logged("request refused"))
		revoked.check(t, g.get("/guarded/", one.token), revoked.jsonBody())
		if logged := g.logged("request refused"); len(logged) != lines+1 || strings.Contains(fmt.Sprint(logged[lines]), said) != one.said {
			t.Errorf("the log says %v", logged[lines:])
		}
		var request http.Request
		request.Header = http.Header{}
		one.token(&request)
		token := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")
		if got := g.send("POST", "/api/tokens/explain", g.admin(), content(`{"token":"`+token+`"}`)); strings.Contains(got.body, said) != one.said {
			t.Errorf("explained as %s", got.body)
		}
	}
}

func TestRevokeRefuses(t *testing.T) {
	g := startAPI(t)
	const want = "want an object with exactly one of subject, session, client and token_id, and if need be issuer, issued_before, expires_at and reason"
	for body, c := range map[string]struct {
		status  int
		message string
	}{
		`{}`:                                {422, "the body has 0 of the targets []; " + want},
		`{"subject":"a","session":"b"}`:     {422, "the body has 2 of the targets [session subject]; " + want},
		`{"subject":"a","admin":true}`:      {400, "the body is not a revocation: " + want},
		`[]`:                                {400, "the body is not a revocation: " + want},
		`{"subject":1}`:                     {400, "the body is not a revocation: " + want},
		`{"subject":""}`:                    {422, "subject is missing or empty; want 1 to 1024 bytes"},
		`{"subject":"a\nb"}`:                {422, `subject is "a\nb", with a control character; want none`},
		`{"subject":"a","issuer":"nobody"}`: {422, `issuer is "nobody"; want one of the configured: acme`},
		`{"subject":"a","issued_before":0}`: {422, "issued_before is not a time; want Unix seconds, or leave it out"},
		`{"subject":"a","issued_before":1000000000}`:                  {422, "issued_before is so long ago that no token of then can be alive; want a later time, or leave it out"},
		`{"subject":"a","expires_at":"soon"}`:                         {422, "expires_at is no time of RFC 3339, like 2027-01-31T00:00:00Z"},
		`{"subject":"a","reason":"` + strings.Repeat("x", 256) + `"}`: {422, "reason has 256 bytes; want at most 255"},
	} {
		g.send("POST", "/api/revocations", g.admin(), content(body)).wants(t, c.status, message(c.message))
	}
	if got := g.send("POST", "/api/revocations", g.admin(), content(`{"subject":"a","issued_before":4102444800}`)); got.status != 422 || !strings.Contains(got.body, "issued_before is 4102444800, in the future") {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := g.send("POST", "/api/revocations", g.person("nobody", nil), content(`{"subject":"a"}`)); got.status != http.StatusForbidden {
		t.Errorf("got %d of a caller who may not", got.status)
	}
	g.send("GET", "/api/revocations", g.admin()).wants(t, 200, "[]\n")
	g.send("GET", "/api/revocations?issuer=nobody", g.admin()).wants(t, 422, message(`issuer is "nobody"; want one of the configured: acme`))
}

// Open streams of whoever is revoked end, those of others go on.
func TestRevocationCutsStreams(t *testing.T) {
	g := startAPI(t)
	streams, others := g.openStreams(t, g.person("alice", nil)), g.openStreams(t, g.person("bob", nil))
	g.revoke(`{"session":"session-of-alice"}`)
	wantEnd(t, streams, revoked.message)
	wantOpen(t, others)
	g.revoke(`{"client":"portal"}`)
	wantEnd(t, others, revoked.message)
}

// With max_lifetime the revocation goes when no such token can be alive.
func TestRevocationGoesWithTheTokens(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, strings.NewReplacer("leeway 0s", "leeway 0s\nmax_lifetime 1h", "reverse_proxy UPSTREAM {\n\t\tflush_interval -1\n\t\ttransport http {\n\t\t\tversions PROTOCOL\n\t\t}\n\t}", "gatehouse_api").Replace(streams),
		"ISSUER", issuer.URL, "TIMEOUTS", "")
	admin := bearer(mint(issuer, claims{"sub": "root", "groups": []string{"admin"}}))
	before := time.Now().Add(-time.Hour + 3*time.Second).Unix()
	got := g.send("POST", "/api/revocations", admin, content(fmt.Sprintf(`{"subject":"alice","issued_before":%d}`, before)))
	if want := time.Unix(before, 0).Add(time.Hour).UTC().Format(`"expires_at":"2006-01-02T15:04:05Z"`); got.status != 201 || !strings.Contains(got.body, want) {
		t.Fatalf("got %d %s, want %s", got.status, got.body, want)
	}
	eventually(t, "it is gone", func() bool { return g.send("GET", "/api/revocations", admin).body == "[]\n" })
}

// Until it is known what is revoked, nobody is let in.
func TestNobodyIsLetInBeforeTheRevocationsAreRead(t *testing.T) {
	engine := faultstorage.New(faultstorage.Faults{})
	engine.SetDown(true)
	g := startSlowly(t, newEngine(t, engine))
	person := bearer(mint(g.issuer, claims{"sub": "alice", "azp": "portal"}))
	got := g.get("/", person)
	if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("got %d %s, want 503 with Retry-After", got.status, got.body)
	}
	if got := g.send("POST", "/api/revocations", g.admin(), content(`{"subject":"alice"}`)); got.status != http.StatusServiceUnavailable {
		t.Errorf("got %d of the API, want 503", got.status)
	}
	engine.SetDown(false)
	eventually(t, "they are let in", func() bool { return g.get("/", person).status == http.StatusOK })
}

// revokeOn revokes a subject over a node's API.
func (n *node) revokeOn(subject string) error {
	got, err := n.send("POST", "/api/revocations", content(fmt.Sprintf(`{"subject":%q,"issued_before":%d}`, subject, time.Now().Add(-30*time.Second).Unix())))
	if err == nil && got.status != http.StatusCreated {
		err = fmt.Errorf("revoking %s: got %d %s", subject, got.status, got.body)
	}
	return err
}

// person is a token that was issued ten minutes ago: what is revoked now is revoked for it,
// however slow the machine is.
func (n *node) person(subject string) edit {
	return bearer(mint(n.issuer, claims{"sub": subject, "azp": "portal", "iat": time.Now().Add(-10 * time.Minute).Unix()}))
}

func (n *node) personStatus(t *testing.T, subject string) int {
	t.Helper()
	got, err := try(n.client, "GET", n.url+"/", n.person(subject))
	if err != nil {
		t.Fatal(err)
	}
	return got.status
}

// Two nodes: revoked on one, refused on the other; the storage is emptied, and nobody
// who was revoked is let in again by the nodes that run, nor by those that start later.
func TestRevocationOnTwoNodes(t *testing.T) {
	t.Parallel()
	dir, issuer := t.TempDir(), newIssuer(t)
	streaming := strings.Replace(nodeConfig, `respond "in"`, "handle /sse {\nreverse_proxy "+newUpstream(t).URL+" {\nflush_interval -1\n}\n}\nrespond \"in\"", 1)
	first, second := startNode(t, dir, issuer), startNodeOf(t, dir, issuer, streaming)
	stream := open(t, second.client, http.MethodGet, second.url+"/sse?every=20ms", second.person("alice"))
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, stream.Body)
		ended <- err
	}()
	if status := second.personStatus(t, "alice"); status != http.StatusOK {
		t.Fatalf("got %d before", status)
	}
	select {
	case err := <-ended:
		t.Fatalf("the stream ended before with %v", err)
	default:
	}
	if err := first.revokeOn("alice"); err != nil {
		t.Fatal(err)
	}
	revokedAt := time.Now()
	if status := first.personStatus(t, "alice"); status != http.StatusUnauthorized {
		t.Errorf("got %d with the very next request, want 401", status)
	}
	if err := <-ended; err != nil {
		t.Errorf("the stream on the other node ended with %v", err)
	}
	t.Logf("the stream on the other node ended %s later, where refresh is %s", time.Since(revokedAt), nodeRefresh)
	eventually(t, "the other node refuses", func() bool { return second.personStatus(t, "alice") == http.StatusUnauthorized })
	if err := os.RemoveAll(filepath.Join(dir, "storage", "gatehouse", "revocations")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is written again", func() bool {
		_, err := os.Stat(filepath.Join(dir, "storage", "gatehouse", "revocations", "revision.json"))
		return err == nil
	})
	third := startNode(t, dir, issuer)
	for name, n := range map[string]*node{"first": first, "second": second, "third": third} {
		if status := n.personStatus(t, "alice"); status != http.StatusUnauthorized {
			t.Errorf("got %d on the %s node", status, name)
		}
		if status := n.personStatus(t, "bob"); status != http.StatusOK {
			t.Errorf("got %d for bob on the %s node", status, name)
		}
	}
}

// Five nodes, each killed right after it acknowledged a revocation.
func TestKilledRightAfterRevoking(t *testing.T) {
	t.Parallel()
	dir, issuer := t.TempDir(), newIssuer(t)
	for round := range 5 {
		n := startNode(t, dir, issuer)
		for earlier := range round {
			if status := n.personStatus(t, fmt.Sprint("person-", earlier)); status != http.StatusUnauthorized {
				t.Errorf("round %d: got %d for what round %d revoked", round, status, earlier)
			}
		}
		if err := n.revokeOn(fmt.Sprint("person-", round)); err != nil {
			t.Fatal(err)
		}
		n.kill()
	}
	if status := startNode(t, dir, issuer).personStatus(t, "person-4"); status != http.StatusUnauthorized {
		t.Errorf("got %d after the last round", status)
	}
}

// A token may be accepted until its leeway is over, and so long its revocation is kept:
// for max_lifetime and the leeway, and without one for a day and the leeway.
func TestRevocationOutlivesTheToken(t *testing.T) {
	for _, c := range []struct {
		lines string
		want  time.Duration
	}{
		{"leeway 5m", 24*time.Hour + 5*time.Minute},
		{"leeway 5m\n max_lifetime 2h", 2*time.Hour + 5*time.Minute},
		{"", 24*time.Hour + 30*time.Second},
	} {
		second := newIssuer(t)
		g := startAPI(t, "MORE", "issuer "+second.URL+" {\n name other\n audience https://gateway.example.com\n "+c.lines+"\n }", "OPTIONS", "issuer acme")
		made := g.revoke(`{"subject":"alice","issuer":"other"}`)
		if got := made.ExpiresAt.Sub(time.Unix(made.IssuedBefore, 0)); got != c.want {
			t.Errorf("%q: kept for %s, expected %s", c.lines, got, c.want)
		}
	}
}

package caddymodule_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/coder/websocket"
)

// socketFolder is a folder with a short path.
func socketFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// live is an open stream of a machine.
type live struct {
	kind  string
	ended chan string // gets what there is to say about the end
}

// openStreams opens a stream of every kind, each confirmed by its first bytes.
func (g *apiGateway) openStreams(t *testing.T, machine edit) []live {
	t.Helper()
	return []live{g.openEvents(t, machine), g.openSocket(t, machine), g.openGRPC(t, machine)}
}

func (g *apiGateway) openEvents(t *testing.T, machine edit) live {
	t.Helper()
	l := live{"events", make(chan string, 1)}
	stream := open(t, g.client, "GET", "http://"+g.site+"/guarded/sse?every=20ms", machine, header("Accept", "text/event-stream"))
	if _, err := io.ReadFull(stream.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := io.Copy(io.Discard, stream.Body)
		l.ended <- fmt.Sprint(err)
	}()
	return l
}

func (g *apiGateway) openSocket(t *testing.T, machine edit) live {
	t.Helper()
	l := live{"socket", make(chan string, 1)}
	conn := dialSocket(t, "http://"+g.site+"/guarded/ws", machine)
	go func() {
		_, _, err := conn.Read(context.Background()) // until the test ends it
		closed, _ := errors.AsType[websocket.CloseError](err)
		l.ended <- closed.Reason
	}()
	return l
}

func (g *apiGateway) openGRPC(t *testing.T, machine edit) live {
	t.Helper()
	l := live{"grpc", make(chan string, 1)}
	stream := open(t, g.h2c, "POST", "http://"+g.site+"/guarded/grpc.Stream/Watch?every=20ms", machine,
		header("Content-Type", "application/grpc"), header("Te", "trailers"))
	if _, err := io.ReadFull(stream.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := io.Copy(io.Discard, stream.Body)
		l.ended <- fmt.Sprint(err, stream.Trailer["Grpc-Status"], stream.Trailer["Grpc-Message"])
	}()
	return l
}

// wantEnd waits for the ends. The tokens are good for years.
func wantEnd(t *testing.T, streams []live, message string) {
	t.Helper()
	limit := time.After(15 * time.Second)
	for _, l := range streams {
		want := "<nil>"
		switch l.kind {
		case "grpc":
			want = "<nil>[16] [" + message + "]"
		case "socket":
			want = message
		}
		select {
		case got := <-l.ended:
			if strings.ReplaceAll(got, "> [", ">[") != want {
				t.Errorf("%s ended with %s, want %s", l.kind, got, want)
			}
		case <-limit:
			t.Fatalf("%s has not ended after 15s", l.kind)
		}
	}
}

// wantOpen makes sure that a stream has not ended.
func wantOpen(t *testing.T, streams []live) {
	t.Helper()
	for _, l := range streams {
		select {
		case got := <-l.ended:
			t.Errorf("%s ended with %s", l.kind, got)
		default:
		}
	}
}

func TestStreamsOfAnAccountThatIsGoodNoMore(t *testing.T) {
	g := startAPI(t)
	g.create("bystander", "")
	others := g.openStreams(t, g.machine("bystander"))
	for name, c := range map[string]struct {
		end     func(subject string)
		message string
	}{
		"disabled": {func(subject string) { g.disable(subject) }, "the service account is switched off"},
		"deleted": {func(subject string) {
			g.send("DELETE", "/api/serviceaccounts/"+subject, g.admin()).wants(t, 204, "")
		}, "the service account is not registered"},
		"expired": {func(subject string) {
			soon := time.Now().Add(time.Second).UTC().Format(time.RFC3339)
			g.send("PUT", "/api/serviceaccounts/"+subject, g.admin(), content(`{"status":"active","expires_at":"`+soon+`"}`))
		}, "the service account has expired"},
	} {
		t.Run(name, func(t *testing.T) {
			g.create(name, "")
			streams := g.openStreams(t, g.machine(name))
			wantOpen(t, streams)
			c.end(name)
			wantEnd(t, streams, c.message)
			refusal := invalidToken(c.message)
			refusal.check(t, g.get("/guarded/", g.machine(name)), refusal.jsonBody())
		})
	}
	wantOpen(t, others)
	g.disable("bystander")
	wantEnd(t, others, "the service account is switched off")
}

// An account that a new configuration does not declare any more is out, and so are
// its streams; a configuration that fails cuts nothing.
func TestReloadThatDropsADeclaredAccount(t *testing.T) {
	const both = "account kept\naccount dropped {\n name Dropped\n groups admin\n }"
	g := startAPI(t, "ACCOUNTS", both)
	if got := g.get("/api/userinfo", g.machine("dropped")); got.status != 200 || !strings.Contains(got.body, `"name":"Dropped","email":"","status":"active","groups":["admin"],"is_admin":true`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	kept := []live{g.openEvents(t, g.machine("kept")), g.openGRPC(t, g.machine("kept"))}
	dropped := []live{g.openEvents(t, g.machine("dropped")), g.openGRPC(t, g.machine("dropped"))}
	occupied := strings.TrimPrefix(newUpstream(t).URL, "http://")
	if err := g.load(apiConfig() + "\nhttp://" + occupied + " {\n respond x\n}\n"); err == nil {
		t.Fatal("it was loaded")
	}
	g.get("/guarded/", g.machine("dropped")).seen(t)
	wantOpen(t, append(dropped, kept...))
	if err := g.load(apiConfig("ACCOUNTS", "account kept\naccount dropped {\n status inactive\n }")); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, dropped, "the service account is switched off")
	refusal := invalidToken("the service account is switched off")
	refusal.check(t, g.get("/guarded/", g.machine("dropped")), refusal.jsonBody())
	wantOpen(t, kept)
	if err := g.load(apiConfig()); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, kept, "the service account is not registered")
	refusal = invalidToken("the service account is not registered")
	refusal.check(t, g.get("/guarded/", g.machine("kept")), refusal.jsonBody())
}

// Whom only storage can tell of keeps a stream until storage was read, and not longer.
func TestStreamsOnceTheAccountsAreRead(t *testing.T) {
	g := startAPI(t, "ACCOUNTS", "account declared")
	// A socket is Caddy's to end: its reverse_proxy closes them when it is reloaded.
	streams := []live{g.openEvents(t, g.machine("declared")), g.openGRPC(t, g.machine("declared"))}
	other := filepath.Join(g.dir, "other")
	if err := os.WriteFile(other, nil, 0o600); err != nil { // no folder, so no storage
		t.Fatal(err)
	}
	if err := g.load(apiConfigWith(other)); err != nil {
		t.Fatal(err)
	}
	if got := g.get("/guarded/", g.machine("declared")); got.status != http.StatusServiceUnavailable {
		t.Errorf("got %d %s, want 503 as long as nobody can tell", got.status, got.body)
	}
	wantOpen(t, streams)
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, streams, "the service account is not registered")
}

// lateFailure is an app that does not start, some time after others have.
type lateFailure struct{}

func (lateFailure) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "late_failure", New: func() caddy.Module { return new(lateFailure) }}
}

func (lateFailure) Start() error {
	time.Sleep(100 * time.Millisecond)
	return errors.New("it does not start")
}

func (lateFailure) Stop() error { return nil }

func init() { caddy.RegisterModule(lateFailure{}) }

// What a configuration's own storage holds is of no account before it runs.
func TestStreamsOutliveAConfigurationThatFails(t *testing.T) {
	g := startAPI(t, "ACCOUNTS", "account declared")
	streams := []live{g.openEvents(t, g.machine("declared")), g.openGRPC(t, g.machine("declared"))}
	adapted, err := g.adapted(apiConfigWith(filepath.Join(g.dir, "empty")))
	if err != nil {
		t.Fatal(err)
	}
	for range 6 { // apps start in any order
		var config map[string]any
		if err := json.Unmarshal(adapted, &config); err != nil {
			t.Fatal(err)
		}
		config["apps"].(map[string]any)["late_failure"] = struct{}{}
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.loadJSON(text); err == nil || !strings.Contains(err.Error(), "it does not start") {
			t.Fatalf("loading gave %v", err)
		}
	}
	wantOpen(t, streams)
	g.get("/guarded/", g.machine("declared")).seen(t)
}

// apiConfigWith is the configuration without accounts, on other storage.
func apiConfigWith(storage string) string {
	return strings.Replace(apiConfig(), "WITHADMIN", strings.Replace(apiGlobals, "DIR/storage", storage, 1), 1)
}

// Declared accounts stand in front of stored ones, and are known at once.
func TestDeclaredBesideStored(t *testing.T) {
	g := startAPI(t)
	g.create("both", `,"groups":["stored"]`)
	g.create("stored", "")
	if err := g.load(apiConfig("ACCOUNTS", "account both {\n groups declared\n status inactive\n }")); err != nil {
		t.Fatal(err)
	}
	refusal := invalidToken("the service account is switched off")
	refusal.check(t, g.get("/guarded/", g.machine("both")), refusal.jsonBody())
	if got := g.get("/api/serviceaccounts", g.admin()); listed(t, got) != "both stored" || !strings.Contains(got.body, `"groups":["declared"]`) {
		t.Errorf("got %s", got.body)
	}
	if err := g.load(apiConfig()); err != nil {
		t.Fatal(err)
	}
	g.get("/guarded/", g.machine("both")).seen(t)
}

func TestRegistrationOptional(t *testing.T) {
	g := startAPI(t, "ACCOUNTS", "registration optional")
	g.get("/guarded/", g.machine("never-seen")).seen(t)
	g.create("known", "")
	g.disable("known")
	refusal := invalidToken("the service account is switched off")
	refusal.check(t, g.get("/guarded/", g.machine("known")), refusal.jsonBody())
}

// TestRegistrationOfAnIssuer: what an issuer says counts for its own machines only, and
// follows a reload that changes nothing else.
func TestRegistrationOfAnIssuer(t *testing.T) {
	second := newIssuer(t)
	other := bearer(mint(second, claims{"sub": "never-seen", "azp": "never-seen", "exp": 4102444800}))
	config := func(general, own string) string {
		issuer := "issuer " + second.URL + " {\n name other\n audience https://gateway.example.com\n leeway 0s\n " + own + "\n }"
		return apiConfig("MORE", issuer, "OPTIONS", "issuer acme", "ACCOUNTS", general)
	}
	g := startAPI(t)
	unknown := invalidToken("the service account is not registered")
	for _, c := range []struct {
		general, own string
		acme, other  bool // let in
	}{
		{"", "", false, false},
		{"", "registration optional", false, true},
		{"registration optional", "registration required", true, false},
		{"registration optional", "", true, true},
		{"registration required", "registration optional", false, true},
	} {
		if err := g.load(config(c.general, c.own)); err != nil {
			t.Fatal(err)
		}
		for _, caller := range []struct {
			token edit
			letIn bool
		}{{g.machine("never-seen"), c.acme}, {other, c.other}} {
			if got := g.get("/guarded/", caller.token); caller.letIn {
				got.seen(t)
			} else {
				unknown.check(t, got, unknown.jsonBody())
			}
		}
	}
}

// TestNamesakeOfAMachine: whoever gets a machine's name for a user name gets
// nothing of what the machine has.
func TestNamesakeOfAMachine(t *testing.T) {
	g := startAPI(t)
	g.create("robot", `,"groups":["admin"]`)
	g.create("client", `,"groups":["admin"],"by":"client"`)
	g.create("person", `,"groups":["admin"],"by":"subject"`)
	const exp = 4102444800
	person := func(sub string) edit {
		return bearer(mint(g.issuer, claims{"sub": sub, "azp": "portal", "exp": exp}))
	}
	for _, c := range []struct {
		subject string
		caller  edit
		status  int
		kind    string
	}{
		{"robot", g.machine("robot"), 200, "service_account"},
		{"robot", person("robot"), 403, "user"},
		{"client", g.machine("client"), 200, "service_account"},
		{"client", person("client"), 403, "user"},
		{"person", person("person"), 200, "service_account"},
	} {
		if got := g.get("/api/serviceaccounts", c.caller); got.status != c.status {
			t.Errorf("%s of %s: got %d %s", c.kind, c.subject, got.status, got.body)
		}
		if got := g.get("/api/userinfo", c.caller); !strings.Contains(got.body, `"kind":"`+c.kind+`"`) {
			t.Errorf("%s of %s: got %s", c.kind, c.subject, got.body)
		}
	}
	g.disable("robot")
	refusal := invalidToken("the service account is switched off")
	for _, caller := range []edit{g.machine("robot"), person("robot")} {
		refusal.check(t, g.get("/guarded/", caller), refusal.jsonBody())
	}
}

// TestSubjectAtTwoIssuers: each issuer's machine has the account of its issuer.
func TestSubjectAtTwoIssuers(t *testing.T) {
	second := newIssuer(t)
	g := startAPI(t, "MORE", "issuer "+second.URL+" {\n name other\n audience https://gateway.example.com\n leeway 0s\n }", "OPTIONS", "issuer acme")
	g.create("robot", `,"issuer":"acme","name":"of acme"`)
	g.create("robot", `,"issuer":"other","name":"of other"`)
	other := bearer(mint(second, claims{"sub": "robot", "azp": "robot", "exp": 4102444800}))
	for name, caller := range map[string]edit{"acme": g.machine("robot"), "other": other} {
		g.get("/guarded/", caller).seen(t)
		off := g.send("PUT", "/api/serviceaccounts/robot?issuer="+name, g.admin(), content(`{"status":"inactive"}`))
		if off.status != http.StatusOK {
			t.Fatalf("got %d %s", off.status, off.body)
		}
		refusal := invalidToken("the service account is switched off")
		refusal.check(t, g.get("/guarded/", caller), refusal.jsonBody())
	}
}

// TestIssuerNameOfAnotherIssuer: its machines do not get the accounts of those
// that the name stood for, until an operator says so.
func TestIssuerNameOfAnotherIssuer(t *testing.T) {
	g := startAPI(t)
	g.create("robot", `,"groups":["admin"]`)
	g.create("off", "")
	g.disable("off")
	second := newIssuer(t)
	machine := func(name string) edit {
		return bearer(mint(second, claims{"sub": name, "azp": name, "exp": 4102444800}))
	}
	admin := bearer(mint(second, claims{"sub": "alice", "groups": []string{"admin"}}))
	if err := g.load(strings.ReplaceAll(apiConfig(), "ISSUER", second.URL)); err != nil {
		t.Fatal(err)
	}
	unknown, off := invalidToken("the service account is not registered"), invalidToken("the service account is switched off")
	unknown.check(t, g.get("/guarded/", machine("robot")), unknown.jsonBody())
	off.check(t, g.get("/guarded/", machine("off")), off.jsonBody())
	if log := g.log(); strings.Count(log, "service accounts are for another issuer that had this name") != 1 || !strings.Contains(log, `"registered_for":"`+g.issuer.URL+`"`) {
		t.Errorf("the log does not tell of it once:\n%s", log)
	}
	if got := g.get("/api/status", admin); !strings.Contains(got.body, `"unconfirmed":2`) {
		t.Errorf("the status is %s", got.body)
	}
	token := mint(second, claims{"sub": "robot", "azp": "robot", "exp": 4102444800})
	explained := g.send("POST", "/api/tokens/explain", admin, content(`{"token":"`+token+`"}`))
	if !strings.Contains(explained.body, "confirm the account if this issuer is meant") {
		t.Errorf("it is explained by %s", explained.body)
	}
	g.send("POST", "/api/serviceaccounts:confirm", admin, content(`{"issuer":"acme"}`)).wants(t, 200, `{"confirmed":2}`+"\n")
	g.get("/guarded/", machine("robot")).seen(t)
	off.check(t, g.get("/guarded/", machine("off")), off.jsonBody())
	if got := g.get("/api/status", admin); !strings.Contains(got.body, `"unconfirmed":0`) {
		t.Errorf("the status is %s", got.body)
	}
}

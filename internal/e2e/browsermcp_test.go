package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/gatehouse-proxy/gatehouse/caddymodule"
	"github.com/gatehouse-proxy/gatehouse/internal/e2e/browser"
	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// callMCP is what a client in a page does: it is refused, follows the challenge to the
// issuer, and comes again with a token. It gives what it was able to read.
const callMCP = `(async () => {
	const call = more => fetch("SITE/mcp", {
		method: "POST", body: "{}",
		headers: {"Content-Type": "application/json", "Mcp-Protocol-Version": "2025-06-18", ...more},
	})
	try {
		const refused = await call({})
		const challenge = refused.headers.get("WWW-Authenticate")
		const metadata = await (await fetch(challenge.match(/resource_metadata="([^"]+)"/)[1])).json()
		const served = await call({Authorization: "Bearer TOKEN"})
		return [refused.status, metadata.authorization_servers[0], metadata.scopes_supported[0], served.status, served.headers.get("Mcp-Session-Id")].join(" ")
	} catch (error) {
		return error.name
	}
})()`

// examples/mcp serves a page of the site that it names, and no page of another one.
func TestBrowserReachesAnMCPServer(t *testing.T) {
	issuer, err := idp.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	server := func(answer http.HandlerFunc) string {
		s := httptest.NewServer(answer)
		t.Cleanup(s.Close)
		return s.URL
	}
	mcp := server(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*") // as many MCP servers do
		w.Header().Set("Mcp-Session-Id", "s1")
	})
	blank := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<!doctype html><title>inspector</title>") }
	inspector, other := server(blank), server(blank)
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	site := "http://" + address
	runMCP(t, "https://login.example.com/realms/acme", issuer.URL, "https://inspector.example.com", inspector,
		"127.0.0.1:3000", strings.TrimPrefix(mcp, "http://"), "\nmcp.example.com {", "\n"+site+" {\n\tbind 127.0.0.1",
		"protected_resource https://mcp.example.com", "protected_resource "+site)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	page, tab, end, err := browser.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	token := issuer.Mint(map[string]any{"sub": "alice", "aud": "https://mcp.example.com", "scope": "mcp"})
	script := strings.NewReplacer("SITE", site, "TOKEN", token).Replace(callMCP)
	for origin, want := range map[string]string{inspector: "401 " + issuer.URL + " mcp 200 s1", other: "TypeError"} {
		if err := page.Open(tab, origin); err != nil {
			t.Fatal(err)
		}
		if err := page.WaitFor(tab, `document.title === "inspector"`); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := page.Eval(tab, script, &got); err != nil || got != want {
			t.Errorf("a page of %s got %q, %v, want %q", origin, got, err, want)
		}
	}
}

// runMCP runs the example. The first of each pair of vars is replaced by the second.
func runMCP(t *testing.T, vars ...string) {
	t.Helper()
	text, err := os.ReadFile("../../examples/mcp/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	options := "{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n\tstorage file_system " + t.TempDir() + "\n\tlog {\n\t\toutput discard\n\t}\n"
	caddyfile := strings.NewReplacer(vars...).Replace(strings.Replace(string(text), "{\n", options, 1))
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
}

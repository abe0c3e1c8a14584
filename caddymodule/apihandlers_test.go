package caddymodule_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/caddymodule"
)

// The admin endpoint's routes are the running configuration's, also after one that
// failed late.
func TestAdminEndpointAfterAFailedReload(t *testing.T) {
	g := startAPI(t)
	occupied := strings.TrimPrefix(newUpstream(t).URL, "http://")
	if err := g.load(apiConfig("OPTIONS", "admin_group others\ntrust_admin_endpoint") + "\nhttp://" + occupied + " {\n respond x\n}\n"); err == nil {
		t.Fatal("it was loaded")
	}
	g.create("ci", "")
	base := "http://" + g.second
	if got := g.do(g.client, "GET", base+"/api/serviceaccounts", g.admin()); listed(t, got) != "ci" {
		t.Errorf("got %d %s", got.status, got.body)
	}
	g.do(g.client, "GET", base+"/api/serviceaccounts").wants(t, 401, message("a bearer token is required"))
	if err := g.load(apiConfig("OPTIONS", "admin_group others")); err != nil {
		t.Fatal(err)
	}
	if got := g.do(g.client, "GET", base+"/api/serviceaccounts", g.admin()); got.status != 403 {
		t.Errorf("got %d %s, want the new configuration to decide", got.status, got.body)
	}
	if err := g.load("{\n WITHADMIN\n}\nhttp://SITE {\n respond x\n}\n"); err != nil {
		t.Fatal(err)
	}
	g.do(g.client, "GET", base+"/api/userinfo", g.admin()).wants(t, 404, message("gatehouse is not configured"))
}

func TestTrustedAdminEndpoint(t *testing.T) {
	g := startAPI(t)
	base := "http://" + g.second + "/api/serviceaccounts"
	g.do(g.client, "GET", base).wants(t, 401, message("a bearer token is required"))
	if err := g.load(apiConfig("OPTIONS", "trust_admin_endpoint")); err != nil {
		t.Fatal(err)
	}
	if got := g.do(g.client, "POST", base, content(`{"subject":"ci","status":"active"}`)); got.status != 201 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	g.checkAudit(t, "admin-endpoint service_account.create ci done")
	if got := g.do(g.client, "GET", "http://"+g.second+"/api/userinfo"); got.status != 200 || !strings.Contains(got.body, `"id":"admin-endpoint"`) {
		t.Errorf("got %d %s", got.status, got.body)
	}
	// A token that is shown is judged, and the site trusts nobody.
	if got := g.do(g.client, "GET", base, bearer(mint(g.issuer, claims{"sub": "bob"}))); got.status != 403 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	g.get("/api/serviceaccounts").wants(t, 401, message("a bearer token is required"))
	g.get("/gatehouse/api/serviceaccounts").wants(t, 401, message("a bearer token is required"))
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "Via", "X-Real-Ip"} {
		g.do(g.client, "GET", base, header(name, "127.0.0.1")).wants(t, 401, message("a bearer token is required"))
	}
}

func TestTrustedUnixSocket(t *testing.T) {
	g := startAPI(t)
	// The path of a socket may have some hundred bytes at most.
	text := strings.Replace(apiConfig("OPTIONS", "trust_admin_endpoint"), "WITHADMIN", strings.Replace(globals, "admin off", "admin unix//"+socketFolder(t)+"/s", 1), 1)
	if err := g.load(text); err != nil {
		t.Fatal(err)
	}
	socket := regexp.MustCompile(`unix/(/\S+)`).FindStringSubmatch(text)[1]
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	if got := g.do(client, "POST", "http://127.0.0.1/api/serviceaccounts", content(`{"subject":"ci","status":"active"}`)); got.status != 201 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := g.do(client, "GET", "http://127.0.0.1/api/serviceaccounts", header("X-Forwarded-For", "10.0.0.1")); got.status != 401 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}

// Where a connection came in decides; no header does.
func TestWhereTheAdminEndpointIsNotTrusted(t *testing.T) {
	startAPI(t, "OPTIONS", "trust_admin_endpoint")
	routes := new(caddymodule.AdminAPI).Routes()
	ask := func(local net.Addr, edits ...edit) int {
		r := httptest.NewRequest("GET", "http://localhost:2019/api/serviceaccounts", nil)
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
		for _, edit := range edits {
			edit(r)
		}
		w := httptest.NewRecorder()
		if err := routes[0].Handler.ServeHTTP(w, r); err != nil {
			t.Fatal(err)
		}
		return w.Code
	}
	loopback := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2019}
	host := func(name string) edit { return func(r *http.Request) { r.Host = name } }
	for name, c := range map[string]struct {
		local net.Addr
		edit  edit
		want  int
	}{
		"loopback":            {loopback, host("127.0.0.1:2019"), 200},
		"loopback, 4 in 6":    {&net.TCPAddr{IP: net.ParseIP("::ffff:127.0.0.1"), Port: 1}, host("localhost"), 200},
		"loopback, 6":         {&net.TCPAddr{IP: net.IPv6loopback, Port: 2019}, host("[::1]:2019"), 200},
		"a page of its own":   {loopback, header("Sec-Fetch-Site", "same-origin"), 200},
		"a page of another":   {loopback, header("Sec-Fetch-Site", "cross-site"), 401},
		"a name for loopback": {loopback, host("rebound.example.com"), 401},
		"another address":     {&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 2019}, host("localhost:2019"), 401},
		"any address":         {&net.TCPAddr{IP: net.IPv4zero, Port: 2019}, host("localhost:2019"), 401},
		"no address":          {nil, host("localhost:2019"), 401},
		"a socket":            {&net.UnixAddr{Name: "/run/caddy.sock", Net: "unix"}, host("anything"), 200},
	} {
		t.Run(name, func(t *testing.T) {
			if got := ask(c.local, c.edit); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

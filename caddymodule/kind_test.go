package caddymodule_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// unclear are claims that tell neither a person nor a machine: a client of Keycloak
// without the scope profile sends such.
var unclear = claims{"sub": "uuid", "azp": "ci", "acr": "1", "scope": "openid email", "sid": idp.Absent}

const kindUnclear = "the token does not tell whether a person or a service account is calling"

// Who cannot be classed opens nothing that only one kind may, and the log says what
// was looked at and what to write.
func TestCallersWhoCannotBeTold(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		service_accounts {
			registration optional
			account off {
				status inactive
			}
			account ci {
				groups deployers
			}
		}
	}
}
http://SITE {
	bind 127.0.0.1
	route /any {
		bearer_auth
		@person principal {
			kind user
		}
		@machine principal {
			kind service_account
		}
		respond @person person
		respond @machine machine
		respond "{http.auth.user.kind} {http.auth.user.groups}"
	}
	route /people {
		bearer_auth {
			service_account deny
		}
		respond people
	}
	route /machines {
		bearer_auth {
			service_account only
		}
		respond machines
	}
}`, "ISSUER", issuer.URL)
	token := issuer.Mint(unclear)
	if got := g.get("/any", bearer(token)); got.status != 200 || got.body != "unclear " {
		t.Errorf("got %d %q, want unclear, of no group, and matched by no kind", got.status, got.body)
	}
	for _, path := range []string{"/people", "/machines"} {
		got := g.get(path, bearer(token))
		if got.status != http.StatusForbidden || !strings.Contains(got.header.Get("WWW-Authenticate"), kindUnclear) {
			t.Errorf("%s: got %d %s", path, got.status, got.header.Get("WWW-Authenticate"))
		}
	}
	off := issuer.Mint(claims{"sub": "uuid", "azp": "off", "sid": idp.Absent})
	if got := g.get("/any", bearer(off)); got.status != http.StatusUnauthorized || !strings.Contains(got.header.Get("WWW-Authenticate"), "switched off") {
		t.Errorf("a client that is switched off: got %d %s", got.status, got.header.Get("WWW-Authenticate"))
	}
	if got := g.get("/any", bearer(issuer.Mint(claims{"sub": "jane", "azp": "off"}))); got.body != "person" {
		t.Errorf("a person who logged in through that client: got %d %q", got.status, got.body)
	}
	for _, want := range []string{`"reason":"kind_unclear"`, "sid or session_state", "kind service_account when"} {
		if log := g.log(); !strings.Contains(log, want) {
			t.Errorf("the log does not say %s", want)
		}
	}
	if log := g.log(); !strings.Contains(log, "name the preset of the provider, or, if there is none, write kind … when") {
		t.Error("nothing warned of the issuer when the configuration was loaded")
	}
}

// Where machines must be registered, so must who may be one.
func TestCallersWhoCannotBeToldMustBeRegistered(t *testing.T) {
	issuer, claimed := newIssuer(t), newIssuer(t)
	g := start(t, `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		issuer CLAIMED {
			name claimed
			audience https://gateway.example.com
			kind service_account when azp ci
			kind user
		}
		service_accounts {
			account client {
				issuer acme
				groups ops
			}
			account known {
				issuer acme
				by subject
				groups ops
			}
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth
	respond "{http.auth.user.kind} {http.auth.user.groups}"
}`, "ISSUER", issuer.URL, "CLAIMED", claimed.URL)
	for name, c := range map[string]struct {
		token  string
		status int
		want   string // in the body, or in the challenge
	}{
		"not known":                      {issuer.Mint(unclear), 403, kindUnclear},
		"the client is registered":       {issuer.Mint(claims{"sub": "uuid", "azp": "client", "sid": idp.Absent}), 200, "unclear "},
		"registered by the subject":      {issuer.Mint(claims{"sub": "known", "azp": "x", "sid": idp.Absent}), 200, "service_account ops"},
		"a person":                       {issuer.Mint(claims{"sub": "jane", "azp": "ci"}), 200, "user "},
		"a machine by the claim, not in": {claimed.Mint(unclear), 401, "not registered"},
		"everybody else":                 {claimed.Mint(claims{"sub": "jane", "azp": "web", "sid": idp.Absent}), 200, "user "},
	} {
		got := g.get("/", bearer(c.token))
		if said := got.body + got.header.Get("WWW-Authenticate"); got.status != c.status || !strings.Contains(said, c.want) {
			t.Errorf("%s: got %d %q, want %d %q", name, got.status, said, c.status, c.want)
		}
	}
}

// What tokens call groups is for others to choose with some presets: a namespace
// may be called admin by whoever may make one. There the default administers
// nothing, and what an operator wrote does.
func TestAdminGroupThatOthersChoose(t *testing.T) {
	issuer := newIssuer(t)
	const site = `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name cluster
			preset kubernetes
			audience gateway
		}
		signing {
			key KEY
		}
		sso {
			product my-product
			account acme {
				authorization_endpoint https://login.example.com/authorize
				client_id license-users
				redirect_uri https://app.example.com/sso
			}
		}
		service_accounts {
			registration optional
			account system:serviceaccount:ops:boss {
				groups admin
			}
		}
		api {
			API
		}
	}
}
http://SITE {
	bind 127.0.0.1
	gatehouse_api
}`
	pod := func(namespace, name string) edit {
		return bearer(issuer.Mint(claims{
			"aud": []string{"gateway"}, "sub": "system:serviceaccount:" + namespace + ":" + name,
			"kubernetes.io": claims{"namespace": namespace},
		}))
	}
	for api, want := range map[string]int{"": 403, "admin_group admin": 200} {
		g := start(t, strings.Replace(site, "API", api, 1), "ISSUER", issuer.URL, "KEY", newVendor(t).private())
		// The default of the groups that may sign and that may ask for a login is the same.
		for _, path := range []string{"/api/serviceaccounts", "/api/orgs/licenses", "/api/v4/sso_url?product=my-product&customer_account_code=acme"} {
			if got := g.get(path, pod("admin", "x")); got.status != want {
				t.Errorf("%q: a pod in the namespace admin got %d of %s, want %d", api, got.status, path, want)
			}
		}
		admin := "false"
		if want == 200 {
			admin = "true"
		}
		if got := g.get("/api/userinfo", pod("admin", "x")); got.status != 200 || !strings.Contains(got.body, `"is_admin":`+admin) {
			t.Errorf("%q: userinfo says %d %s", api, got.status, got.body)
		}
		if got := g.get("/api/serviceaccounts", pod("ops", "boss")); got.status != 200 {
			t.Errorf("%q: an account with the group got %d", api, got.status)
		}
		g.stop()
	}
}

// With id_tokens accept, tokens that look like ID tokens pass, and administer
// nothing; without, they do not pass.
func TestIDTokens(t *testing.T) {
	issuer := newIssuer(t)
	const site = `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name dex
			audience https://gateway.example.com
			kind user
			OPTION
		}
	}
}
http://SITE {
	bind 127.0.0.1
	route /api/* {
		gatehouse_api
	}
	bearer_auth
	respond "{http.auth.user.id} {http.auth.user.groups}"
}`
	typ := idp.WithHeader("typ", idp.Absent)
	access := bearer(issuer.Mint(claims{"sub": "jane", "groups": []string{"admin"}}, typ))
	for name, token := range map[string]string{
		"nonce":        issuer.Mint(claims{"sub": "jane", "groups": []string{"admin"}, "nonce": "n"}, typ),
		"dex":          issuer.Mint(claims{"sub": "jane", "groups": []string{"admin"}, "nonce": "n", "at_hash": "h"}, typ),
		"of the login": issuer.IDToken(idp.Person{Subject: "jane", Groups: []string{"admin"}}, idp.Login{ClientID: idp.DefaultAudience, Nonce: "n"}),
	} {
		g := start(t, strings.Replace(site, "OPTION", "", 1), "ISSUER", issuer.URL)
		otherType.check(t, g.get("/", bearer(token)), "")
		if got := g.get("/api/serviceaccounts", bearer(token)); got.status != 401 {
			t.Errorf("%s: an ID token administers: got %d", name, got.status)
		}
		g.stop()
		g = start(t, strings.Replace(site, "OPTION", "id_tokens accept", 1), "ISSUER", issuer.URL)
		if got := g.get("/", bearer(token)); got.status != 200 || got.body != "jane admin" {
			t.Errorf("%s: with the option got %d %q", name, got.status, got.body)
		}
		if got := g.get("/api/serviceaccounts", bearer(token)); got.status != 401 || !strings.Contains(got.body, "another type") {
			t.Errorf("%s: with the option an ID token administers: got %d %s", name, got.status, got.body)
		}
		if got := g.get("/api/userinfo", bearer(token)); got.status != 200 || !strings.Contains(got.body, `"is_admin":false`) {
			t.Errorf("%s: userinfo says %d %s", name, got.status, got.body)
		}
		if got := g.get("/api/serviceaccounts", access); got.status != 200 {
			t.Errorf("%s: an access token administers no more: got %d", name, got.status)
		}
		g.stop()
	}
}

// The status names issuers whose callers cannot be classed, and how many they were.
func TestStatusTellsOfUnclearCallers(t *testing.T) {
	issuer, other := newIssuer(t), newIssuer(t)
	g := start(t, `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		issuer OTHER {
			name other
			audience https://gateway.example.com
			kind user
		}
		api {
			issuer acme
		}
	}
}
http://SITE {
	bind 127.0.0.1
	route /api/* {
		gatehouse_api
	}
	bearer_auth
}`, "ISSUER", issuer.URL, "OTHER", other.URL)
	g.get("/", bearer(issuer.Mint(unclear)))
	g.get("/", bearer(other.Mint(unclear)))
	got := g.get("/api/status", bearer(issuer.Mint(claims{"groups": []string{"admin"}})))
	for _, want := range []string{`"kinds_told":false,"unclear_callers":1`, `"kinds_told":true,"unclear_callers":0`, `"kind_unclear":`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("the status says nothing like %s: %s", want, got.body)
		}
	}
}

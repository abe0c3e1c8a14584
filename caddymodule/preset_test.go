package caddymodule_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// showing answers with who the gate let in.
const showing = `respond "{http.auth.user.kind} {http.auth.user.id} {http.auth.user.client_id} {http.auth.user.groups} {http.auth.user.scopes}"`

// presetCase is what a provider really sends, and what of it must not pass.
type presetCase struct {
	preset   string
	audience string // for the issuer's configuration; "" for none
	machine  claims
	shown    string // kind, subject, client, groups, scopes
	person   claims // nil where all are machines
	wrong    claims // laid over machine
	refusal  refused
}

var presetCases = []presetCase{
	{
		preset: "entra", audience: "api://gateway",
		machine: claims{
			"aud": "api://gateway", "sub": "0a1b", "oid": "0a1b", "azp": "c11e", "azpacr": "1", "tid": "7e4a",
			"roles": []string{"Gateway.Read", "Gateway.Write"}, "ver": "2.0", "uti": "x",
		},
		shown:  "service_account 0a1b c11e Gateway.Read,Gateway.Write ",
		person: claims{"aud": "api://gateway", "sub": "pairwise", "oid": "0a1b", "azp": "c11e", "scp": "access_as_user", "name": "Jane"},
		wrong:  claims{"aud": "api://other"}, refusal: badAudience,
	},
	{
		preset: "auth0", audience: "https://api.example.com",
		machine: claims{
			"aud": "https://api.example.com", "sub": "k3y@clients", "azp": "k3y", "gty": "client-credentials",
			"scope": "read:x write:x", "permissions": []string{"read:x"},
		},
		shown:  "service_account k3y@clients k3y read:x read:x,write:x",
		person: claims{"aud": []string{"https://api.example.com", "https://acme.auth0.com/userinfo"}, "sub": "auth0|62", "azp": "k3y", "scope": "openid"},
		wrong:  claims{"aud": idp.Absent}, refusal: badAudience,
	},
	{
		preset: "okta", audience: "api://default",
		machine: claims{
			"aud": "api://default", "sub": "0oa1", "cid": "0oa1", "jti": "AT.x", "ver": 1, "scp": []string{"a", "b"},
		},
		shown:  "service_account 0oa1 0oa1  a,b",
		person: claims{"aud": "api://default", "sub": "jane@example.com", "cid": "0oa1", "uid": "00u1", "scp": []string{"openid"}},
		wrong:  claims{"sub": idp.Absent}, refusal: noSubject,
	},
	{
		preset: "keycloak", audience: "account",
		machine: claims{
			"aud": "account", "sub": "5f0c", "typ": "Bearer", "azp": "ci", "preferred_username": "service-account-ci",
			"realm_access": claims{"roles": []string{"ops"}}, "scope": "email profile",
			"resource_access": claims{"account": claims{"roles": []string{"view"}}, "other": claims{"roles": []string{"admin"}}},
		},
		shown:  "service_account 5f0c ci ops,view email,profile",
		person: claims{"aud": "account", "sub": "6a1d", "typ": "Bearer", "azp": "web", "preferred_username": "jane"},
		wrong:  claims{"typ": "Refresh"}, refusal: otherType,
	},
	{
		preset: "cognito",
		machine: claims{
			"aud": idp.Absent, "sub": "4rf", "client_id": "4rf", "token_use": "access", "scope": "rs/read rs/write", "version": 2,
		},
		shown:  "service_account 4rf 4rf  rs/read,rs/write",
		person: claims{"aud": idp.Absent, "sub": "uuid", "client_id": "4rf", "token_use": "access", "cognito:groups": []string{"ops"}},
		wrong:  claims{"token_use": "id"}, refusal: otherType,
	},
	{
		preset: "google", audience: "https://gateway.example.com",
		machine: claims{
			"aud": "https://gateway.example.com", "sub": "1067", "azp": "1067", "email": "ci@acme.iam.gserviceaccount.com", "email_verified": true,
		},
		shown: "service_account 1067 1067  ",
		wrong: claims{"aud": "https://other.example.com"}, refusal: badAudience,
	},
	{
		preset: "kubernetes", audience: "gateway",
		machine: claims{
			"aud": []string{"gateway"}, "sub": "system:serviceaccount:ci:deployer",
			"kubernetes.io": claims{"namespace": "ci", "serviceaccount": claims{"name": "deployer", "uid": "u"}},
		},
		shown: "service_account system:serviceaccount:ci:deployer  ci ",
		wrong: claims{"aud": []string{"https://kubernetes.default.svc"}}, refusal: badAudience,
	},
	{
		preset: "github", audience: "https://gateway.example.com",
		machine: claims{
			"aud": "https://gateway.example.com", "sub": "repo:acme@65/app@74:ref:refs/heads/main", "repository": "acme/app",
			"repository_id": "74", "repository_owner": "acme", "repository_owner_id": "65",
			"environment": "prod", "job_workflow_ref": "acme/app/.github/workflows/x.yml@refs/heads/main",
		},
		shown: "service_account repo:acme@65/app@74:ref:refs/heads/main  74 ",
		wrong: claims{"exp": time.Now().Add(-time.Hour).Unix()}, refusal: expired,
	},
}

func TestPresets(t *testing.T) {
	issuers := make(map[string]*idp.Issuer)
	var blocks strings.Builder
	for _, c := range presetCases {
		issuers[c.preset] = newIssuer(t, idp.WithPath("/"+c.preset))
		audience := ""
		if c.audience != "" {
			audience = "audience " + c.audience
		}
		fmt.Fprintf(&blocks, "issuer %s {\nname %s\npreset %s\n%s\n}\n", issuers[c.preset].URL, c.preset, c.preset, audience)
	}
	g := start(t, `{
	GLOBALS
	gatehouse {
		service_accounts {
			registration optional
		}
		BLOCKS
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth
	SHOWING
}`, "BLOCKS", blocks.String(), "SHOWING", showing)
	for _, c := range presetCases {
		t.Run(c.preset, func(t *testing.T) { c.run(t, g, issuers[c.preset]) })
	}
}

func (c presetCase) run(t *testing.T, g *gateway, issuer *idp.Issuer) {
	if got := g.get("/", bearer(issuer.Mint(c.machine))); got.status != 200 || got.body != c.shown {
		t.Errorf("got %d %s %q, want %q", got.status, got.header.Get("WWW-Authenticate"), got.body, c.shown)
	}
	wrong := claims{}
	for _, layer := range []claims{c.machine, c.wrong} {
		for name, value := range layer {
			wrong[name] = value
		}
	}
	c.refusal.check(t, g.get("/", bearer(issuer.Mint(wrong))), "")
	if c.person == nil {
		return
	}
	if got := g.get("/", bearer(issuer.Mint(c.person))); !strings.HasPrefix(got.body, "user ") {
		t.Errorf("got %d %q for a person, want a user", got.status, got.body)
	}
}

// Without a preset, a machine shows by any of the marks that issuers leave.
func TestKindsWithoutAPreset(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, `{
	GLOBALS
	gatehouse {
		service_accounts {
			registration optional
		}
		issuer ISSUER {
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth
	respond "{http.auth.user.kind}"
}`, "ISSUER", issuer.URL)
	for _, c := range []struct {
		claims claims
		kind   string
	}{
		{claims{"gty": "client-credentials"}, "service_account"},
		{claims{"idtyp": "app"}, "service_account"},
		{claims{"sub": "ci", "azp": "ci"}, "service_account"},
		{claims{"sub": "ci", "appid": "ci"}, "service_account"},
		{claims{"sub": "ci", "cid": "ci"}, "service_account"},
		{claims{"sub": "ci", "client_id": "ci"}, "service_account"},
		{claims{"sub": "ci@clients", "azp": "ci"}, "service_account"},
		{claims{"preferred_username": "service-account-ci"}, "service_account"},
		{claims{"sub": "system:serviceaccount:ns:name"}, "service_account"},
		{claims{"sub": "jane", "azp": "web"}, "user"},
		{claims{"sub": "jane", "gty": "password"}, "user"},
		{claims{"preferred_username": "jane-service-account-", "sid": "s"}, "user"},
		{claims{"preferred_username": "jane", "sid": idp.Absent}, "unclear"},
	} {
		got := g.send(http.MethodGet, "/", bearer(issuer.Mint(c.claims)))
		if got.status != 200 || got.body != c.kind {
			t.Errorf("%v: got %d %q, want %s", c.claims, got.status, got.body, c.kind)
		}
	}
}

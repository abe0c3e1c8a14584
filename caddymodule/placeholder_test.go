package caddymodule_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// everyPlaceholder is all of them, one a line.
var everyPlaceholder = []string{
	"id", "kind", "issuer", "client_id", "name", "email", "groups", "scopes", "token_id", "expires_at",
	"claims.tenant.plan", "claims.kubernetes.io.namespace", "claims.https://acme.com/roles", "claims.nothing", "claims.level", "claims.tenant",
}

const placeholders = `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	log
	@closed path /closed
	bearer_auth @closed
	@open path /open
	bearer_auth @open {
		optional
	}
	@late path /late
	route @late {
		bearer_auth {
			optional
		}
		vars early "{http.auth.user.id}"
		bearer_auth {
			optional
			token_from cookie session
		}
		respond "{vars.early}|{http.auth.user.id}|{http.auth.user.kind}"
	}
	respond ` + "`ALL`" + `
}
`

func startPlaceholders(t *testing.T) (*gateway, *idp.Issuer) {
	issuer := newIssuer(t)
	var all []string
	for _, name := range everyPlaceholder {
		all = append(all, name+"={http.auth.user."+name+"}")
	}
	return start(t, placeholders, "ISSUER", issuer.URL, "ALL", strings.Join(all, "\n")), issuer
}

func shown(body string) map[string]string {
	all := make(map[string]string)
	for line := range strings.SplitSeq(body, "\n") {
		name, value, _ := strings.Cut(line, "=")
		all[name] = value
	}
	return all
}

func (g *gateway) shows(t *testing.T, got answer, want map[string]string) {
	t.Helper()
	found := shown(got.body)
	if got.status != 200 || len(found) != len(everyPlaceholder) {
		t.Fatalf("got %d %q", got.status, got.body)
	}
	for _, name := range everyPlaceholder {
		if found[name] != want[name] {
			t.Errorf("%s: got %q, want %q", name, found[name], want[name])
		}
	}
}

func TestPlaceholders(t *testing.T) {
	g, issuer := startPlaceholders(t)
	expiry := time.Now().Add(time.Hour).Truncate(time.Second)
	token := issuer.Mint(claims{
		"sub": "jane", "azp": "web", "name": "Jane Doe", "email": "jane@example.com", "groups": []string{"ops", "dev"},
		"scope": "a b", "jti": "t1", "exp": expiry.Unix(), "tenant": claims{"plan": "pro"}, "level": 1.50,
		"kubernetes.io": claims{"namespace": "ci"}, "https://acme.com/roles": []any{"x", true, 3},
	})
	for range 2 { // new, and remembered
		g.shows(t, g.get("/closed", bearer(token)), map[string]string{
			"id": "jane", "kind": "user", "issuer": "acme", "client_id": "web", "name": "Jane Doe", "email": "jane@example.com",
			"groups": "ops,dev", "scopes": "a,b", "token_id": "t1", "expires_at": expiry.UTC().Format(time.RFC3339),
			"claims.tenant.plan": "pro", "claims.kubernetes.io.namespace": "ci", "claims.https://acme.com/roles": "x,true,3",
			"claims.level": "1.5", "claims.tenant": `{"plan":"pro"}`,
		})
	}
	t.Run("absent", func(t *testing.T) {
		got := g.get("/closed", bearer(issuer.Mint(claims{"sub": "jane", "jti": idp.Absent, "exp": expiry.Unix()})))
		g.shows(t, got, map[string]string{
			"id": "jane", "kind": "user", "issuer": "acme", "expires_at": expiry.UTC().Format(time.RFC3339),
		})
	})
	t.Run("anonymous", func(t *testing.T) { g.shows(t, g.get("/open"), nil) })
	t.Run("optional with a token", func(t *testing.T) {
		got := shown(g.get("/open", bearer(token)).body)
		if got["id"] != "jane" {
			t.Errorf("got %v, want jane", got)
		}
	})
	t.Run("optional with a bad token", func(t *testing.T) {
		notJWS.check(t, g.get("/open", bearer("bad")), "")
	})
}

func TestUserIDInTheAccessLog(t *testing.T) {
	g, issuer := startPlaceholders(t)
	g.get("/closed", bearer(issuer.Mint(claims{"sub": "jane"})))
	g.get("/open")
	g.get("/closed")
	users := func() (list []string) {
		for line := range strings.SplitSeq(g.log(), "\n") {
			var entry struct {
				Logger string `json:"logger"`
				User   string `json:"user_id"`
			}
			if json.Unmarshal([]byte(line), &entry) == nil && strings.HasPrefix(entry.Logger, "http.log.access") {
				list = append(list, entry.User)
			}
		}
		return list
	}
	// A line is written when its answer has been sent.
	eventually(t, "three requests are in the access log", func() bool { return len(users()) == 3 })
	if got := strings.Join(users(), "|"); got != "jane||" {
		t.Errorf("got the user ids %q, want jane and nobody twice", got)
	}
}

// An outer gate lets a request without a token in as anonymous, an inner one may
// find one in a cookie.
func TestNestedGates(t *testing.T) {
	g, issuer := startPlaceholders(t)
	jane, joe := mint(issuer, claims{"sub": "jane"}), mint(issuer, claims{"sub": "joe"})
	for _, c := range []struct {
		name  string
		edits []edit
		want  string
	}{
		{"nobody", nil, "||"},
		{"cookie inside", []edit{header("Cookie", "session="+jane)}, "|jane|user"},
		{"header outside", []edit{bearer(jane)}, "jane|jane|user"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := g.get("/late", c.edits...); got.body != c.want {
				t.Errorf("got %d %q, want %q", got.status, got.body, c.want)
			}
		})
	}
	two := invalidRequest("the request carries a token in more than one place")
	two.check(t, g.get("/late", bearer(jane), header("Cookie", "session="+joe)), "")
	two.check(t, g.get("/late", bearer(jane), header("Cookie", "session="+jane)), "")
}

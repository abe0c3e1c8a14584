package caddymodule_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const rules = `{
	GLOBALS
	gatehouse {
		service_accounts {
			registration optional
		}
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
			scope_includes admin write
			scope_includes write draft
		}
		issuer OTHER {
			name other
			audience https://gateway.example.com
			kind service_account
		}
		issuer STRICT {
			name strict
			audience https://gateway.example.com
			algorithms ES256
			leeway 10s
			max_lifetime 1h
			token_type at+jwt
			subject_claim user.login
			client_claim app
			groups_claim https://acme.com/roles
			scopes_claim rights
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth /scope {
		scope a b
		scope c
	}
	bearer_auth /anyscope {
		scope c
		scope any a b
	}
	bearer_auth /draft {
		scope draft
	}
	bearer_auth /stepup {
		acr phr urn:acme:mfa
		authenticated_within 15m
	}
	bearer_auth /pattern {
		claim repo repo:acme/* repo:other/*:main
		group team:*:admins x\*
	}
	bearer_auth /group {
		group admins operators
		group eu
	}
	bearer_auth /claim {
		claim tenant.plan pro enterprise
		claim level 7
	}
	bearer_auth /dotted {
		claim kubernetes.io.namespace ci
	}
	bearer_auth /only {
		service_account only
	}
	bearer_auth /deny {
		service_account deny
	}
	bearer_auth /audience {
		audience https://x.example.com https://y.example.com
	}
	bearer_auth /issuer {
		issuer acme strict
	}
	bearer_auth /realm {
		realm "the \"gate\""
	}
	bearer_auth /any
	SHOWING
}`

func TestRules(t *testing.T) {
	issuer, other := newIssuer(t), newIssuer(t)
	strict := newIssuer(t, idp.WithAlgorithms("ES256", "EdDSA"))
	g := start(t, rules, "ISSUER", issuer.URL, "OTHER", other.URL, "STRICT", strict.URL, "SHOWING", showing)

	missingScope := forbidden("the token lacks a scope that is required here")
	missingScope.challenge = strings.Replace(missingScope.challenge, "error_desc", `error="insufficient_scope", error_desc`, 1) + `, scope="a b c"`
	anyScope, draft := missingScope, missingScope
	anyScope.challenge = strings.Replace(missingScope.challenge, "a b c", "c a b", 1)
	draft.challenge = strings.Replace(missingScope.challenge, "a b c", "draft", 1)
	login := func(message string) refused {
		want := invalidToken(message)
		want.challenge = strings.Replace(want.challenge, "invalid_token", "insufficient_user_authentication", 1) + `, acr_values="phr urn:acme:mfa", max_age="900"`
		return want
	}
	weak, old := login("a stronger way to log in is required here"), login("a more recent login is required here")
	now := time.Now().Unix()
	group := forbidden("the caller is in none of the groups required here")
	claim := forbidden("a claim of the token does not have a value required here")
	machines := forbidden("only service accounts are let in here")
	people := forbidden("service accounts are not let in here")
	passes := refused{}
	for _, c := range []struct {
		name, path string
		issuer     *idp.Issuer
		claims     claims
		want       refused
	}{
		{"all scopes", "/scope", issuer, claims{"scope": "c b a d"}, passes},
		{"scopes in an array", "/scope", issuer, claims{"scp": []string{"a", "b", "c"}}, passes},
		{"a scope missing", "/scope", issuer, claims{"scope": "a b"}, missingScope},
		{"no scopes", "/scope", issuer, nil, missingScope},
		{"scopes of another type", "/scope", issuer, claims{"scope": 5}, missingScope},
		{"half of a scope", "/scope", issuer, claims{"scope": "a b cc"}, missingScope},
		{"any scope", "/anyscope", issuer, claims{"scope": "c b"}, passes},
		{"none of any", "/anyscope", issuer, claims{"scope": "c"}, anyScope},
		{"a scope included in another", "/draft", issuer, claims{"scope": "admin"}, passes},
		{"a scope included nowhere", "/draft", issuer, claims{"scope": "read"}, draft},
		{"another issuer's scope includes nothing", "/draft", other, claims{"scope": "admin"}, draft},
		{"login", "/stepup", issuer, claims{"acr": "phr", "auth_time": now}, passes},
		{"login too weak", "/stepup", issuer, claims{"acr": "1", "auth_time": now}, weak},
		{"login without acr", "/stepup", issuer, claims{"auth_time": now}, weak},
		{"login too old", "/stepup", issuer, claims{"acr": "phr", "auth_time": now - 1000}, old},
		{"login without a time", "/stepup", issuer, claims{"acr": "phr"}, old},
		{"patterns", "/pattern", issuer, claims{"repo": "repo:acme/app", "groups": []string{"team:eu:admins"}}, passes},
		{"patterns, between separators", "/pattern", issuer, claims{"repo": "repo:other/app:main", "groups": "x*"}, passes},
		{"a pattern is not met", "/pattern", issuer, claims{"repo": "repo:acme/", "groups": "x*"}, claim},
		{"a pattern that a separator parts", "/pattern", issuer, claims{"repo": "repo:acme/app", "groups": "team:eu:west:admins"}, group},
		{"a star by itself", "/pattern", issuer, claims{"repo": "repo:acme/app", "groups": "xy"}, group},
		{"a group of each line", "/group", issuer, claims{"groups": []string{"operators", "eu"}}, passes},
		{"a line not met", "/group", issuer, claims{"groups": []string{"operators", "admins"}}, group},
		{"a string is one group", "/group", issuer, claims{"groups": "admins eu"}, group},
		{"no groups", "/group", issuer, nil, group},
		{"groups of another type", "/group", issuer, claims{"groups": claims{"admins": true, "eu": true}}, group},
		{"claims", "/claim", issuer, claims{"tenant": claims{"plan": "pro"}, "level": 7}, passes},
		{"claims in arrays", "/claim", issuer, claims{"tenant": claims{"plan": []string{"x", "enterprise"}}, "level": []any{"7"}}, passes},
		{"another value", "/claim", issuer, claims{"tenant": claims{"plan": "free"}, "level": 7}, claim},
		{"a claim missing", "/claim", issuer, claims{"tenant": claims{"plan": "pro"}}, claim},
		{"a number written otherwise", "/claim", issuer, claims{"tenant": claims{"plan": "pro"}, "level": 7.5}, claim},
		{"a flat name with the dot", "/claim", issuer, claims{"tenant.plan": "pro", "level": 7}, passes},
		{"a member with dots", "/dotted", issuer, claims{"kubernetes.io": claims{"namespace": "ci"}}, passes},
		{"another namespace", "/dotted", issuer, claims{"kubernetes.io": claims{"namespace": "prod"}}, claim},
		{"machine, only", "/only", issuer, claims{"sub": "ci", "azp": "ci"}, passes},
		{"person, only", "/only", issuer, nil, machines},
		{"every token a machine's", "/only", other, nil, passes},
		{"machine, denied", "/deny", issuer, claims{"sub": "ci", "azp": "ci"}, people},
		{"person, denied", "/deny", issuer, nil, passes},
		{"audience in addition", "/audience", issuer, claims{"aud": []string{"https://gateway.example.com", "https://y.example.com"}}, passes},
		{"only the issuer's audience", "/audience", issuer, nil, badAudience},
		{"only the route's audience", "/audience", issuer, claims{"aud": "https://y.example.com"}, badAudience},
		{"issuer of the subset", "/issuer", issuer, nil, passes},
		{"issuer beyond the subset", "/issuer", other, nil, otherIssuer},
		{"any issuer", "/any", other, nil, passes},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := g.get(c.path, bearer(c.issuer.Mint(c.claims)))
			if c.want.status != 0 {
				c.want.check(t, got, "")
				return
			}
			if got.status != 200 {
				t.Errorf("got %d %s, want 200", got.status, got.header.Get("WWW-Authenticate"))
			}
		})
	}
	t.Run("realm", func(t *testing.T) {
		refused{401, `Bearer realm="the \"gate\""`, ""}.check(t, g.get("/realm"), "")
	})
	t.Run("strict", func(t *testing.T) { checkStrict(t, g, strict) })
}

func checkStrict(t *testing.T, g *gateway, strict *idp.Issuer) {
	now := time.Now().Unix()
	login := func(more claims) claims {
		all := claims{"user": claims{"login": "jane"}, "app": "web", "https://acme.com/roles": "ops", "rights": "a b"}
		for name, value := range more {
			all[name] = value
		}
		return all
	}
	for _, c := range []struct {
		name  string
		token string
		want  refused
	}{
		{"algorithm off the list", strict.Mint(login(nil), idp.WithAlg("EdDSA")), badAlgorithm},
		{"another typ", strict.Mint(login(nil), idp.WithHeader("typ", "JWT")), otherType},
		{"no typ", strict.Mint(login(nil), idp.WithHeader("typ", idp.Absent)), otherType},
		{"lives too long", strict.Mint(login(claims{"exp": now + 3700})), tooLong},
		{"without iat", strict.Mint(login(claims{"iat": idp.Absent})), tooLong},
		{"subject elsewhere", strict.Mint(claims{"sub": "jane"}), noSubject},
		{"expired beyond the leeway", strict.Mint(login(claims{"iat": now - 60, "exp": now - 11})), expired},
		{"ahead beyond the leeway", strict.Mint(login(claims{"nbf": now + 600})), notYet},
	} {
		t.Run(c.name, func(t *testing.T) { c.want.check(t, g.get("/any", bearer(c.token)), "") })
	}
	now = time.Now().Unix()
	for name, token := range map[string]string{
		"as it should be":           strict.Mint(login(nil)),
		"typ with its prefix":       strict.Mint(login(nil), idp.WithHeader("typ", "application/AT+JWT")),
		"expired within the leeway": strict.Mint(login(claims{"iat": now - 60, "exp": now - 2})),
		"ahead within the leeway":   strict.Mint(login(claims{"nbf": now + 8})),
	} {
		t.Run(name, func(t *testing.T) {
			if got := g.get("/any", bearer(token)); got.body != "user jane web ops a,b" {
				t.Errorf("got %d %q %s", got.status, got.body, got.header.Get("WWW-Authenticate"))
			}
		})
	}
}

// An audience of a route that no issuer has is warned of, by validate and at the start:
// it shuts out everybody whose token names one audience.
func TestAudienceOfNoIssuerIsWarnedOf(t *testing.T) {
	const strange, slip = "no audience of this route is one of its issuers'", "only by a slash, the scheme or capitals"
	first, second := newIssuer(t), newIssuer(t)
	other := "issuer " + second.URL + " {\n name partner\n audience https://partner.example.com\n }"
	for name, c := range map[string]struct{ more, lines, want string }{
		"no audience":            {other, "", ""},
		"of the issuer":          {"", "audience https://gateway.example.com", ""},
		"one of two":             {"", "audience https://other.example.com https://gateway.example.com", ""},
		"of another issuer":      {other, "audience https://partner.example.com", ""},
		"of an issuer not taken": {other, "issuer acme\naudience https://partner.example.com", strange},
		"of nobody":              {"", "audience https://other.example.com", strange},
		"a slash more":           {"", "audience https://gateway.example.com/", slip},
		"another scheme":         {"", "audience http://Gateway.example.com", slip},
		"an issuer without any":  {"issuer " + second.URL + " {\n name pool\n preset cognito\n }", "audience https://other.example.com", ""},
	} {
		g := prepare(t, "ISSUER", first.URL, "MORE", c.more, "LINES", c.lines)
		config, err := g.adapted(namesakes)
		if err != nil {
			t.Fatal(err)
		}
		validation, err := validated(t, g, config)
		if err != nil {
			t.Fatal(err)
		}
		started := start(t, namesakes, "ISSUER", first.URL, "MORE", c.more, "LINES", c.lines)
		for _, log := range []string{validation, started.log()} {
			for _, warning := range []string{strange, slip} {
				if warned := strings.Contains(log, warning); warned != (warning == c.want) {
					t.Errorf("%s: warned of %q is %v", name, warning, warned)
				}
			}
			if c.want != "" && !strings.Contains(log, `"issuer_audiences":["https://gateway.example.com"]`) {
				t.Errorf("%s: the audiences of the issuer are not named: %s", name, log)
			}
		}
		started.stop()
	}
}

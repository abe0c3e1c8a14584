package auth

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// realToken is a token as an identity provider writes it: the claims beside
// iss, iat, exp and jti, and what must be read out of them.
type realToken struct {
	name   string
	preset string
	typ    any // of the header
	claims string
	policy func(*Policy)

	kind            Kind
	subject, client string
	groups, scopes  []string
}

var realTokens = []realToken{
	{
		name: "entra v2 client credentials", preset: "entra", typ: "JWT",
		claims: `{"aud":"https://gateway.example.com","aio":"E2Zg","azp":"11111111-2222","azpacr":"1","oid":"0f0f-aa","rh":"0.AX",
			"roles":["Gateway.Read","Gateway.Write"],"sub":"0f0f-aa","tid":"72f9","uti":"x","ver":"2.0"}`,
		kind: KindServiceAccount, subject: "0f0f-aa", client: "11111111-2222", groups: []string{"Gateway.Read", "Gateway.Write"},
	},
	{
		name: "entra v1 client credentials", preset: "entra", typ: "JWT",
		claims: `{"aud":"https://gateway.example.com","appid":"11111111-2222","appidacr":"1","idp":"https://sts.windows.net/72f9/",
			"oid":"0f0f-aa","sub":"0f0f-aa","tid":"72f9","ver":"1.0"}`,
		kind: KindServiceAccount, subject: "0f0f-aa", client: "11111111-2222",
	},
	{
		name: "entra with idtyp", preset: "entra", typ: "JWT",
		claims: `{"aud":"https://gateway.example.com","azp":"c","idtyp":"app","sub":"pairwise"}`,
		kind:   KindServiceAccount, subject: "pairwise", client: "c",
	},
	{
		name: "entra person", preset: "entra", typ: "JWT",
		claims: `{"aud":"https://gateway.example.com","azp":"11111111-2222","name":"A","oid":"0f0f-bb","preferred_username":"a@example.com",
			"roles":["Admin"],"scp":"access_as_user files.read","sub":"pairwise","tid":"72f9","ver":"2.0"}`,
		kind: KindUser, subject: "pairwise", client: "11111111-2222", groups: []string{"Admin"}, scopes: []string{"access_as_user", "files.read"},
	},
	{
		name: "entra person by oid", preset: "entra", typ: "JWT", policy: func(p *Policy) { p.SubjectClaim = "oid" },
		claims: `{"aud":"https://gateway.example.com","azp":"c","oid":"0f0f-bb","scp":"x","sub":"pairwise"}`,
		kind:   KindUser, subject: "0f0f-bb", client: "c", scopes: []string{"x"},
	},
	{
		name: "auth0 client credentials", preset: "auth0", typ: "JWT",
		claims: `{"sub":"AbC123@clients","aud":"https://gateway.example.com","scope":"read:items write:items","gty":"client-credentials",
			"azp":"AbC123","permissions":["read:items"]}`,
		kind: KindServiceAccount, subject: "AbC123@clients", client: "AbC123",
		groups: []string{"read:items"}, scopes: []string{"read:items", "write:items"},
	},
	{
		name: "auth0 in the RFC 9068 profile", preset: "auth0", typ: "at+jwt",
		claims: `{"sub":"AbC123@clients","aud":"https://gateway.example.com","client_id":"AbC123"}`,
		kind:   KindServiceAccount, subject: "AbC123@clients", client: "AbC123",
	},
	{
		name: "auth0 person", preset: "auth0", typ: "JWT",
		claims: `{"sub":"auth0|64f0","aud":["https://gateway.example.com","https://acme.auth0.com/userinfo"],"azp":"AbC123","scope":"openid profile"}`,
		kind:   KindUser, subject: "auth0|64f0", client: "AbC123", scopes: []string{"openid", "profile"},
	},
	{
		name: "auth0 person named like clients", preset: "auth0", typ: "JWT",
		claims: `{"sub":"other@clients","aud":"https://gateway.example.com","azp":"AbC123"}`,
		kind:   KindUnclear, subject: "other@clients", client: "AbC123",
	},
	{
		name: "okta client credentials", preset: "okta", typ: idp.Absent,
		claims: `{"ver":1,"jti":"AT.x","aud":"https://gateway.example.com","cid":"0oa1","scp":["gateway.read","gateway.write"],"sub":"0oa1"}`,
		kind:   KindServiceAccount, subject: "0oa1", client: "0oa1", scopes: []string{"gateway.read", "gateway.write"},
	},
	{
		name: "okta person", preset: "okta", typ: idp.Absent,
		claims: `{"ver":1,"jti":"AT.x","aud":"https://gateway.example.com","cid":"0oa1","uid":"00u1","scp":["openid"],"sub":"a@example.com","groups":["Everyone"]}`,
		kind:   KindUser, subject: "a@example.com", client: "0oa1", groups: []string{"Everyone"}, scopes: []string{"openid"},
	},
	{
		name: "keycloak client credentials", preset: "keycloak", typ: "JWT",
		claims: `{"aud":["https://gateway.example.com","account"],"sub":"c1d2-uuid","typ":"Bearer","azp":"ci-runner","acr":"1",
			"realm_access":{"roles":["offline_access","deployer"]},
			"resource_access":{"https://gateway.example.com":{"roles":["gate-admin","deployer"]},"account":{"roles":["manage-account"]},"other-app":{"roles":["admin"]}},
			"scope":"profile email","clientHost":"10.0.0.1","preferred_username":"service-account-ci-runner","client_id":"ci-runner"}`,
		kind: KindServiceAccount, subject: "c1d2-uuid", client: "ci-runner",
		groups: []string{"offline_access", "deployer", "gate-admin"}, scopes: []string{"profile", "email"},
	},
	{
		name: "keycloak client in capitals", preset: "keycloak", typ: "JWT",
		claims: `{"aud":"https://gateway.example.com","sub":"c1d2-uuid","azp":"CI-Runner","preferred_username":"service-account-ci-runner"}`,
		kind:   KindServiceAccount, subject: "c1d2-uuid", client: "CI-Runner",
	},
	{
		name: "keycloak with the audience account", preset: "keycloak", typ: "JWT", policy: func(p *Policy) { p.Audiences = []string{"account"} },
		claims: `{"aud":"account","sub":"c1d2-uuid","azp":"ci","preferred_username":"service-account-ci",
			"resource_access":{"account":{"roles":["view-profile"]},"https://gateway.example.com":{"roles":["gate-admin"]}}}`,
		kind: KindServiceAccount, subject: "c1d2-uuid", client: "ci", groups: []string{"view-profile"},
	},
	{
		name: "keycloak person", preset: "keycloak", typ: "JWT",
		claims: `{"aud":"https://gateway.example.com","sub":"a-person","azp":"ci-runner","preferred_username":"somebody","realm_access":{"roles":["user"]},"scope":"openid"}`,
		kind:   KindUser, subject: "a-person", client: "ci-runner", groups: []string{"user"}, scopes: []string{"openid"},
	},
	{
		name: "keycloak person with a machine's name", preset: "keycloak", typ: "JWT",
		claims: `{"aud":"https://gateway.example.com","sub":"a-person","azp":"web","preferred_username":"service-account-ci-runner","sid":"s"}`,
		kind:   KindUser, subject: "a-person", client: "web",
	},
	{
		name: "cognito client credentials", preset: "cognito", typ: idp.Absent, policy: func(p *Policy) { p.Audiences = []string{"3n4b"} },
		claims: `{"aud":null,"sub":"3n4b","token_use":"access","scope":"rs/read rs/write","auth_time":1788264000,"version":2,"client_id":"3n4b"}`,
		kind:   KindServiceAccount, subject: "3n4b", client: "3n4b", scopes: []string{"rs/read", "rs/write"},
	},
	{
		name: "cognito person, any client", preset: "cognito", typ: idp.Absent, policy: func(p *Policy) { p.Audiences = nil },
		claims: `{"aud":null,"sub":"aaaa-bbbb","cognito:groups":["admins"],"token_use":"access","scope":"openid","client_id":"3n4b","username":"somebody"}`,
		kind:   KindUser, subject: "aaaa-bbbb", client: "3n4b", groups: []string{"admins"}, scopes: []string{"openid"},
	},
	{
		name: "google service account", preset: "google", typ: "JWT",
		claims: `{"aud":"https://gateway.example.com","azp":"113774264463038321964","email":"ci@proj.iam.gserviceaccount.com","email_verified":true,"sub":"113774264463038321964"}`,
		kind:   KindServiceAccount, subject: "113774264463038321964", client: "113774264463038321964",
	},
	{
		name: "kubernetes", preset: "kubernetes", typ: idp.Absent,
		claims: `{"aud":["https://gateway.example.com"],"kubernetes.io":{"namespace":"prod","node":{"name":"n1"},"pod":{"name":"web-0","uid":"u"},
			"serviceaccount":{"name":"web","uid":"v"}},"nbf":1788264000,"sub":"system:serviceaccount:prod:web"}`,
		kind: KindServiceAccount, subject: "system:serviceaccount:prod:web", groups: []string{"prod"},
	},
	{
		name: "github", preset: "github", typ: "JWT",
		claims: `{"sub":"repo:acme/app:ref:refs/heads/main","aud":"https://gateway.example.com","ref":"refs/heads/main","repository":"acme/app","repository_id":"74",
			"repository_owner":"acme","repository_owner_id":"65","environment":"prod","job_workflow_ref":"acme/app/.github/workflows/ci.yml@refs/heads/main"}`,
		kind: KindServiceAccount, subject: "repo:acme/app:ref:refs/heads/main", groups: []string{"74"},
	},
	{
		name: "generic, RFC 9068", typ: "at+jwt",
		claims: `{"sub":"ci","client_id":"ci","aud":"https://gateway.example.com","scope":"a b","groups":["g1","g2","g1"]}`,
		kind:   KindServiceAccount, subject: "ci", client: "ci", groups: []string{"g1", "g2"}, scopes: []string{"a", "b"},
	},
	{
		name: "generic, groups a string, scp an array", typ: "JWT",
		claims: `{"sub":"somebody","cid":"web","amr":["pwd"],"aud":"https://gateway.example.com","scp":["a","b c"],"groups":"one, two"}`,
		kind:   KindUser, subject: "somebody", client: "web", groups: []string{"one, two"}, scopes: []string{"a", "b c"},
	},
	{
		name: "generic, an escaped subject", typ: "JWT",
		claims: `{"sub":"a\u002fb\"\u00e9","azp":"\u0077eb","sid":"\u0073","aud":"https:\/\/gateway.example.com","groups":["\u0067"]}`,
		kind:   KindUser, subject: `a/b"é`, client: "web", groups: []string{"g"},
	},
	{name: "generic gty", claims: `{"sub":"x","azp":"y","gty":"client-credentials"}`, kind: KindServiceAccount, subject: "x", client: "y"},
	{name: "generic idtyp", claims: `{"sub":"x","appid":"y","idtyp":"app"}`, kind: KindServiceAccount, subject: "x", client: "y"},
	{name: "generic appid", claims: `{"sub":"y","appid":"y"}`, kind: KindServiceAccount, subject: "y", client: "y"},
	{name: "generic cid", claims: `{"sub":"y","cid":"y"}`, kind: KindServiceAccount, subject: "y", client: "y"},
	{name: "generic @clients", claims: `{"sub":"y@clients","azp":"y"}`, kind: KindServiceAccount, subject: "y@clients", client: "y"},
	{name: "generic @clients of another", claims: `{"sub":"z@clients","azp":"y"}`, kind: KindUnclear, subject: "z@clients", client: "y"},
	{name: "generic kubernetes", claims: `{"sub":"system:serviceaccount:a:b"}`, kind: KindServiceAccount, subject: "system:serviceaccount:a:b"},
	{name: "generic keycloak", claims: `{"sub":"u","azp":"Y","preferred_username":"service-account-y"}`, kind: KindServiceAccount, subject: "u", client: "Y"},
	{name: "generic keycloak, no client", claims: `{"sub":"u","preferred_username":"service-account-y"}`, kind: KindServiceAccount, subject: "u"},
	{name: "generic person with a machine's name", claims: `{"sub":"u","azp":"web","preferred_username":"service-account-y","sid":"s"}`, kind: KindUser, subject: "u", client: "web"},
	{name: "generic person through an app", claims: `{"sub":"u","azp":"web","client_id":"web","gty":"password"}`, kind: KindUser, subject: "u", client: "web"},
	{
		name: "generic person, keyed by client", policy: func(p *Policy) { p.SubjectClaim = "azp" },
		claims: `{"sub":"u","azp":"web","sid":"s"}`, kind: KindUser, subject: "web", client: "web",
	},
	{
		name: "all of an issuer are machines", policy: func(p *Policy) { p.Kind = KindServiceAccount },
		claims: `{"sub":"u","azp":"web"}`, kind: KindServiceAccount, subject: "u", client: "web",
	},
	{
		name: "claims named by the policy", policy: func(p *Policy) {
			p.ClientClaim, p.GroupsClaim, p.ScopesClaim = "app.id", "https://acme.com/roles", "x.y.z"
		},
		claims: `{"sub":"u","app":{"id":"A"},"https://acme.com/roles":["r"],"x.y":{"z":"s t"},"groups":["no"],"azp":"no","sid":"s"}`,
		kind:   KindUser, subject: "u", client: "A", groups: []string{"r"}, scopes: []string{"s", "t"},
	},
	{
		name:   "claims of wrong types say nothing",
		claims: `{"sub":"u","azp":1,"client_id":["a","b"],"groups":{"a":"b"},"scope":7,"gty":{"client-credentials":1},"idtyp":true}`,
		kind:   KindUnclear, subject: "u",
	},
}

func TestRealTokens(t *testing.T) {
	g := newGate(t, "RS256")
	for _, tt := range realTokens {
		t.Run(tt.name, func(t *testing.T) {
			v := g.verifier(with(func(p *Policy) { p.Preset = tt.preset }), with(func(p *Policy) {
				if tt.policy != nil {
					tt.policy(p)
				}
			}))
			p := letIn(t, v, g.idp.Mint(claimsOf(t, tt.claims), idp.WithHeader("typ", typOf(tt.typ))))
			if p.Kind() != tt.kind || p.Subject() != tt.subject || p.ClientID() != tt.client {
				t.Errorf("got %s %q of client %q; expected %s %q of %q", p.Kind(), p.Subject(), p.ClientID(), tt.kind, tt.subject, tt.client)
			}
			if !slices.Equal(p.Groups(), tt.groups) {
				t.Errorf("got groups %q, expected %q", p.Groups(), tt.groups)
			}
			if !slices.Equal(p.Scopes(), tt.scopes) {
				t.Errorf("got scopes %q, expected %q", p.Scopes(), tt.scopes)
			}
		})
	}
}

// claimsOf reads claims; null leaves one out. Those of a login are there only if
// they are given.
func claimsOf(t *testing.T, text string) map[string]any {
	t.Helper()
	var claims map[string]any
	if err := json.Unmarshal([]byte(text), &claims); err != nil {
		t.Fatal(err)
	}
	if _, given := claims["sid"]; !given {
		claims["sid"] = nil
	}
	for name, value := range claims {
		if value == nil {
			claims[name] = idp.Absent
		}
	}
	return claims
}

func typOf(typ any) any {
	if typ == nil {
		return "JWT"
	}
	return typ
}

func TestPresetRefusals(t *testing.T) {
	g := newGate(t)
	tests := []struct {
		name, preset, claims string
		audiences            []string
		want                 *Refusal
	}{
		{"cognito ID token", "cognito", `{"aud":"3n4b","sub":"s","token_use":"id"}`, []string{"3n4b"}, ErrTokenType},
		{"cognito without token_use", "cognito", `{"aud":null,"sub":"s","client_id":"3n4b"}`, []string{"3n4b"}, ErrTokenType},
		{"cognito of another client", "cognito", `{"aud":null,"sub":"s","client_id":"zzz","token_use":"access"}`, []string{"3n4b"}, ErrAudience},
		{"cognito without a client", "cognito", `{"aud":null,"sub":"s","token_use":"access"}`, []string{"3n4b"}, ErrAudience},
		{"cognito, client a number", "cognito", `{"aud":null,"sub":"s","client_id":3,"token_use":"access"}`, []string{"3n4b"}, ErrMalformedClaims},
		{"cognito for another resource", "cognito", `{"aud":"https://other.example","sub":"s","client_id":"3n4b","token_use":"access"}`, []string{"3n4b"}, ErrAudience},
		{"cognito for a resource, none named", "cognito", `{"aud":"https://other.example","sub":"s","client_id":"3n4b","token_use":"access"}`, nil, ErrAudience},
		{"keycloak for account only", "keycloak", `{"aud":"account","sub":"s"}`, []string{"https://gateway.example.com"}, ErrAudience},
		{"the client is no audience elsewhere", "okta", `{"aud":null,"sub":"s","cid":"a","client_id":"a"}`, []string{"a"}, ErrAudience},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := g.verifier(with(func(p *Policy) { p.Preset, p.Audiences = tt.preset, tt.audiences }))
			refused(t, v, g.idp.Mint(claimsOf(t, tt.claims)), tt.want)
		})
	}
}

// An audience with a resource's name is granted by aud too, where a Cognito
// token carries one.
func TestCognitoResourceBinding(t *testing.T) {
	g := newGate(t)
	v := g.verifier(with(func(p *Policy) { p.Preset = "cognito" }))
	letIn(t, v, g.idp.Mint(claimsOf(t, `{"sub":"s","client_id":"3n4b","token_use":"access"}`)))
}

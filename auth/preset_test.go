package auth

import (
	"encoding/json"
	"slices"
	"strings"
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
		name: "gitlab", preset: "gitlab", typ: "JWT",
		claims: `{"namespace_id":"72","namespace_path":"my-group","project_id":"20","project_path":"my-group/my-project","user_id":"1",
			"user_login":"sample-user","user_email":"sample-user@example.com","user_access_level":"developer","pipeline_id":"574","pipeline_source":"push",
			"job_id":"302","ref":"feature-1","ref_type":"branch","ref_path":"refs/heads/feature-1","ref_protected":"false","groups_direct":["admin"],
			"environment":"test","runner_id":1,"runner_environment":"self-hosted","sha":"714a","project_visibility":"public",
			"sub":"project_path:my-group/my-project:ref_type:branch:ref:feature-1","aud":"https://gateway.example.com","nbf":1788264000}`,
		kind: KindServiceAccount, subject: "project_path:my-group/my-project:ref_type:branch:ref:feature-1", groups: []string{"20"},
	},
	{
		name: "bitbucket", preset: "bitbucket", typ: "JWT", policy: func(p *Policy) { p.Audiences = []string{"ari:cloud:bitbucket::workspace/8a1f"} },
		claims: `{"sub":"{437da666}:{staging}:{9d3b}","aud":"ari:cloud:bitbucket::workspace/8a1f","stepUuid":"{9d3b}","repositoryUuid":"{437da666}",
			"pipelineUuid":"{77}","workspaceUuid":"{8a1f}","deploymentEnvironmentUuid":"{staging}","branchName":"main"}`,
		kind: KindServiceAccount, subject: "{437da666}:{staging}:{9d3b}", groups: []string{"{437da666}"},
	},
	{
		name: "circleci", preset: "circleci", typ: "JWT", policy: func(p *Policy) { p.Audiences = []string{"0f1e"} },
		claims: `{"aud":"0f1e","sub":"org/0f1e/project/76c1/user/4b2a","oidc.circleci.com/project-id":"76c1","oidc.circleci.com/context-ids":["c1"],
			"oidc.circleci.com/org-id":"0f1e","oidc.circleci.com/ssh-rerun":false,"oidc.circleci.com/vcs-origin":"github.com/acme/app",
			"oidc.circleci.com/vcs-ref":"refs/heads/main"}`,
		kind: KindServiceAccount, subject: "org/0f1e/project/76c1/user/4b2a", groups: []string{"76c1"},
	},
	{
		name: "buildkite", preset: "buildkite", typ: "JWT",
		claims: `{"sub":"organization:acme-inc:pipeline:super-duper-app:ref:refs/heads/main:commit:9f3182061f1e2cca4702c368cbc039b7dc9d4485:step:build",
			"aud":"https://gateway.example.com","organization_slug":"acme-inc","pipeline_slug":"super-duper-app","pipeline_id":"0184","organization_id":"0183",
			"build_number":1,"build_branch":"main","build_tag":null,"build_commit":"9f31","step_key":"build","job_id":"0184990a","agent_id":"0184990b"}`,
		kind:    KindServiceAccount,
		subject: "organization:acme-inc:pipeline:super-duper-app:ref:refs/heads/main:commit:9f3182061f1e2cca4702c368cbc039b7dc9d4485:step:build",
		groups:  []string{"0184"},
	},
	{
		name: "terraform", preset: "terraform", typ: "JWT",
		claims: `{"sub":"organization:my-org:project:Default Project:workspace:my-workspace:run_phase:apply","aud":"https://gateway.example.com",
			"terraform_run_phase":"apply","terraform_workspace_id":"ws-mbsd5E3Ktt5Rg2Xm","terraform_workspace_name":"my-workspace",
			"terraform_organization_id":"org-GRNbCjYNpBB6NEH9","terraform_organization_name":"my-org","terraform_run_id":"run-X3n1AUXNGWbfECsJ",
			"terraform_full_workspace":"organization:my-org:project:Default Project:workspace:my-workspace","nbf":1788264000}`,
		kind:    KindServiceAccount,
		subject: "organization:my-org:project:Default Project:workspace:my-workspace:run_phase:apply", groups: []string{"ws-mbsd5E3Ktt5Rg2Xm"},
	},
	{
		name: "spiffe without iss", preset: "spiffe", typ: "JOSE", policy: func(p *Policy) { p.TrustDomain = "acme.example" },
		claims: `{"iss":null,"sub":"spiffe://acme.example/ns/prod/sa/web","aud":["https://gateway.example.com"],"sid":null,"jti":null}`,
		kind:   KindServiceAccount, subject: "spiffe://acme.example/ns/prod/sa/web",
	},
	{
		name: "spiffe with iss", preset: "spiffe", typ: idp.Absent, policy: func(p *Policy) { p.TrustDomain = "acme.example" },
		claims: `{"sub":"spiffe://acme.example/ns/prod/sa/web","aud":["https://gateway.example.com"]}`,
		kind:   KindServiceAccount, subject: "spiffe://acme.example/ns/prod/sa/web",
	},
	{
		name: "dex", preset: "dex", typ: idp.Absent, policy: func(p *Policy) { p.Audiences = []string{"gateway"} },
		claims: `{"sub":"CiQwOGE4Njg0Yi1kYjg4LTRiNzMtOTBhOS0zY2QxNjYxZjU0NjYSBWxvY2Fs","aud":["gateway","cli"],"azp":"cli","nonce":"n","at_hash":"h7M8a-G6Ui2U26wLJLSo0A",
			"email":"jane@example.com","email_verified":true,"groups":["admins"],"name":"jane"}`,
		kind: KindUnclear, subject: "CiQwOGE4Njg0Yi1kYjg4LTRiNzMtOTBhOS0zY2QxNjYxZjU0NjYSBWxvY2Fs", client: "cli", groups: []string{"admins"},
	},
	{
		name: "dex, machines by their connector", preset: "dex", typ: idp.Absent, policy: func(p *Policy) {
			p.Kind, p.Kinds = KindUser, []KindRule{{KindServiceAccount, "federated_claims.connector_id", []string{"github-*"}}}
		},
		claims: `{"sub":"Ci","aud":"https://gateway.example.com","at_hash":"h7","federated_claims":{"connector_id":"github-actions","user_id":"repo:acme/app"}}`,
		kind:   KindServiceAccount, subject: "Ci",
	},
	{
		name: "authentik person", preset: "authentik", typ: "JWT", policy: func(p *Policy) { p.Audiences = []string{"Gk3a"} },
		claims: `{"sub":"5a1c","aud":"Gk3a","auth_time":1788264000,"acr":"goauthentik.io/providers/oauth2/default","amr":["pwd","mfa"],"nonce":"n","sid":"b1",
			"email":"jane@example.com","preferred_username":"jane","groups":["admins"],"azp":"Gk3a","uid":"S0me"}`,
		kind: KindUser, subject: "5a1c", client: "Gk3a", groups: []string{"admins"},
	},
	{
		name: "authentik client credentials", preset: "authentik", typ: "JWT", policy: func(p *Policy) { p.Audiences = []string{"Gk3a"} },
		claims: `{"sub":"9e0d","aud":"Gk3a","auth_time":1788264000,"acr":"goauthentik.io/providers/oauth2/default","name":"Autogenerated user from application CI",
			"preferred_username":"ak-ci-client_credentials","groups":[],"azp":"Gk3a","uid":"0ther"}`,
		kind: KindServiceAccount, subject: "9e0d", client: "Gk3a",
	},
	{
		name: "authentik, an existing user with a password for applications", preset: "authentik", typ: "JWT",
		claims: `{"sub":"5a1c","auth_time":1788264000,"preferred_username":"jane","azp":"Gk3a","uid":"0ther"}`,
		kind:   KindUnclear, subject: "5a1c", client: "Gk3a",
	},
	{
		name: "authentik person who is called like a machine", preset: "authentik", typ: "JWT",
		claims: `{"sub":"5a1c","sid":"b1","preferred_username":"ak-ci-client_credentials","azp":"Gk3a","uid":"0ther"}`,
		kind:   KindUser, subject: "5a1c", client: "Gk3a",
	},
	{
		name: "zitadel person", preset: "zitadel", typ: "JWT", policy: func(p *Policy) { p.Audiences = []string{"69234237810729019"} },
		claims: `{"aud":["69234237810729234@acme","69234237810729019"],"client_id":"69234237810729234@acme","sub":"77776025198584418","jti":"69",
			"urn:zitadel:iam:org:project:roles":{"admin":{"1":"other.example"}},
			"urn:zitadel:iam:org:project:69234237810729019:roles":{"writer":{"37":"acme.example"},"reader":{"37":"acme.example"}}}`,
		kind: KindUnclear, subject: "77776025198584418", client: "69234237810729234@acme", groups: []string{"reader", "writer"},
	},
	{
		name: "zitadel service user", preset: "zitadel", typ: "JWT", policy: func(p *Policy) {
			p.Audiences, p.Kind, p.Kinds = []string{"69"}, KindServiceAccount, []KindRule{{KindUser, "client_id", []string{"6923@acme"}}}
		},
		claims: `{"aud":["69"],"client_id":"ci","sub":"1837","urn:zitadel:iam:org:project:69:roles":["no object"]}`,
		kind:   KindServiceAccount, subject: "1837", client: "ci", groups: []string{"no object"},
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
		{"gitlab ID token of a person", "gitlab", `{"sub":"1","sub_legacy":"f8","name":"Jane","nickname":"jane","preferred_username":"jane","auth_time":1788264000}`, nil, ErrTokenType},
		{"bitbucket without a step", "bitbucket", `{"sub":"{r}:{s}","repositoryUuid":"{r}"}`, nil, ErrTokenType},
		{"circleci without a project", "circleci", `{"sub":"org/o/project/p/user/u","aud":"o"}`, []string{"o"}, ErrTokenType},
		{"circleci of another organization", "circleci", `{"sub":"org/x/project/p/user/u","aud":"x","oidc.circleci.com/project-id":"p"}`, []string{"o"}, ErrAudience},
		{"buildkite without a job", "buildkite", `{"sub":"organization:acme:pipeline:x:ref:y:commit:z:step:","pipeline_id":"p"}`, nil, ErrTokenType},
		{"terraform without a run", "terraform", `{"sub":"organization:o:project:p:workspace:w:run_phase:plan"}`, nil, ErrTokenType},
		{"a nonce in a job's token", "gitlab", `{"sub":"project_path:a/b:ref_type:branch:ref:main","job_id":"1","nonce":"n"}`, nil, ErrTokenType},
		{"dex ID token", "dex", `{"sub":"Ci","at_hash":"h","c_hash":"c","nonce":"n"}`, nil, ErrTokenType},
		{"dex ID token without at_hash", "dex", `{"sub":"Ci","nonce":"n"}`, nil, ErrTokenType},
		{"authentik ID token", "authentik", `{"sub":"5a1c","sid":"b1","nonce":"n"}`, nil, ErrTokenType},
		{"authentik ID token with the hash of an access token", "authentik", `{"sub":"5a1c","uid":"x","at_hash":"h"}`, nil, ErrTokenType},
		{"zitadel ID token", "zitadel", `{"sub":"1837","azp":"c","at_hash":"h","amr":["pwd"]}`, nil, ErrTokenType},
		{"spiffe of another trust domain", "spiffe", `{"sub":"spiffe://other.example/web"}`, nil, ErrIssuer},
		{"spiffe of another trust domain, without iss", "spiffe", `{"iss":null,"sub":"spiffe://other.example/web"}`, nil, ErrIssuer},
		{"spiffe, the trust domain itself", "spiffe", `{"iss":null,"sub":"spiffe://acme.example"}`, nil, ErrIssuer},
		{"spiffe, no SPIFFE ID", "spiffe", `{"sub":"web"}`, nil, ErrIssuer},
		{"spiffe, another issuer's", "spiffe", `{"iss":"https://other.example","sub":"spiffe://acme.example/web"}`, nil, ErrIssuer},
		{"spiffe, iss that is no text", "spiffe", `{"iss":7,"sub":"spiffe://acme.example/web"}`, nil, ErrMalformedClaims},
		{"spiffe for another audience", "spiffe", `{"iss":null,"sub":"spiffe://acme.example/web","aud":["x"]}`, nil, ErrAudience},
		{"spiffe that never ends", "spiffe", `{"iss":null,"sub":"spiffe://acme.example/web","exp":null}`, nil, ErrNoExpiry},
		{"the client is no audience elsewhere", "okta", `{"aud":null,"sub":"s","cid":"a","client_id":"a"}`, []string{"a"}, ErrAudience},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := g.verifier(with(func(p *Policy) {
				p.Preset = tt.preset
				if tt.audiences != nil || tt.preset == "cognito" {
					p.Audiences = tt.audiences
				}
				if tt.preset == "spiffe" {
					p.TrustDomain = "acme.example"
				}
			}))
			refused(t, v, g.idp.Mint(claimsOf(t, tt.claims), idp.WithHeader("typ", "JWT")), tt.want)
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

// JOSE is a type of JWT-SVIDs only.
func TestTypeJOSE(t *testing.T) {
	g := newGate(t)
	refused(t, g.verifier(), g.idp.Mint(nil, idp.WithHeader("typ", "JOSE")), ErrTokenType)
}

// Dex's access tokens cannot be distinguished from all of its ID tokens, so that they give no
// rights by what they say; authentik's can.
func TestTokensAlike(t *testing.T) {
	g := newGate(t)
	for preset, claims := range map[string]string{"dex": `{"sub":"s","at_hash":"h"}`, "authentik": `{"sub":"s","uid":"u","nonce":"n"}`} {
		v := g.verifier(with(func(p *Policy) { p.Preset = preset }))
		if p := letIn(t, v, g.idp.Mint(claimsOf(t, claims))); p.HasIDTokenMarks() != (preset == "dex") {
			t.Errorf("%s: marks of ID tokens: %v", preset, p.HasIDTokenMarks())
		}
	}
}

// Where a preset's tokens do not tell people from machines, the operator is asked.
func TestPresetsThatTell(t *testing.T) {
	for _, name := range Presets {
		if tells := (Policy{Preset: name}).TellsKinds(); tells != (name != "dex" && name != "zitadel") {
			t.Errorf("%s tells: %v", name, tells)
		}
	}
	for name, want := range map[string]string{"dex": "; then write in the issuer's block `kind user when <claim> <value...>`", "okta": "; by the preset okta, a machine is known by: sub is the client; a person by: uid with cid"} {
		named := presets[name]
		if cause := named.unclear(name).Cause.Error(); !strings.Contains(cause, want) {
			t.Errorf("%s: %s", name, cause)
		}
	}
}

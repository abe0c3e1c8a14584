package auth

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// TestKinds is who is calling, by tokens as providers send them to people and to
// machines; where nothing tells, neither is guessed.
func TestKinds(t *testing.T) {
	g := newGate(t)
	tests := []struct {
		name, preset, claims string
		want                 Kind
	}{
		{"keycloak person", "keycloak", `{"sub":"u","typ":"Bearer","azp":"spa","sid":"s","acr":"1","preferred_username":"jane"}`, KindUser},
		{"keycloak person, lightweight token", "keycloak", `{"sub":"u","typ":"Bearer","azp":"spa","sid":"s","scope":"openid"}`, KindUser},
		{"keycloak person, before 19", "keycloak", `{"sub":"u","typ":"Bearer","azp":"spa","session_state":"s"}`, KindUser},
		{"keycloak person, exchanged", "keycloak", `{"sub":"u","typ":"Bearer","azp":"api","preferred_username":"jane"}`, KindUser},
		{"keycloak person named like the client's machine", "keycloak", `{"sub":"u","typ":"Bearer","azp":"spa","sid":"s","preferred_username":"service-account-spa"}`, KindUser},
		{"keycloak client without the scope profile", "keycloak", `{"sub":"u","typ":"Bearer","azp":"ci","acr":"1","scope":"openid email","email_verified":false}`, KindUnclear},
		{"keycloak client without profile, with its host", "keycloak", `{"sub":"u","typ":"Bearer","azp":"ci","clientHost":"10.0.0.1","clientAddress":"10.0.0.1","client_id":"ci"}`, KindServiceAccount},
		{"keycloak client that may refresh", "keycloak", `{"sub":"u","typ":"Bearer","azp":"ci","sid":"s","clientHost":"10.0.0.1","preferred_username":"service-account-ci"}`, KindServiceAccount},
		{"keycloak, clients disagree", "keycloak", `{"sub":"u","typ":"Bearer","azp":"spa","client_id":"ci","preferred_username":"service-account-ci"}`, KindUnclear},
		{"entra, neither scp nor idtyp", "entra", `{"sub":"pairwise","oid":"o","azp":"c","tid":"t"}`, KindUnclear},
		{"entra person", "entra", `{"sub":"pairwise","oid":"o","azp":"c","tid":"t","scp":"x"}`, KindUser},
		{"entra person, idtyp", "entra", `{"sub":"pairwise","oid":"o","azp":"c","idtyp":"user"}`, KindUser},
		{"entra application that says scp", "entra", `{"sub":"o","oid":"o","azp":"c","idtyp":"app","scp":"x"}`, KindUnclear},
		{"entra, scp empty", "entra", `{"sub":"o","oid":"o","azp":"c","scp":""}`, KindServiceAccount},
		{"auth0 person", "auth0", `{"sub":"google-oauth2|1","azp":"c"}`, KindUser},
		{"auth0, sub of no connection", "auth0", `{"sub":"somebody","azp":"c","scope":"openid"}`, KindUnclear},
		{"okta person", "okta", `{"sub":"jane@example.com","cid":"c","uid":"00u1","scp":["openid"]}`, KindUser},
		{"okta without uid", "okta", `{"sub":"jane@example.com","cid":"c","scp":["openid"]}`, KindUnclear},
		{"cognito person", "cognito", `{"sub":"uuid","client_id":"c","token_use":"access","username":"jane"}`, KindUser},
		{"cognito, neither", "cognito", `{"sub":"uuid","client_id":"c","token_use":"access","auth_time":1}`, KindUnclear},
		{"github", "github", `{"sub":"repo:acme@1/app@2:ref:refs/heads/main","repository_id":"2"}`, KindServiceAccount},

		{"keycloak person", "", `{"sub":"u","typ":"Bearer","azp":"spa","sid":"s"}`, KindUser},
		{"keycloak person named like the client's machine", "", `{"sub":"u","azp":"spa","sid":"s","preferred_username":"service-account-spa"}`, KindUser},
		{"keycloak client without the scope profile", "", `{"sub":"u","typ":"Bearer","azp":"ci","acr":"1","scope":"openid email","auth_time":0}`, KindUnclear},
		{"keycloak client with its host", "", `{"sub":"u","typ":"Bearer","azp":"ci","sid":"s","clientHost":"10.0.0.1"}`, KindServiceAccount},
		{"entra person", "", `{"sub":"pairwise","oid":"o","azp":"c","tid":"t","scp":"x"}`, KindUser},
		{"entra application", "", `{"sub":"o","oid":"o","azp":"c","tid":"t","roles":["r"]}`, KindServiceAccount},
		{"auth0 person", "", `{"sub":"auth0|62","azp":"c","scope":"openid"}`, KindUser},
		{"okta person", "", `{"sub":"jane@example.com","cid":"c","uid":"00u1","scp":["openid"]}`, KindUser},
		{"fusionauth person", "", `{"sub":"uuid","applicationId":"a","gty":["authorization_code","refresh_token"]}`, KindUser},
		{"fusionauth entity", "", `{"sub":"uuid","gty":["client_credentials"]}`, KindServiceAccount},
		{"gty password", "", `{"sub":"jane","gty":"password"}`, KindUser},
		{"amr", "", `{"sub":"jane","amr":["pwd","mfa"]}`, KindUser},
		{"amr empty", "", `{"sub":"jane","amr":[]}`, KindUnclear},
		{"sid empty", "", `{"sub":"jane","sid":""}`, KindUnclear},
		{"RFC 9068 with another subject", "", `{"sub":"jane","client_id":"spa","scope":"openid profile"}`, KindUnclear},
		{"RFC 9068, client credentials", "", `{"sub":"ci","client_id":"ci"}`, KindServiceAccount},
		{"scope openid, as any client may ask for", "", `{"sub":"x","azp":"ci","scope":"openid profile email"}`, KindUnclear},
		{"authentik client credentials", "", `{"sub":"hash","azp":"ci","uid":"x","auth_time":1788264000,"acr":"goauthentik.io/providers/oauth2/default","preferred_username":"ak-ci-client_credentials"}`, KindUnclear},
		{"authentik person", "", `{"sub":"hash","azp":"web","uid":"x","auth_time":1788264000,"sid":"s","amr":["pwd"]}`, KindUser},
		{"zitadel service user", "", `{"sub":"1837","client_id":"ci@acme","scope":"openid"}`, KindUnclear},
		{"gitlab ci", "", `{"sub":"project_path:acme/app:ref_type:branch:ref:main","user_login":"jane","user_email":"jane@example.com","namespace_id":"72"}`, KindUnclear},
		{"buildkite", "", `{"sub":"organization:acme:pipeline:x:ref:refs/heads/main:commit:9f:step:b","organization_slug":"acme"}`, KindUnclear},
		{"terraform cloud", "", `{"sub":"organization:acme:project:p:workspace:w:run_phase:apply","terraform_run_id":"r"}`, KindUnclear},
		{"bitbucket", "", `{"sub":"{repo}:{step}","workspaceUuid":"{w}","repositoryUuid":"{r}"}`, KindUnclear},
		{"spiffe", "", `{"sub":"spiffe://acme.example/ns/prod/sa/web"}`, KindUnclear},
		{"a person named like another client", "", `{"azp":"spa","cid":"bob","sub":"bob"}`, KindUnclear},
		{"a person with a machine's user name through another client", "", `{"client_id":"spa","sub":"u","preferred_username":"service-account-x"}`, KindUnclear},
		{"clients disagree, with a session", "", `{"azp":"spa","cid":"bob","sub":"bob","sid":"s"}`, KindUser},
		{"clients disagree, grant of a client", "", `{"azp":"spa","client_id":"x","sub":"u","gty":"client-credentials"}`, KindUnclear},
		{"a client that is no text", "", `{"azp":["spa"],"client_id":"x","sub":"x"}`, KindUnclear},
		{"a client null beside one", "", `{"appid":null,"client_id":"x","sub":"x"}`, KindServiceAccount},
		{"a subject that is the client, with a session", "", `{"azp":"spa","sub":"spa","sid":"s"}`, KindUnclear},
	}
	for _, tt := range tests {
		t.Run(tt.preset+" "+tt.name, func(t *testing.T) {
			v := g.verifier(with(func(p *Policy) { p.Preset = tt.preset }))
			token := g.idp.Mint(claimsOf(t, tt.claims))
			if got := letIn(t, v, token).Kind(); got != tt.want {
				t.Fatalf("got %s, expected %s", got, tt.want)
			}
			e := v.Explain(t.Context(), token, &Registration{Accounts: nobody{}}, nil, nil)
			shown := e.Rules[len(e.Rules)-2]
			if shown.Rule != "kind" || !strings.HasPrefix(shown.Found.(string), string(tt.want)+", by ") {
				t.Errorf("explained as %v", shown)
			}
		})
	}
}

// The operator's word goes before all marks, and what depends on a claim before
// what is said of everybody.
func TestKindByOption(t *testing.T) {
	g := newGate(t)
	v := g.verifier(with(func(p *Policy) {
		p.Kind = KindUser
		p.Kinds = []KindRule{
			{KindServiceAccount, "ext.kind", []string{"robot", "7"}},
			{KindUser, "azp", []string{"spa"}},
			{KindServiceAccount, "amr", []string{"swk"}},
		}
	}))
	for claims, want := range map[string]Kind{
		`{"sub":"x","ext":{"kind":"robot"},"azp":"spa"}`: KindServiceAccount,
		`{"sub":"x","ext":{"kind":7},"sid":"s"}`:         KindServiceAccount,
		`{"sub":"x","ext":{"kind":"human"}}`:             KindUser,
		`{"sub":"spa","azp":"spa"}`:                      KindUser,
		`{"sub":"x","amr":["pwd","swk"]}`:                KindServiceAccount,
		`{"sub":"x"}`:                                    KindUser,
	} {
		if got := letIn(t, v, g.idp.Mint(claimsOf(t, claims))).Kind(); got != want {
			t.Errorf("%s: got %s, expected %s", claims, got, want)
		}
	}
	for _, bad := range []KindRule{{"robot", "a", []string{"b"}}, {KindUser, "", []string{"b"}}, {KindUser, "a", nil}, {KindUnclear, "a", []string{"b"}}} {
		p := g.policy()
		p.Kinds = []KindRule{bad}
		if p.Validate() == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// Whose kind is unclear gets in only where both kinds do, and nothing by the account
// of the client it logged in with.
func TestUnclearCallers(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	unclear := verified(t, v, g.idp.Mint(claimsOf(t, `{"sub":"uuid","azp":"ci"}`)))
	bySubject := verified(t, v, g.idp.Mint(claimsOf(t, `{"sub":"ci","azp":"other"}`)))
	active := account.Draft{Subject: "ci", Name: "CI", Groups: []string{"deployers"}}
	named := account.Draft{Subject: "ci", By: account.BySubject, Groups: []string{"deployers"}}
	off := account.Draft{Subject: "ci", Status: account.StatusInactive}
	ended := account.Draft{Subject: "ci", ExpiresAt: epoch}
	for _, tt := range []struct {
		name             string
		accounts         []account.Draft
		optional, unread bool
		token            *Token
		want             *Refusal
		kind             Kind
	}{
		{name: "registration required", token: unclear, want: ErrKindUnclear},
		{name: "registration optional", optional: true, token: unclear, kind: KindUnclear},
		{name: "accounts not read yet", unread: true, token: unclear, want: ErrAccountsUnavailable},
		{name: "the client is registered", accounts: []account.Draft{active}, token: unclear, kind: KindUnclear},
		{name: "the client is registered, optional", optional: true, accounts: []account.Draft{active}, token: unclear, kind: KindUnclear},
		{name: "the client is switched off", accounts: []account.Draft{off}, token: unclear, want: ErrAccountInactive},
		{name: "the client is switched off, optional", optional: true, accounts: []account.Draft{off}, token: unclear, want: ErrAccountInactive},
		{name: "the client's account has expired, optional", optional: true, accounts: []account.Draft{ended}, token: unclear, want: ErrAccountExpired},
		{name: "registered by the subject", accounts: []account.Draft{named}, token: bySubject, kind: KindServiceAccount},
	} {
		t.Run(tt.name, func(t *testing.T) {
			accounts := &roll{unread: tt.unread}
			for _, d := range tt.accounts {
				accounts.register(t, d)
			}
			registration := &Registration{Accounts: accounts, Required: !tt.optional}
			caller, refusal := registration.Admit(tt.token, epoch)
			if reasonOf(refusal) != reasonOf(tt.want) {
				t.Fatalf("refused with %v, expected %v", refusal, tt.want)
			}
			if refusal != nil {
				return
			}
			if caller.Kind() != tt.kind {
				t.Errorf("got %s, expected %s", caller.Kind(), tt.kind)
			}
			if name, _ := caller.Text("name"); tt.kind == KindUnclear && (len(caller.Groups()) > 0 || name.Value != "" || caller.ID() != "uuid") {
				t.Errorf("got the groups %v, the name %q and the id %q of the client's account", caller.Groups(), name.Value, caller.ID())
			}
		})
	}
	caller := unregistered(t, unclear)
	for kinds, want := range map[string]string{"": "", "only": "kind_unclear", "deny": "kind_unclear"} {
		p, err := Rules{ServiceAccount: kinds}.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if refusal := p.Check(caller); reasonOf(refusal) != want {
			t.Errorf("service_account %s: refused with %v", kinds, refusal)
		} else if want != "" && (!strings.Contains(refusal.Cause.Error(), "amr") || !strings.Contains(refusal.Cause.Error(), "kind user")) {
			t.Errorf("the cause %v names neither claims nor option", refusal.Cause)
		}
	}
}

// Two callers whose kind is unclear say the same, and only one has the account: its
// subject is the name, and the other's only the client.
func TestUnclearCallersAreApart(t *testing.T) {
	g := newGate(t)
	v := g.verifier()
	accounts := &roll{}
	accounts.register(t, account.Draft{Subject: "ci", By: account.BySubject, Groups: []string{"deployers"}})
	registration := &Registration{Accounts: accounts}
	for range 2 {
		for claims, want := range map[string]int{`{"sub":"ci","azp":"other"}`: 1, `{"sub":"ann","azp":"ci"}`: 0} {
			caller, refusal := registration.Admit(verified(t, v, g.idp.Mint(claimsOf(t, claims))), epoch)
			if refusal != nil || len(caller.Groups()) != want {
				t.Errorf("%s: got %v with the groups %v", claims, refusal, caller.Groups())
			}
		}
	}
}

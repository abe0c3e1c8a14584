package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// rewritten is an issuer's key set after each key was changed.
func rewritten(t *testing.T, issuer *idp.Issuer, change func(key map[string]any)) []byte {
	t.Helper()
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(issuer.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range set.Keys {
		change(key)
	}
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// publishing serves documents by their paths.
func publishing(t *testing.T, documents map[string]func() []byte) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		document, ok := documents[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(document())
	}))
	t.Cleanup(server.Close)
	return server.URL
}

const (
	ourTenant   = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	theirTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"
	otherTenant = "0f5e9b1c-8f3a-4a1e-9a55-1df0f1c8d7aa"
)

const tenanted = `{
	GLOBALS
	gatehouse {
		issuer MICROSOFT/{tenantid}/v2.0 {
			name entra
			preset entra
			audience api://gateway
			tenants TENANTS
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth {
		protected_resource https://gateway.example.com
		header X-Tenant {http.auth.user.claims.tid}
	}
	respond "{http.auth.user.issuer} {http.auth.user.claims.tid}"
}
`

// microsoft publishes what all tenants of Entra share: metadata whose issuer is the
// template, and keys that name the issuers they are for.
func microsoft(t *testing.T, keys *idp.Issuer) (base string) {
	base = publishing(t, map[string]func() []byte{
		"/common/v2.0/.well-known/openid-configuration": func() []byte {
			document, _ := json.Marshal(map[string]string{"issuer": base + "/{tenantid}/v2.0", "jwks_uri": base + "/common/discovery/v2.0/keys"})
			return document
		},
		"/common/discovery/v2.0/keys": func() []byte {
			return rewritten(t, keys, func(key map[string]any) {
				key["issuer"] = base + "/{tenantid}/v2.0"
				if key["alg"] == "EdDSA" {
					key["issuer"] = base + "/" + theirTenant + "/v2.0"
				}
			})
		},
	})
	return base
}

func TestTokensOfSeveralTenants(t *testing.T) {
	keys := newIssuer(t, idp.WithAlgorithms("ES256", "EdDSA"))
	base := microsoft(t, keys)
	mint := func(tenant, tid, alg string) edit {
		return bearer(keys.Mint(claims{
			"iss": base + "/" + tenant + "/v2.0", "tid": tid, "aud": "api://gateway", "azp": "app", "sub": "pairwise", "scp": "access", "sid": idp.Absent,
		}, idp.WithAlg(alg)))
	}
	unknownKey := invalidToken("the key that signed the token is not known")
	for _, tenants := range []string{ourTenant + " " + theirTenant, "any"} {
		g := start(t, tenanted, "MICROSOFT", base, "TENANTS", tenants)
		for name, c := range map[string]struct {
			edit edit
			want refused
		}{
			"a tenant":                              {mint(ourTenant, ourTenant, "ES256"), refused{}},
			"another one":                           {mint(theirTenant, theirTenant, "ES256"), refused{}},
			"by the key that is its own":            {mint(theirTenant, theirTenant, "EdDSA"), refused{}},
			"by the key of another":                 {mint(ourTenant, ourTenant, "EdDSA"), unknownKey},
			"the tid of another":                    {mint(ourTenant, theirTenant, "ES256"), otherIssuer},
			"one that is not listed":                {mint(otherTenant, otherTenant, "ES256"), otherIssuer},
			"not listed, with the tid of one":       {mint(otherTenant, ourTenant, "ES256"), otherIssuer},
			"the name under which all are together": {mint("common", "common", "ES256"), otherIssuer},
		} {
			if tenants == "any" && name == "one that is not listed" {
				c.want = refused{}
			}
			t.Run(tenants+" "+name, func(t *testing.T) {
				got := g.get("/", c.edit)
				if c.want.status == 0 {
					if got.status != 200 || !strings.HasPrefix(got.body, "entra ") {
						t.Errorf("got %d %q %s", got.status, got.body, got.header.Get("WWW-Authenticate"))
					}
					return
				}
				c.want.challenge += `, resource_metadata="https://gateway.example.com/.well-known/oauth-protected-resource"`
				c.want.check(t, got, "")
			})
		}
		if warned := strings.Contains(g.log(), "tokens of every tenant of this issuer are taken"); warned != (tenants == "any") {
			t.Errorf("%s: warned: %v", tenants, warned)
		}
		servers := g.get("/.well-known/oauth-protected-resource").body
		if strings.Contains(servers, "{tenantid}") || !strings.Contains(servers, base) {
			t.Errorf("the resource's servers are %s", servers)
		}
	}
}

const workloads = `{
	GLOBALS
	gatehouse {
		service_accounts {
			registration optional
		}
		issuer spiffe://acme.example {
			preset spiffe
			audience gateway
			jwks_uri BUNDLE
		}
		issuer ISSUER {
			name acme
			audience gateway
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth {
		claim sub spiffe://acme.example/ns/prod/* jane
	}
	respond "{http.auth.user.issuer} {http.auth.user.kind} {http.auth.user.id}"
}
`

// Workloads by their trust domain, with the keys of its bundle.
func TestTokensOfATrustDomain(t *testing.T) {
	spire, people := newIssuer(t, idp.WithAlgorithms("ES256", "EdDSA")), newIssuer(t)
	bundle := publishing(t, map[string]func() []byte{"/bundle": func() []byte {
		return rewritten(t, spire, func(key map[string]any) {
			key["use"] = "jwt-svid"
			if key["alg"] == "EdDSA" {
				key["use"] = "x509-svid"
			}
			delete(key, "alg")
		})
	}})
	g := start(t, workloads, "BUNDLE", bundle+"/bundle", "ISSUER", people.URL)
	svid := func(subject string, more claims, options ...idp.MintOption) edit {
		c := claims{"iss": idp.Absent, "sub": subject, "aud": []string{"gateway"}, "sid": idp.Absent, "jti": idp.Absent}
		for name, value := range more {
			c[name] = value
		}
		return bearer(spire.Mint(c, append(options, idp.WithHeader("typ", "JWT"))...))
	}
	const web = "spiffe://acme.example/ns/prod/sa/web"
	for name, edit := range map[string]edit{
		"a workload": svid(web, nil), "with its trust domain as the issuer": svid(web, claims{"iss": "spiffe://acme.example"}),
	} {
		if got := g.get("/", edit); got.body != "acme.example service_account "+web {
			t.Errorf("%s: got %d %q %s", name, got.status, got.body, got.header.Get("WWW-Authenticate"))
		}
	}
	for name, c := range map[string]struct {
		edit edit
		want refused
	}{
		"another namespace":          {svid("spiffe://acme.example/ns/dev/sa/web", nil), forbidden("a claim of the token does not have a value required here")},
		"another trust domain":       {svid("spiffe://other.example/ns/prod/sa/web", nil), otherIssuer},
		"a person without an issuer": {svid("jane", nil), otherIssuer},
		"by a key for X.509-SVIDs":   {svid(web, nil, idp.WithAlg("EdDSA")), invalidToken("the key that signed the token is not known")},
	} {
		t.Run(name, func(t *testing.T) {
			c.want.check(t, g.get("/", c.edit), "")
		})
	}
	if got := g.get("/", svid(web, claims{"iss": people.URL})); got.status != 401 {
		t.Errorf("a workload in the name of another issuer: got %d", got.status)
	}
	if got := g.get("/", bearer(people.Mint(claims{"sub": "jane", "aud": "gateway"}))); got.body != "acme user jane" {
		t.Errorf("a person of another issuer: got %d %q", got.status, got.body)
	}
}

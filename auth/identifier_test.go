package auth

import (
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const (
	ours   = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	theirs = "9188040d-6c67-4c5b-b112-36a304b66dad"
	others = "0f5e9b1c-8f3a-4a1e-9a55-1df0f1c8d7aa"
)

// Tokens of several tenants, of which two are taken.
func TestTenants(t *testing.T) {
	g := newGate(t)
	template := g.idp.URL + "/{tenantid}/v2.0"
	only := func(ids ...string) *Verifier {
		return g.verifier(with(func(p *Policy) { p.Issuer, p.Preset, p.Tenants = template, "entra", ids }))
	}
	mint := func(iss, tid any) string {
		return g.idp.Mint(map[string]any{"sub": "s", "oid": "s", "azp": "c", "sid": idp.Absent, "iss": iss, "tid": tid})
	}
	of := func(tenant string) string { return g.idp.URL + "/" + tenant + "/v2.0" }
	two, all := only(ours, strings.ToUpper(theirs)), only("any")
	for _, tt := range []struct {
		name     string
		iss, tid any
		two, all *Refusal
	}{
		{"a tenant", of(ours), ours, nil, nil},
		{"another tenant", of(theirs), theirs, nil, nil},
		{"one that is not listed", of(others), others, ErrIssuer, nil},
		{"the tid of another", of(ours), theirs, ErrIssuer, ErrIssuer},
		{"the tid of a tenant in the iss of one that is not listed", of(others), ours, ErrIssuer, ErrIssuer},
		{"no tid", of(ours), idp.Absent, ErrIssuer, ErrIssuer},
		{"a tid that is no text", of(ours), []string{ours}, ErrIssuer, ErrIssuer},
		{"the placeholder itself", template, "{tenantid}", ErrIssuer, ErrIssuer},
		{"what all share", of("common"), "common", ErrIssuer, ErrIssuer},
		{"in capitals", of(strings.ToUpper(ours)), strings.ToUpper(ours), ErrIssuer, ErrIssuer},
		{"a longer path", of(ours + "/x"), ours + "/x", ErrIssuer, ErrIssuer},
		{"another version", g.idp.URL + "/" + ours + "/", ours, ErrIssuer, ErrIssuer},
		{"another host", "https://evil.example/" + ours + "/v2.0", ours, ErrIssuer, ErrIssuer},
		{"no tenant at all", g.idp.URL + "//v2.0", "", ErrIssuer, ErrIssuer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := mint(tt.iss, tt.tid)
			for v, want := range map[*Verifier]*Refusal{two: tt.two, all: tt.all} {
				if want != nil {
					refused(t, v, token, want)
					continue
				}
				if p := letIn(t, v, token); p.Issuer() != "acme" || p.Kind() != KindServiceAccount {
					t.Errorf("it is a %s of %s", p.Kind(), p.Issuer())
				}
			}
		})
	}
	e := two.Explain(t.Context(), mint(of(others), others), &Registration{Accounts: nobody{}}, nil, nil)
	if e.Refusal == nil || e.Issuer != "acme" || !strings.Contains(e.Rules[2].Found.(string), "its tenant is none of those that `tenants` lists") {
		t.Errorf("explained as %+v", e)
	}
}

func TestCheckIdentifier(t *testing.T) {
	const login = "https://login.microsoftonline.com/{tenantid}/v2.0"
	for _, tt := range []struct {
		name string
		p    Policy
		want string // "" for nothing
	}{
		{"tenants", Policy{Issuer: login, Preset: "entra", Tenants: []string{ours, theirs}}, ""},
		{"any tenant", Policy{Issuer: login, Preset: "entra", Tenants: []string{"any"}}, ""},
		{"the first version", Policy{Issuer: "https://sts.windows.net/{tenantid}/", Preset: "entra", Tenants: []string{ours}}, ""},
		{"any without saying so", Policy{Issuer: login, Preset: "entra"}, "expected `tenants <id...>` with the ids of the tenants whose tokens are taken, or `tenants any`, which takes those of every tenant there is"},
		{"any beside an id", Policy{Issuer: login, Preset: "entra", Tenants: []string{"any", ours}}, "tenants: found any beside ids"},
		{"no id", Policy{Issuer: login, Preset: "entra", Tenants: []string{"contoso.onmicrosoft.com"}}, `tenants: found "contoso.onmicrosoft.com", expected the id of a tenant`},
		{"an id in braces", Policy{Issuer: login, Preset: "entra", Tenants: []string{"{" + ours + "}"}}, "expected the id of a tenant"},
		{"another preset", Policy{Issuer: login, Preset: "okta", Tenants: []string{ours}}, "expected `preset entra` with {tenantid}"},
		{"no place for a tenant", Policy{Issuer: "https://login.example.com", Preset: "entra", Tenants: []string{ours}}, "tenants: expected {tenantid} in the identifier"},
		{"by a name that others choose", Policy{Issuer: login, Preset: "entra", Tenants: []string{ours}, SubjectClaim: "email"}, "subject_claim: found email, expected sub or oid"},
		{"by the object", Policy{Issuer: login, Preset: "entra", Tenants: []string{ours}, SubjectClaim: "oid"}, ""},
		{"in the host", Policy{Issuer: "https://{tenantid}.example.com/v2.0", Preset: "entra", Tenants: []string{ours}}, "as a whole part of the path"},
		{"part of a name", Policy{Issuer: "https://login.example.com/x{tenantid}/", Preset: "entra", Tenants: []string{ours}}, "as a whole part of the path"},
		{"twice", Policy{Issuer: "https://login.example.com/{tenantid}/{tenantid}/", Preset: "entra", Tenants: []string{ours}}, "once, as a whole part of the path"},
		{"trust domain", Policy{Issuer: "spiffe://acme.example", Preset: "spiffe"}, ""},
		{"trust domain beside iss", Policy{Issuer: "https://oidc.acme.example", Preset: "spiffe", TrustDomain: "acme.example"}, ""},
		{"no trust domain", Policy{Issuer: "https://oidc.acme.example", Preset: "spiffe"}, "expected `trust_domain <name>`, or an identifier such as spiffe://example.org"},
		{"a trust domain without the preset", Policy{Issuer: "spiffe://acme.example"}, "expected `preset spiffe`"},
		{"the option without the preset", Policy{Issuer: "https://a.example", TrustDomain: "acme.example"}, "expected `preset spiffe`"},
		{"a workload", Policy{Issuer: "spiffe://acme.example/web", Preset: "spiffe"}, `trust domain: found "acme.example/web"`},
		{"capitals", Policy{Issuer: "spiffe://Acme.example", Preset: "spiffe"}, `trust domain: found "Acme.example"`},
		{"two trust domains", Policy{Issuer: "spiffe://acme.example", Preset: "spiffe", TrustDomain: "other.example"}, `trust_domain: found "other.example", expected acme.example`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.p.CheckIdentifier()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, expected %q", err, tt.want)
			}
		})
	}
}

// Two trust domains are known by the subject, and only their own keys count.
func TestTrustDomains(t *testing.T) {
	g, other := newGate(t), newGate(t)
	config := func(domain string) VerifierConfig {
		c := VerifierConfig{Now: g.clock.now, CacheBytes: 1 << 20}
		for name, gate := range map[string]*gate{"acme.example": g, domain: other} {
			c.Issuers = append(c.Issuers, AcceptedIssuer{Keys: gate.engine, Policy: Policy{
				Issuer: gate.idp.URL, Name: name + gate.idp.URL, Preset: "spiffe", TrustDomain: name, Audiences: []string{idp.DefaultAudience},
			}})
		}
		return c
	}
	v, err := NewVerifier(config("other.example"))
	if err != nil {
		t.Fatal(err)
	}
	svid := func(g *gate, subject string) string {
		return g.idp.Mint(map[string]any{"iss": idp.Absent, "sub": subject, "sid": idp.Absent})
	}
	for domain, own := range map[string]*gate{"acme.example": g, "other.example": other} {
		if p := letIn(t, v, svid(own, "spiffe://"+domain+"/web")); p.Issuer() != domain+own.idp.URL {
			t.Errorf("%s is taken for %s", domain, p.Issuer())
		}
	}
	if verdict := v.Verify(t.Context(), svid(g, "spiffe://other.example/web")); verdict.Refusal == nil || verdict.Issuer != "other.example"+other.idp.URL {
		t.Errorf("a token for the other domain by this one's key: %+v", verdict)
	}
	foreign := g.idp.Mint(map[string]any{"iss": "https://oidc.acme.example", "sub": "spiffe://acme.example/web", "sid": idp.Absent})
	if cause := refused(t, v, foreign, ErrIssuer).Refusal.Cause; cause == nil || !strings.Contains(cause.Error(), "make iss the identifier of the issuer, with `trust_domain acme.example`") {
		t.Errorf("a workload with an iss that is not configured: %v", cause)
	}
	twice := config("other.example")
	for i := range twice.Issuers {
		twice.Issuers[i].Policy.TrustDomain = "acme.example"
	}
	if _, err := NewVerifier(twice); err == nil || !strings.Contains(err.Error(), "have the same trust domain acme.example") {
		t.Errorf("a trust domain twice: %v", err)
	}
}

func TestTrustDomainOf(t *testing.T) {
	for id, want := range map[string]string{
		"spiffe://acme.example/web":                                 "acme.example",
		"spiffe://acme.example/ns/prod/sa/a_b-C.9":                  "acme.example",
		"spiffe://acme.example":                                     "",
		"spiffe://acme.example/":                                    "",
		"spiffe://acme.example/web/":                                "",
		"spiffe://acme.example//web":                                "",
		"spiffe://acme.example/../web":                              "",
		"spiffe://acme.example/.":                                   "",
		"spiffe://acme.example/w%65b":                               "",
		"spiffe://acme.example/web?x":                               "",
		"spiffe://acme.example:443/web":                             "",
		"spiffe://user@acme.example/web":                            "",
		"spiffe://ACME.example/web":                                 "",
		"SPIFFE://acme.example/web":                                 "",
		"https://acme.example/web":                                  "",
		"spiffe:///web":                                             "",
		"spiffe://acme.example/w\u00e9b":                            "",
		"spiffe://acme.example/" + strings.Repeat("a", maxSPIFFEID): "",
		"": "",
	} {
		if got := trustDomainOf(id); got != want {
			t.Errorf("%.60q: got %q, expected %q", id, got, want)
		}
	}
}

// FuzzTrustDomainOf: what has a trust domain is written as SPIFFE IDs are.
func FuzzTrustDomainOf(f *testing.F) {
	for _, id := range []string{"spiffe://acme.example/web", "spiffe://a/b/c", "spiffe://a//", "spiffe://a/../b", "", "spiffe://\xff/a", "spiffe://a/\xff"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		domain := trustDomainOf(id)
		if domain == "" {
			return
		}
		path, ok := strings.CutPrefix(id, "spiffe://"+domain+"/")
		if !ok || path == "" || strings.ToLower(domain) != domain || strings.ContainsAny(domain+path, " %:@?#\x00\\") ||
			strings.Contains(id[len("spiffe://"):], "//") || strings.HasSuffix(id, "/") {
			t.Errorf("%q is of %q", id, domain)
		}
	})
}

func TestServers(t *testing.T) {
	for want, p := range map[string]Policy{
		"https://a.example": {Issuer: "https://a.example"},
		"":                  {Issuer: "spiffe://acme.example"},
		"https://a.example/" + ours + "/v2.0 https://a.example/" + theirs + "/v2.0": {Issuer: "https://a.example/{tenantid}/v2.0", Tenants: []string{ours, theirs}},
		"https://a.example/organizations/v2.0":                                      {Issuer: "https://a.example/{tenantid}/v2.0", Tenants: []string{"any"}},
	} {
		if got := strings.Join(p.Servers(), " "); got != want {
			t.Errorf("got %q, expected %q", got, want)
		}
	}
}

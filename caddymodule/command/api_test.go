package command

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/auth/bound"
	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
	"github.com/gatehouse-proxy/gatehouse/license"
)

// certificatePEM is a certificate as far as anybody looks.
const certificatePEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

// keySet stands for an issuer's keys.
type keySet struct{ status issuer.Status }

func (k keySet) Status() issuer.Status         { return k.status }
func (k keySet) Refresh(context.Context) error { return nil }

// newAPI serves the API itself, as it is on an admin endpoint that is trusted.
func newAPI(t *testing.T, set func(*api.Services)) (*account.Registry, *shell) {
	t.Helper()
	accounts := account.New(registry.Options{})
	t.Cleanup(func() { _ = accounts.Close() })
	t.Cleanup(accounts.Attach(registry.Host[account.Account]{Storage: &certmagic.FileStorage{Path: t.TempDir()}}))
	services := api.Services{
		Issuers: account.Issuers{{Name: "acme"}}, AdminGroup: api.Group{Name: "admin"}, SigningGroup: api.Group{Name: "admin"},
		Accounts: accounts,
		Audit:    func(api.AuditEntry) {},
		LogError: func(p *api.Problem) { t.Errorf("the API failed: %v: %v", p, p.Cause) },
	}
	services.Operation.Hour = func() api.Hour { return api.Hour{} }
	services.Operation.Changes = func() []api.AuditEntry { return nil }
	set(&services)
	whole := api.New(services)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !whole.ServeHTTP(w, r, true) {
			api.Fail(w, http.StatusNotFound, "there is no such route")
		}
	}))
	t.Cleanup(server.Close)
	if err := accounts.Await(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newShell(t)
	s.connection = []string{"--address", server.Listener.Addr().String()}
	return accounts, s
}

// TestOperationAgainstTheAPI reads what operators ask about from the API itself.
func TestOperationAgainstTheAPI(t *testing.T) {
	var asked *bound.Request
	_, s := newAPI(t, func(services *api.Services) {
		o := &services.Operation
		o.Version = "v0.1.0"
		o.Issuers = []api.IssuerKeys{{Name: "acme", Keys: keySet{issuer.Status{
			Issuer: "https://login.acme.example", Source: "discovery", FetchedAt: noon,
			Keys: []issuer.KeyStatus{{ID: "2026-06", Type: "RSA", Algorithm: "RS256", Use: "sig"}},
		}}}}
		o.License = func() api.LicenseStatus {
			return api.LicenseStatus{Status: license.Missing("none was installed").Status(""), Sealed: true}
		}
		o.Hour = func() api.Hour {
			return api.Hour{Series: []api.Minutes{{Issuer: "acme", Result: "expired", Counts: []int{3, 4}}}}
		}
		held := false
		o.Proofs = func() *api.ProofState {
			return &api.ProofState{Nonce: "off", Remembered: 3, ReplayMemory: 9, OtherNodes: 2}
		}
		o.Explain = func(_ context.Context, token string, sender *bound.Request) auth.Explanation {
			asked = sender
			return auth.Explanation{Issuer: "acme", Refusal: auth.ErrGroup, Rules: []bound.Rule{{Rule: "expiry", Held: &held, Found: "yesterday"}, {Rule: "account"}}}
		}
	})
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"status"}, []string{"Gatehouse v0.1.0", "missing", "Sealed build  yes", "acme  healthy", "expired  7", "Active     0"}},
		{[]string{"status"}, []string{"DPOP PROOFS", "Nonce        off", "2: without nonces", "3 of 9"}},
		{[]string{"keys"}, []string{"acme    2026-06  RSA   RS256      sig", "now"}},
		{[]string{"keys", "refresh"}, []string{"acme  refreshed  1"}},
		{[]string{"licenses"}, []string{"SIGNED AT"}},
		{[]string{"token", "explain"}, []string{"Verdict  refused", "no    expiry", "-     account", "yesterday"}},
	} {
		r := s.typed("aaaa.bbbb.cccc").must(c.args...)
		for _, part := range c.want {
			if !strings.Contains(r.stdout, part) {
				t.Errorf("%v does not tell %q:\n%s", c.args, part, r.stdout)
			}
		}
	}
	if asked != nil {
		t.Errorf("a token alone was asked about as %+v", asked)
	}
	proof, certificate := s.file("proof.jwt", "dddd.eeee.ffff\n", 0o644), s.file("cert.pem", certificatePEM, 0o644)
	s.typed("DPoP aaaa.bbbb.cccc").must("token", "explain", "--proof", proof, "--method", "PUT", "--url", "https://gw.example.com/a?b", "--certificate", certificate)
	if asked == nil || !asked.DPoP || len(asked.Proofs) != 1 || asked.Proofs[0] != "dddd.eeee.ffff" || asked.Method != "PUT" || asked.Target != "/a" || len(asked.Certificate) != 32 {
		t.Errorf("asked about %+v", asked)
	}
	s.typed("a.b.c").fails([]string{"proof", "method", "url"}, "token", "explain", "--proof", proof)
	s.typed("a.b.c").fails([]string{"reading the proof"}, "token", "explain", "--proof", proof+"x", "--method", "GET", "--url", "https://gw.example.com/")
	s.typed("a.b.c").fails([]string{"reading the certificate", "holds no text"}, "token", "explain", "--certificate", s.file("empty", " \n", 0o644))
	if r := s.run("keys", "refresh", "nobody"); r.err == nil || !strings.Contains(r.stderr, "HTTP 404 Not Found: there is no such issuer") {
		t.Errorf("an unknown issuer: %v", r.err)
	}
	s.fails([]string{"HTTP 404 Not Found: not_found: single sign-on is not configured"}, "sso-url", "--product", "p", "--account", "a")
	s.typed(s.license()).fails([]string{"HTTP 409 Conflict"}, "install", "-")
}

// TestAccountsAgainstTheAPI goes the way of a service account through the API.
func TestAccountsAgainstTheAPI(t *testing.T) {
	registry, s := newAPI(t, func(services *api.Services) {
		stored := services.Accounts.(*account.Registry) //nolint:forcetypeassert // Set above.
		declared, err := stored.WithDeclared([]account.Draft{{Subject: "declared", Status: account.StatusActive, Issuer: "acme"}})
		if err != nil {
			t.Fatal(err)
		}
		services.Accounts = declared
	})

	const subject = "repo:acme/shop:ref:refs/heads/../main"
	s.must("service-account", "create", subject, "--groups", "deployers,readers", "--expires-at", "2199-01-31")
	s.fails([]string{"HTTP 409 Conflict: resource already exists", "`set` changes it"}, "service-account", "create", subject)
	s.must("service-account", "disable", subject)
	if a, err := registry.Find("", subject); err != nil || !a.Traits().Inactive || strings.Join(a.Groups(), ",") != "deployers,readers" || time.Unix(a.Expires, 0).UTC().Year() != 2199 {
		t.Errorf("after disable: %+v", a)
	}
	s.must("service-account", "enable", account.ID(subject))
	s.fails([]string{"HTTP 409", "declared in the configuration"}, "service-account", "disable", "declared")
	if r := s.must("service-account", "list"); strings.Count(r.stdout, "\n") != 3 {
		t.Errorf("listed %s", r.stdout)
	}
	s.wantCompletions(nothing, []string{subject}, "service-account", "show", "repo:")
	exported := s.must("service-account", "export").stdout
	s.must("service-account", "delete", subject)
	s.fails([]string{"HTTP 404 Not Found: resource not found", "`caddy gatehouse service-account list` shows those"}, "service-account", "show", subject)
	if r := s.typed(exported).must("service-account", "import", "-"); !strings.Contains(r.stdout, "created    "+subject) {
		t.Errorf("imported %s", r.stdout)
	}
	r := s.typed(exported+`{"subject":"declared","status":"active"}`).run("service-account", "import", "--mode", "upsert", "-")
	if r.err == nil || !strings.Contains(r.stderr, "created 0, updated 0, unchanged 1, refused 1") {
		t.Errorf("imported again: %v %s", r.err, r.stderr)
	}
	if r := s.typed(manyLines(10000)).must("service-account", "import", "-"); !strings.Contains(r.stderr, "created 10000") {
		t.Errorf("imported many: %s", r.stderr)
	}
	if again := s.must("service-account", "export").stdout; strings.Count(again, "\n") != 10001 {
		t.Errorf("exported %d lines", strings.Count(again, "\n"))
	}
}

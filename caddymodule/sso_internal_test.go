package caddymodule

import (
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/engines"
)

// login is an account at an issuer.
func ssoAccount(code, issuer string) *SSOAccount {
	return &SSOAccount{Code: code, Issuer: issuer, ClientID: "c", RedirectURIs: []string{"https://app.example.com"}}
}

func newTestSSO(accounts ...*SSOAccount) *SSO {
	return &SSO{
		Products: []string{"p"}, Accounts: accounts, RateLimit: 20,
		Credentials: []*SSOCredential{{APIKey: "k", SharedKey: "{env.SSO_POOL_SHARED}"}},
	}
}

// held is how often the engine of an issuer is in use.
func held(t *testing.T, source issuer.Config) int {
	t.Helper()
	return engines.Users(source.ID())
}

// Rate limits are counted in the service, so a reload must not make a new one
// unless something about it changed: the secrets count as well.
func TestSSOServiceOutlivesAReload(t *testing.T) {
	t.Setenv("SSO_POOL_SHARED", "one")
	take := func(s *SSO) *SSO {
		t.Helper()
		if err := s.provision(zap.NewNop(), nil, nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.release(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	old := take(newTestSSO(ssoAccount("a", "https://one.example")))
	if same := take(newTestSSO(ssoAccount("a", "https://one.example"))); same.taken.Service != old.taken.Service {
		t.Error("the same configuration has another service")
	}
	other := newTestSSO(ssoAccount("a", "https://one.example"))
	other.RateLimit = 21
	t.Setenv("SSO_POOL_SHARED", "one")
	if take(other).taken.Service == old.taken.Service {
		t.Error("another limit has the same service")
	}
	t.Setenv("SSO_POOL_SHARED", "two")
	if take(newTestSSO(ssoAccount("a", "https://one.example"))).taken.Service == old.taken.Service {
		t.Error("another shared key has the same service")
	}
	if take(newTestSSO(ssoAccount("a", "https://two.example"))).taken.Service == old.taken.Service {
		t.Error("another issuer has the same service")
	}
}

// Engines are taken once for each service and given back as often, however many
// accounts share them, and the gate's are shared.
func TestSSOGivesEnginesBack(t *testing.T) {
	t.Setenv("SSO_POOL_SHARED", "one")
	first, second := issuer.Config{Issuer: "https://first.example", CA: caFile}, issuer.Config{Issuer: "https://second.example"}
	gate := []*Issuer{{Issuer: first.Issuer, source: first}}
	gate[0].policy.Issuer = first.Issuer
	s := newTestSSO(ssoAccount("a", first.Issuer), ssoAccount("b", second.Issuer), ssoAccount("c", second.Issuer))
	if _, err := issuer.New(first, issuer.Options{}); err == nil {
		t.Fatal("the authority is not looked at")
	}
	gate[0].source.CA, first.CA = "", ""
	engine, err := engines.Take(first)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = engines.Release(first.ID()) }()
	if err := s.provision(zap.NewNop(), gate, nil); err != nil {
		t.Fatal(err)
	}
	if s.taken.engines[first.ID()] != engine || held(t, first) != 2 || held(t, second) != 1 || len(s.taken.engines) != 2 {
		t.Errorf("held: %d and %d times, engines %v", held(t, first), held(t, second), s.taken.engines)
	}
	for range 2 { // the second release has nothing to give back
		if err := s.release(); err != nil {
			t.Error(err)
		}
	}
	if held(t, first) != 1 || held(t, second) != 0 {
		t.Errorf("after the release: held %d and %d times", held(t, first), held(t, second))
	}
}

var caFile = filepath.Join("testdata", "no-such-authority.pem")

// Whatever goes wrong half-way, what was taken by then is given back, and what
// others hold is left alone.
func TestSSOFailsHalfWay(t *testing.T) {
	t.Setenv("SSO_POOL_SHARED", "one")
	good, bad := issuer.Config{Issuer: "https://good.example"}, issuer.Config{Issuer: "https://bad.example", CA: caFile}
	gate := []*Issuer{{source: bad}}
	gate[0].policy.Issuer = bad.Issuer
	if _, err := engines.Take(good); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = engines.Release(good.ID()) }()
	broken := ssoAccount("z", good.Issuer)
	broken.RedirectURIs = nil
	for name, accounts := range map[string][]*SSOAccount{
		"the second engine cannot be made": {ssoAccount("a", good.Issuer), ssoAccount("b", bad.Issuer)},
		"the service cannot be made":       {ssoAccount("a", good.Issuer), ssoAccount("b", "https://fine.example"), broken},
	} {
		s := newTestSSO(accounts...)
		if err := s.provision(zap.NewNop(), gate, nil); err == nil {
			t.Fatalf("%s: it was provisioned", name)
		}
		if err := s.release(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := held(t, good); n != 1 {
			t.Errorf("%s: the good engine is held %d times, want once, by the test", name, n)
		}
		for _, source := range []issuer.Config{bad, {Issuer: "https://fine.example"}} {
			if n := held(t, source); n != 0 {
				t.Errorf("%s: %s is held %d times", name, source.Issuer, n)
			}
		}
	}
}

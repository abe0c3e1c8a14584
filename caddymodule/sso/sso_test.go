package sso

import (
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/issuerkeys"
)

// accountAt is an account at an issuer.
func accountAt(code, issuer string) *Account {
	return &Account{Code: code, Issuer: issuer, ClientID: "c", RedirectURIs: []string{"https://app.example.com"}}
}

func newConfig(accounts ...*Account) *Config {
	return &Config{
		Products: []string{"p"}, Accounts: accounts, RateLimit: 20,
		Credentials: []*Credential{{APIKey: "k", SharedKey: "{env.SSO_POOL_SHARED}"}},
	}
}

// hostOf has issuers of tokens, as they are configured.
func hostOf(gate ...issuer.Config) Host {
	return Host{Logger: zap.NewNop(), Source: func(identifier string) (issuer.Config, bool) {
		for _, source := range gate {
			if source.Issuer == identifier {
				return source, true
			}
		}
		return issuer.Config{}, false
	}}
}

// held is how often the engine of an issuer is in use.
func held(t *testing.T, source issuer.Config) int {
	t.Helper()
	return issuerkeys.Shared.Users(source.ID())
}

// Rate limits are counted in the service, so a reload must not make a new one
// unless something about it changed: the secrets count as well.
func TestSSOServiceOutlivesAReload(t *testing.T) {
	t.Setenv("SSO_POOL_SHARED", "one")
	take := func(c *Config) *SSO {
		t.Helper()
		s, err := Take(c, hostOf())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Release(); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	old := take(newConfig(accountAt("a", "https://one.example")))
	if same := take(newConfig(accountAt("a", "https://one.example"))); same.Service != old.Service {
		t.Error("the same configuration has another service")
	}
	other := newConfig(accountAt("a", "https://one.example"))
	other.RateLimit = 21
	t.Setenv("SSO_POOL_SHARED", "one")
	if take(other).Service == old.Service {
		t.Error("another limit has the same service")
	}
	t.Setenv("SSO_POOL_SHARED", "two")
	if take(newConfig(accountAt("a", "https://one.example"))).Service == old.Service {
		t.Error("another shared key has the same service")
	}
	if take(newConfig(accountAt("a", "https://two.example"))).Service == old.Service {
		t.Error("another issuer has the same service")
	}
}

// Engines are taken once for each service and given back as often, however many
// accounts share them, and the gate's are shared.
func TestSSOGivesEnginesBack(t *testing.T) {
	t.Setenv("SSO_POOL_SHARED", "one")
	first, second := issuer.Config{Issuer: "https://first.example", CA: caFile}, issuer.Config{Issuer: "https://second.example"}
	config := newConfig(accountAt("a", first.Issuer), accountAt("b", second.Issuer), accountAt("c", second.Issuer))
	if _, err := issuer.New(first, issuer.Options{}); err == nil {
		t.Fatal("the authority is not looked at")
	}
	first.CA = ""
	engine, err := issuerkeys.Take(first)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = issuerkeys.Shared.Release(first.ID()) }()
	s, err := Take(config, hostOf(first))
	if err != nil {
		t.Fatal(err)
	}
	if s.engines[first.ID()] != engine || held(t, first) != 2 || held(t, second) != 1 || len(s.engines) != 2 {
		t.Errorf("held: %d and %d times, engines %v", held(t, first), held(t, second), s.engines)
	}
	for range 2 { // the second release has nothing to give back
		if err := s.Release(); err != nil {
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
	if _, err := issuerkeys.Take(good); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = issuerkeys.Shared.Release(good.ID()) }()
	broken := accountAt("z", good.Issuer)
	broken.RedirectURIs = nil
	for name, accounts := range map[string][]*Account{
		"the second engine cannot be made": {accountAt("a", good.Issuer), accountAt("b", bad.Issuer)},
		"the service cannot be made":       {accountAt("a", good.Issuer), accountAt("b", "https://fine.example"), broken},
	} {
		s, err := Take(newConfig(accounts...), hostOf(bad))
		if err == nil {
			t.Fatalf("%s: it was taken", name)
		}
		if err := s.Release(); err != nil {
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

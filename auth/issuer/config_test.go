package issuer

import (
	"strings"
	"testing"
	"time"
)

func TestConfigValidate(t *testing.T) {
	const good = "https://login.example.com/realms/acme"
	for _, c := range []struct {
		name string
		cfg  Config
		want string // part of the error; empty: none
	}{
		{"discovery", Config{Issuer: good}, ""},
		{"trailing slash", Config{Issuer: good + "/"}, ""},
		{"loopback name", Config{Issuer: "http://localhost:8080"}, ""},
		{"below localhost", Config{Issuer: "http://idp.localhost:8080"}, ""},
		{"loopback address", Config{Issuer: "http://127.0.0.5"}, ""},
		{"loopback IPv6", Config{Issuer: "http://[::1]:99/x"}, ""},
		{"insecure", Config{Issuer: "http://idp.lan", InsecureHTTP: true}, ""},
		{"not a URL, with jwks_uri", Config{Issuer: "kubernetes/serviceaccount", JWKSURI: good}, ""},
		{"not a URL, with file", Config{Issuer: "me", JWKSFile: "/x"}, ""},
		{"double slash in jwks_uri", Config{Issuer: good, JWKSURI: good + "//certs"}, ""},
		{"query in jwks_uri", Config{Issuer: good, JWKSURI: good + "?p=1"}, ""},

		{"empty", Config{}, "issuer is empty"},
		{"long", Config{Issuer: "https://" + strings.Repeat("a", 2048)}, "at most 2048"},
		{"control", Config{Issuer: "https://a\n"}, "control characters"},
		{"both", Config{Issuer: good, JWKSURI: good, JWKSFile: "/x"}, "give one"},
		{"refresh", Config{Issuer: good, Refresh: -1}, "refresh is -1ns"},
		{"max stale", Config{Issuer: good, MaxStale: -time.Hour}, "max_stale is -1h0m0s"},
		{"plain http", Config{Issuer: "http://idp.lan"}, "insecure_http"},
		{"not loopback for its name", Config{Issuer: "http://localhost.evil.com"}, "insecure_http"},
		{"not loopback for its digits", Config{Issuer: "http://127.0.0.1.evil.com"}, "insecure_http"},
		{"relative", Config{Issuer: "login.example.com"}, "not an absolute URL"},
		{"no host", Config{Issuer: "https:///x"}, "not an absolute URL"},
		{"other scheme", Config{Issuer: "ftp://login.example.com"}, "neither https nor http"},
		{"user", Config{Issuer: "https://a:b@login.example.com"}, "user information"},
		{"fragment", Config{Issuer: good + "#x"}, "fragment"},
		{"empty fragment", Config{Issuer: good + "#"}, "fragment"},
		{"query", Config{Issuer: good + "?x=y"}, "has a query"},
		{"bad escape", Config{Issuer: "https://a/%zz"}, "is not a URL"},
		{"jwks_uri http", Config{Issuer: good, JWKSURI: "http://10.0.0.1/x"}, `jwks_uri "http://10.0.0.1/x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.cfg.Validate()
			if c.want == "" && err != nil {
				t.Fatalf("got %v, want none", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("got %v, want one with %q", err, c.want)
			}
			if _, newErr := New(c.cfg, Options{}); (newErr != nil) != (err != nil) {
				t.Fatalf("New disagrees with Validate: %v", newErr)
			}
		})
	}
}

func TestConfigID(t *testing.T) {
	base := Config{Issuer: "https://a"}
	for name, same := range map[string]Config{
		"defaults written out": {Issuer: "https://a", Refresh: 15 * time.Minute, MaxStale: 24 * time.Hour},
	} {
		if same.ID() != base.ID() {
			t.Errorf("%s: %s is not %s", name, same.ID(), base.ID())
		}
	}
	file := Config{Issuer: "https://a", JWKSFile: "/f"}
	if file.ID() != (Config{Issuer: "https://a", JWKSFile: "/f", CA: "/ca", InsecureHTTP: true}).ID() {
		t.Error("options without meaning beside jwks_file make a difference")
	}
	if (Config{Issuer: "https://a", Refresh: 1}).ID() != (Config{Issuer: "https://a", Refresh: MinRefresh}).ID() {
		t.Error("two ways to write the floor differ")
	}
	seen := map[string]string{base.ID(): "base"}
	for name, c := range map[string]Config{
		"slash":  {Issuer: "https://a/"},
		"uri":    {Issuer: "https://a", JWKSURI: "https://b"},
		"file":   file,
		"ca":     {Issuer: "https://a", CA: "/ca"},
		"token":  {Issuer: "https://a", FetchTokenFile: "/ca"},
		"http":   {Issuer: "https://a", InsecureHTTP: true},
		"often":  {Issuer: "https://a", Refresh: time.Minute},
		"stale":  {Issuer: "https://a", MaxStale: time.Hour},
		"quotes": {Issuer: `https://a" "`},
	} {
		if other, ok := seen[c.ID()]; ok {
			t.Errorf("%s and %s have one id", name, other)
		}
		seen[c.ID()] = name
	}
}

func TestConfigRefreshFitsMaxStale(t *testing.T) {
	c := Config{Issuer: "https://a", Refresh: time.Hour, MaxStale: time.Minute}.withDefaults()
	equal(t, "refresh", c.Refresh, 30*time.Second)
	c = Config{Issuer: "https://a", MaxStale: time.Second}.withDefaults()
	equal(t, "refresh", c.Refresh, MinRefresh)
}

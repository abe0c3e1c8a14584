package main

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/load"
	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// newTestStage is a stage without servers.
func newTestStage(t *testing.T) *stage {
	t.Helper()
	issuer, err := idp.New(idp.WithAlgorithms(algorithms...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = issuer.Close() })
	s := &stage{size: quickly, dir: t.TempDir(), issuer: issuer, good: make(map[string][]string), progress: newProgress(io.Discard)}
	if s.license, err = newLicense(s.dir, []string{siteHost}); err != nil {
		t.Fatal(err)
	}
	return s
}

// Every configuration must be one that Caddy reads, with what it is named for.
func TestConfigsAdapt(t *testing.T) {
	s := newTestStage(t)
	floor, err := s.floorConfig("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	issuers, err := s.manyIssuers(3)
	if err != nil {
		t.Fatal(err)
	}
	patterns, err := s.manyPatterns(256)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config config
		want   string
	}{
		{bareConfig(), `"static_response"`},
		{bareConfig().proxied("127.0.0.1:1"), `"reverse_proxy"`},
		{headersConfig("127.0.0.1:1"), `"X-Auth-Scopes":["gateway.read,gateway.write"]`},
		{longConfig(s.everythingConfig()), `"v99":"xxx`},
		{floor, `"key_id":"eddsa-3"`},
		{s.gatehouseConfig(), `"registration":"optional"`},
		{s.everythingConfig(), `"X-Auth-Groups"`},
		{issuers, `"issuer":"https://login-2.example.com"`},
		{patterns, `license-256.json`},
	} {
		v, err := s.prepare(c.config.name, "Caddyfile")
		if err != nil {
			t.Fatal(err)
		}
		text := c.config.caddyfile(v)
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
		if err != nil {
			t.Errorf("%s: %v\n%s", c.config.name, err, text)
			continue
		}
		if !json.Valid(adapted) || !strings.Contains(string(adapted), c.want) {
			t.Errorf("%s: the configuration lacks %s", c.config.name, c.want)
		}
	}
}

func TestProxiedLeavesTheOriginal(t *testing.T) {
	c := bareConfig()
	proxied := c.proxied("127.0.0.1:1")
	if c.site[0] != answer || proxied.site[0] != "reverse_proxy 127.0.0.1:1" {
		t.Errorf("got %q and %q", c.site, proxied.site)
	}
}

func TestServersHaveAddressesOfTheirOwn(t *testing.T) {
	s := newTestStage(t)
	seen := make(map[string]bool)
	for range 3 {
		v, err := s.prepare("x", "Caddyfile")
		if err != nil {
			t.Fatal(err)
		}
		if v.address == v.admin || seen[v.file] {
			t.Errorf("got %s and %s, file %s", v.address, v.admin, v.file)
		}
		seen[v.file] = true
	}
}

func TestTokensAreMadeOnce(t *testing.T) {
	s := newTestStage(t)
	some := func(n int) []string {
		list, err := s.tokens("ES256", n)
		if err != nil || len(list) != n {
			t.Fatalf("got %d tokens and %v, want %d", len(list), err, n)
		}
		return list
	}
	few := some(5)
	if again := some(3); again[0] != few[0] {
		t.Error("tokens were made anew")
	}
	if more := some(7); !slices.Equal(more[:5], few) {
		t.Error("the first tokens of a larger set are others")
	}
}

func TestAllLetIn(t *testing.T) {
	v := &server{name: "it"}
	if err := v.allLetIn(&load.Result{Failed: 1}); err == nil || !strings.HasPrefix(err.Error(), "it: ") {
		t.Errorf("got %v, want an error that names the server", err)
	}
}

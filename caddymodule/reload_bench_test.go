package caddymodule_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

// reloadCaddyfile is a server with an admin endpoint, as in production, where
// OPTION and GATE stand for what Gatehouse is configured to do.
const reloadCaddyfile = `{
	admin ADMIN
	persist_config off
	auto_https off
	grace_period 5s
	storage file_system DIR/storage
	log {
		output discard
	}
	OPTION
}
http://gateway.example.com:PORT {
	bind 127.0.0.1
	GATE
	respond 200
}`

// reloadOption has on what Gatehouse has.
const reloadOption = `gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		service_accounts {
			ACCOUNTS
		}
		license {
			file LICENSE
			trusted_key TRUSTED
		}
	}`

// reloadDeclared is how many accounts the configuration declares.
const reloadDeclared = 100

// reloadConfig adapts the Caddyfile of a bare server or of one with everything.
func reloadConfig(tb testing.TB, vars ...string) (adapt func() []byte) {
	tb.Helper()
	_, port, _ := strings.Cut(freeAddress(tb), ":")
	text := strings.NewReplacer(vars...).Replace(reloadCaddyfile)
	text = strings.NewReplacer("ADMIN", freeAddress(tb), "DIR", filepath.ToSlash(tb.TempDir()), "PORT", port).Replace(text)
	return func() []byte {
		config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
		if err != nil {
			tb.Fatal(err)
		}
		return config
	}
}

// everythingReloaded is the configuration with all of Gatehouse.
func everythingReloaded(tb testing.TB) (adapt func() []byte) {
	tb.Helper()
	issuer, err := idp.New(idp.WithAlgorithms("RS256", "ES256", "EdDSA"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = issuer.Close() })
	v := newVendor(tb)
	v.write(v.sign(time.Minute, asks("gateway.example.com")))
	var accounts strings.Builder
	for i := range reloadDeclared {
		fmt.Fprintf(&accounts, "account ci-deploy-%03d {\n\t\t\t\tissuer acme\n\t\t\t\tgroups deployers\n\t\t\t}\n\t\t\t", i)
	}
	option := strings.NewReplacer("ISSUER", issuer.URL, "ACCOUNTS", accounts.String(),
		"LICENSE", filepath.ToSlash(v.file()), "TRUSTED", filepath.ToSlash(v.public())).Replace(reloadOption)
	return reloadConfig(tb, "OPTION", option, "GATE", "require_license\n\tbearer_auth {"+benchRules+benchHeaders+"\n\t}")
}

// bareReloaded is a configuration without Gatehouse.
func bareReloaded(tb testing.TB) (adapt func() []byte) {
	return reloadConfig(tb, "OPTION", "", "GATE", "")
}

// longReloaded has no Gatehouse either, but is as long as everything: what Caddy
// itself takes to read, index and copy a configuration grows with it.
func longReloaded(tb testing.TB) (adapt func() []byte) {
	var vars strings.Builder
	for i := range reloadDeclared {
		fmt.Fprintf(&vars, "v%03d %s\n\t\t", i, strings.Repeat("x", 65))
	}
	return reloadConfig(tb, "OPTION", "", "GATE", "vars {\n\t\t"+vars.String()+"\n\t}")
}

// BenchmarkReload is what it takes to load the same configuration again, with
// all of Gatehouse and without, after and apart from its adapting.
func BenchmarkReload(b *testing.B) {
	for _, c := range []struct {
		name  string
		adapt func(testing.TB) func() []byte
	}{
		{"bare", bareReloaded},
		{"long", longReloaded},
		{"everything", everythingReloaded},
	} {
		adapt := c.adapt(b)
		b.Run(c.name+"/adapt", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				adapt()
			}
		})
		b.Run(c.name+"/load", func(b *testing.B) {
			benchReload(b, adapt())
		})
	}
}

func benchReload(b *testing.B, config []byte) {
	b.Helper()
	b.Cleanup(func() { _ = caddy.Stop() })
	reload(b, config)
	b.ReportAllocs()
	for b.Loop() {
		reload(b, config)
	}
}

func reload(tb testing.TB, config []byte) {
	tb.Helper()
	if err := caddy.Load(config, true); err != nil {
		tb.Fatal(err)
	}
}

// What is made for a configuration must go with it. A reload allocates some
// hundreds of kilobytes, so that even a tenth of it, kept 200 times, would be
// more than the bound.
func TestReloadsKeepNoMemory(t *testing.T) {
	config := everythingReloaded(t)()
	t.Cleanup(func() { _ = caddy.Stop() })
	several := func(n int) {
		for range n {
			reload(t, config)
		}
	}
	several(20) // pools and caches fill
	before := liveHeap()
	several(200)
	// What the last configurations leave may take a moment to end.
	const bound = 4 << 20
	var grown int64
	eventually(t, "the heap is as large as before", func() bool {
		grown = liveHeap() - before
		return grown < bound
	})
	t.Logf("the heap grew by %d KiB", grown>>10)
}

func liveHeap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

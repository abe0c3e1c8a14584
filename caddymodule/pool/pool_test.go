package pool_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/pool"
)

// talkative is a storage that shows its password.
type talkative struct{ certmagic.Storage }

func (talkative) String() string { return "redis://:s3cret@127.0.0.1" }

// named is one that also is a module.
type named struct{ talkative }

func (named) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: "caddy.storage.redis"} }

// A storage is named by its module and nothing else of it, but for a folder.
func TestStorageName(t *testing.T) {
	here, err := filepath.Abs("shared")
	if err != nil {
		t.Fatal(err)
	}
	for want, storage := range map[string]certmagic.Storage{
		"file_system " + here:             &certmagic.FileStorage{Path: "shared"},
		"file_system " + here + "/folder": &certmagic.FileStorage{Path: here + "/folder/"},
		"redis":                           named{},
		"pool_test.talkative":             talkative{},
	} {
		if got := pool.StorageName(storage); filepath.ToSlash(got) != filepath.ToSlash(want) || strings.Contains(got, "s3cret") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

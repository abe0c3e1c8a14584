package caddymodule_test

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// What a start refuses, `caddy validate` refuses too, which makes all modules but
// starts none.
func TestValidateRefusesWhatAStartRefuses(t *testing.T) {
	const resource = "bearer_auth {\nprotected_resource https://gateway.example.com/mcp\n}\n"
	for name, c := range map[string]struct{ site, want string }{
		"outside":                {resource, ""},
		"with a path of its own": {strings.Replace(resource, "bearer_auth", "bearer_auth /mcp*", 1), ""},
		"in a fitting handle":    {"handle /.well-known/* {\n" + resource + "}\n", ""},
		"beside another handle":  {"handle /x/* {\nrespond x\n}\nhandle {\n" + resource + "}\n", ""},
		"in another handle":      {"handle /mcp/* {\n" + resource + "}\n", "cannot be reached"},
		"deep inside":            {"route {\nhandle /x* {\nrespond x\n}\nhandle /mcp* {\nroute {\n" + resource + "}\n}\n}\n", "cannot be reached"},
		"behind a wider handle":  {"handle /m* {\nhandle {\n" + resource + "}\n}\n", "cannot be reached"},
	} {
		for _, address := range []string{"http://SITE", "http://gateway.example.com:0, http://SITE"} {
			t.Run(name+" "+address, func(t *testing.T) {
				g := prepare(t)
				text := `{
	GLOBALS
	gatehouse {
		issuer https://login.example.com {
			name acme
			audience https://gateway.example.com
		}
	}
}
` + address + " {\nbind 127.0.0.1\n" + c.site + "}\nhttp://SECOND {\nbind 127.0.0.1\nrespond /only x\n}\n"
				data, err := g.adapted(text)
				if err != nil {
					t.Fatal(err)
				}
				config := new(caddy.Config)
				if err := caddy.StrictUnmarshalJSON(data, config); err != nil {
					t.Fatal(err)
				}
				err = caddy.Validate(config)
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("validate says %v, want %q", err, c.want)
				}
				if err := g.load(text); (err != nil) != (c.want != "") {
					t.Errorf("a start says %v, want %q", err, c.want)
				}
			})
		}
	}
}

package caddymodule_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

const resources = `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		issuer OTHER {
			name other
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth /mcp/* {
		protected_resource https://gateway.example.com/mcp
		issuer acme
		scope mcp.read mcp.write
		token_from query access_token
	}
	bearer_auth {
		protected_resource https://gateway.example.com
		error_body json
	}
	respond "in"
}
http://SECOND {
	bind 127.0.0.1
	handle {
		bearer_auth {
			protected_resource https://second.example.com/
			realm second
		}
		respond "in"
	}
}
`

const wellKnown = "/.well-known/oauth-protected-resource"

func TestResourceMetadata(t *testing.T) {
	issuer, other := newIssuer(t), newIssuer(t)
	g := start(t, resources, "ISSUER", issuer.URL, "OTHER", other.URL)
	both := []any{issuer.URL, other.URL}
	for _, c := range []struct {
		name, site, path string
		want             map[string]any
	}{
		{"at the root", g.site, wellKnown, map[string]any{
			"resource": "https://gateway.example.com", "authorization_servers": both, "bearer_methods_supported": []any{"header"},
		}},
		{"with a path", g.site, wellKnown + "/mcp", map[string]any{
			"resource": "https://gateway.example.com/mcp", "authorization_servers": []any{issuer.URL},
			"scopes_supported": []any{"mcp.read", "mcp.write"}, "bearer_methods_supported": []any{"header", "query"},
		}},
		{"inside a plain handle", g.second, wellKnown, map[string]any{
			"resource": "https://second.example.com/", "authorization_servers": both, "bearer_methods_supported": []any{"header"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := g.do(g.client, http.MethodGet, "http://"+c.site+c.path)
			var document map[string]any
			if err := json.Unmarshal([]byte(got.body), &document); err != nil || got.status != 200 {
				t.Fatalf("got %d %q: %v", got.status, got.body, err)
			}
			if !reflect.DeepEqual(document, c.want) {
				t.Errorf("got %v, want %v", document, c.want)
			}
			head := got.header
			if head.Get("Content-Type") != "application/json" || head.Get("Access-Control-Allow-Origin") != "*" || head.Get("Cache-Control") == "" {
				t.Errorf("got the headers %v", head)
			}
		})
	}
	t.Run("methods", func(t *testing.T) {
		if got := g.send(http.MethodHead, wellKnown); got.status != 200 || got.body != "" {
			t.Errorf("HEAD: got %d %q", got.status, got.body)
		}
		preflight := g.send(http.MethodOptions, wellKnown, header("Origin", "https://a"), header("Access-Control-Request-Method", "GET"))
		if preflight.status != 204 || preflight.header.Get("Access-Control-Allow-Origin") != "*" || preflight.header.Get("Access-Control-Allow-Methods") == "" {
			t.Errorf("OPTIONS: got %d %v", preflight.status, preflight.header)
		}
		if got := g.send(http.MethodPost, wellKnown); got.status != 405 || got.header.Get("Allow") == "" {
			t.Errorf("POST: got %d %v, want 405 with Allow", got.status, got.header)
		}
	})
	t.Run("challenges", func(t *testing.T) {
		root := `, resource_metadata="https://gateway.example.com` + wellKnown + `"`
		refused{401, `Bearer realm="gatehouse"` + root, ""}.check(t, g.get("/x"), "{\"message\":\"a bearer token is required\"}\n")
		refused{401, `Bearer realm="gatehouse", scope="mcp.read mcp.write", resource_metadata="https://gateway.example.com` + wellKnown + `/mcp"`, ""}.check(t, g.get("/mcp/x"), "")
		refused{401, notJWS.challenge + root, ""}.check(t, g.get("/x", bearer("bad")), notJWS.jsonBody())
		refused{401, `Bearer realm="second", resource_metadata="https://second.example.com` + wellKnown + `"`, ""}.
			check(t, g.do(g.client, http.MethodGet, "http://"+g.second+"/"), "")
	})
	t.Run("other paths need a token", func(t *testing.T) {
		for _, path := range []string{wellKnown + "/", wellKnown + "/other", wellKnown + "x", "/x" + wellKnown} {
			if got := g.get(path); got.status != 401 {
				t.Errorf("%s: got %d, want 401", path, got.status)
			}
		}
	})
}

// Metadata that nobody could reach would send every client astray.
func TestUnreachableMetadataIsAnErrorAtLoad(t *testing.T) {
	issuer := newIssuer(t)
	const site = `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	INSIDE {
		bearer_auth {
			protected_resource https://gateway.example.com/mcp
		}
		respond "in"
	}
}`
	for _, inside := range []string{"handle /mcp/*", "handle_path /mcp/*", "route /mcp/*", "handle {\n\thandle /mcp*"} {
		t.Run(inside, func(t *testing.T) {
			text := site
			if strings.Contains(inside, "\n") {
				text += "\n}"
			}
			g := prepare(t, "ISSUER", issuer.URL, "INSIDE", inside)
			err := g.load(text)
			if err == nil {
				t.Fatal("it was loaded")
			}
			for _, part := range []string{"protected_resource https://gateway.example.com/mcp", wellKnown + "/mcp", "put bearer_auth outside of the `handle`", "bearer_auth /mcp* {"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %q, want it to say %q", err, part)
				}
			}
		})
	}
	for _, inside := range []string{"handle", "route", "handle /.well-known/*", "handle /*"} {
		t.Run("reachable "+inside, func(t *testing.T) {
			g := start(t, site, "ISSUER", issuer.URL, "INSIDE", inside)
			if got := g.get(wellKnown + "/mcp"); got.status != 200 {
				t.Errorf("got %d, want the metadata", got.status)
			}
		})
	}
}

package caddymodule_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const tokenCaching = `{
	GLOBALS
	metrics
	gatehouse {
		issuer ISSUER {
			name acme
			audience ` + idp.DefaultAudience + `
		}
		service_accounts {
			registration optional
		}
		token_cache SIZE
	}
}
http://SITE {
	handle /metrics {
		metrics
	}
	handle {
		bearer_auth {
			header X-Groups {http.auth.user.claims.groups}
		}
		respond ok
	}
}
`

// A token counts in the cache by what it takes, however many there are and
// whatever is read of them.
func TestTokenCacheIsBoundedInBytes(t *testing.T) {
	if apart(t) {
		return
	}
	groups := make([]string, 200)
	for _, tt := range []struct {
		size  string
		bound float64
		hits  bool
	}{
		{"1MiB", 1 << 20, true},
		{"2000", 2000 << 10, true},
		{"0", 0, false},
	} {
		t.Run(tt.size, func(t *testing.T) {
			issuer := newIssuer(t)
			g := start(t, strings.Replace(tokenCaching, "SIZE", tt.size, 1), "ISSUER", issuer.URL)
			for i := range 150 {
				for j := range groups {
					groups[j] = fmt.Sprintf("team-%d-of-caller-%d", j, i)
				}
				token, before := bearer(mint(issuer, claims{"groups": groups})), g.scrape()
				for range 2 {
					if got := g.get("/", token); got.status != http.StatusOK {
						t.Fatalf("got %d %v", got.status, got.header)
					}
				}
				now := g.scrape()
				if n := now.since(t, before, `token_cache_total{result="hit"}`); (n == 1) != tt.hits {
					t.Fatalf("a token that came twice was found %v times", n)
				}
				if bytes := now["token_cache_bytes"]; bytes > tt.bound {
					t.Fatalf("%d tokens: %v bytes are taken, the bound is %v", i+1, bytes, tt.bound)
				}
			}
			if bytes := g.scrape()["token_cache_bytes"]; bytes < tt.bound*3/4 {
				t.Errorf("%v bytes are taken, the bound is %v", bytes, tt.bound)
			}
		})
	}
}

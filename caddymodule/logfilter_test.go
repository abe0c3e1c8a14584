package caddymodule_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The documented filters keep a token in the query or in another header, and a proof, out
// of the access log and out of Caddy's own, which has requests that failed.
func TestTheDocumentedFilterKeepsTokensOutOfLogs(t *testing.T) {
	page := read(t, "../docs/options.md")
	_, block, found := strings.Cut(page, "```caddyfile\n(without_token) {")
	block, _, ended := strings.Cut(block, "\n```\n")
	if !found || !ended {
		t.Fatal("the page has no filter")
	}
	lines := regexp.MustCompile("`(request>headers>[\\w-]+ delete)`").FindAllStringSubmatch(page+read(t, "../docs/operating.md"), -1)
	if len(lines) != 2 {
		t.Fatalf("the pages have the filters %q, want one for another header and one for proofs", lines)
	}
	issuer, dead := newIssuer(t), freeAddress(t)
	g := prepare(t, "ISSUER", issuer.URL, "DEAD", dead)
	access := filepath.Join(g.dir, "access.log")
	text := strings.NewReplacer(
		"\t\trequest>headers>Referer", "\t\t"+lines[0][1]+"\n\t\t"+lines[1][1]+"\n\t\trequest>headers>Referer",
		"\n{\n\tlog {", `
{
	admin off
	persist_config off
	auto_https off
	storage file_system DIR/storage
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
		service_accounts {
			registration optional
		}
	}
	log {
		output file DIR/caddy.log {
			roll_disabled
		}
		level DEBUG`,
		"\n\tlog {", "\n\tlog {\n\t\toutput file "+access+" {\n\t\t\troll_disabled\n\t\t}",
		"gateway.example.com {", "http://SITE {\n\tbind 127.0.0.1",
		"\t# …\n", "\tbearer_auth {\n\t\ttoken_from query access_token\n\t}\n\treverse_proxy DEAD\n",
	).Replace("(without_token) {" + block + "\n")
	if err := g.load(text); err != nil {
		t.Fatalf("%v of\n%s", err, text)
	}
	token := secret(mint(issuer, nil))
	headers := both(header("X-Access-Token", token), header("DPoP", token))
	if got := g.get("/x?access_token="+token+"&kept=1", header("Referer", "https://app.example.com/?access_token="+token), headers); got.status != http.StatusBadGateway {
		t.Fatalf("got %d %q, want 502", got.status, got.body)
	}
	bad := secret("eyJhbGciOiJSUzI1NiJ9.e30.c2ln")
	if got := g.get("/x?access_token=" + bad); got.status != http.StatusUnauthorized {
		t.Fatalf("got %d %q, want 401", got.status, got.body)
	}
	eventually(t, "both logs tell of the request", func() bool {
		data, _ := os.ReadFile(access)
		return strings.Contains(string(data), "kept=1") && strings.Contains(g.log(), "http.log.error") && strings.Contains(g.log(), "kept=1")
	})
	data, err := os.ReadFile(access)
	if err != nil {
		t.Fatal(err)
	}
	for place, log := range map[string]string{"the access log": string(data), "Caddy's own log": g.log()} {
		for _, leaked := range []string{token, bad} {
			if strings.Contains(log, leaked) {
				t.Errorf("%s has a token", place)
			}
		}
		if !strings.Contains(log, "REDACTED") {
			t.Errorf("%s shows no address that was filtered", place)
		}
	}
}

// The documented access log says why a request was refused, beside what it was.
func TestTheDocumentedAccessLogHasTheReason(t *testing.T) {
	_, block, found := strings.Cut(read(t, "../docs/operating.md"), "```caddyfile\ngateway.example.com {\n\tlog\n")
	block, _, ended := strings.Cut(block, "\n```\n")
	if !found || !ended {
		t.Fatal("the page has no such site")
	}
	issuer := newIssuer(t)
	g := prepare(t, "ISSUER", issuer.URL)
	access := filepath.Join(g.dir, "access.log")
	text := `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
		}
	}
}
http://SITE {
	bind 127.0.0.1
	log {
		output file ` + access + `
	}
` + block
	if err := g.load(text); err != nil {
		t.Fatalf("%v of\n%s", err, text)
	}
	if got := g.get("/x", bearer(mint(issuer, claims{"aud": "other"}))); got.status != http.StatusUnauthorized {
		t.Fatalf("got %d %q, want 401", got.status, got.body)
	}
	eventually(t, "the access log tells of the request", func() bool {
		data, _ := os.ReadFile(access)
		return strings.Contains(string(data), `"uri":"/x"`) && strings.Contains(string(data), `"reason":"audience"`)
	})
}

package docs_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/gatehouse-proxy/gatehouse/caddymodule"
)

func adapt(text string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return config, err
}

// Words that begin a part of a Caddyfile, by where the part belongs.
var (
	ofGlobal    = regexp.MustCompile(`^(storage|servers|log|debug|events|gatehouse)\b`)
	ofGatehouse = regexp.MustCompile(`^(issuer|dpop|service_accounts|api|license|signing|sso|token_cache)\b`)
	ofSite      = regexp.MustCompile(`^(@\w+|bearer_auth|require_license|gatehouse_api|identity_headers|route|handle|handle_path|handle_errors|reverse_proxy|header|respond|metrics|tracing)\b`)
)

// foreignStorage is a storage of a module that is not in this build.
var foreignStorage = regexp.MustCompile(`(?ms)^\tstorage (redis|postgresql|postgres|nats|valkey|s3|consul) \{.*?^\t\}\n`)

const anIssuer = "issuer https://login.example.com {\naudience https://gateway.example.com\n}\n"

// whole makes a whole Caddyfile of a part of one.
func whole(block string) string {
	block = foreignStorage.ReplaceAllString(block, "")
	lines := strings.Split(block, "\n")
	first := ""
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			first = line
			break
		}
	}
	globals := "{\ngatehouse {\n" + anIssuer + "license {\ntrusted_key /etc/gatehouse/vendor.pub\n}\n}\n}\n"
	switch {
	case ofGatehouse.MatchString(first):
		if !regexp.MustCompile(`(?m)^issuer `).MatchString(block) {
			block = anIssuer + block
		}
		return "{\ngatehouse {\n" + block + "}\n}\n"
	case ofGlobal.MatchString(first):
		return "{\n" + block + "}\n"
	case ofSite.MatchString(first):
		return globals + "gateway.example.com {\n" + block + "}\n"
	case strings.HasPrefix(first, "{") || strings.Contains(block, "\n{\n"):
		return block
	}
	return globals + block
}

func TestEveryCaddyfileAdapts(t *testing.T) {
	blocks := 0
	for _, page := range pages(t) {
		for _, match := range fence.FindAllStringSubmatch(read(t, page), -1) {
			if match[1] != "caddyfile" {
				if strings.Contains(match[2], "bearer_auth {") || strings.Contains(match[2], "gatehouse {") {
					t.Errorf("%s: a Caddyfile is not marked as one:\n%s", page, match[2])
				}
				continue
			}
			blocks++
			if _, err := adapt(whole(match[2])); err != nil {
				t.Errorf("%s: %v of\n%s", page, err, match[2])
			}
		}
	}
	if blocks < 10 {
		t.Errorf("found %d Caddyfiles, want more", blocks)
	}
}

// Caddy's /admin/* does not match /admin, which would pass without what is asked for there.
func TestNoMatcherLeavesOutThePathItself(t *testing.T) {
	inline := regexp.MustCompile(`\b(bearer_auth|require_license|identity_headers) /\S+`)
	named := regexp.MustCompile("\\bpath((?: /[^\\s`]*)+)")
	names := append(pages(t), "Caddyfile.example", "deploy/systemd/Caddyfile", "deploy/kubernetes/gatehouse.yaml")
	for _, page := range pages(t) {
		if folder, found := strings.CutSuffix(page, "/README.md"); found {
			names = append(names, folder+"/Caddyfile")
		}
	}
	matchers := 0
	for _, name := range names {
		text := read(t, name)
		for _, found := range inline.FindAllString(text, -1) {
			t.Errorf("%s: %s: name the path and what is below it, in a matcher", name, found)
		}
		for _, found := range named.FindAllStringSubmatch(text, -1) {
			paths := strings.Fields(found[1])
			for _, path := range paths {
				if parent, below := strings.CutSuffix(path, "/*"); below {
					if matchers++; !slices.Contains(paths, parent) {
						t.Errorf("%s: %s leaves out %s", name, found[0], parent)
					}
				}
			}
		}
	}
	if matchers < 10 {
		t.Errorf("%d matchers were found", matchers)
	}
}

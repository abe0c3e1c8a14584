package docs_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/auth/sso"
)

// blocks are the blocks that have options: the page and heading that list them,
// and a Caddyfile with an unknown word in the block.
var blocks = []struct{ page, heading, caddyfile string }{
	{"docs/options.md", "## Global option `gatehouse`", "{\ngatehouse {\nUNKNOWN\n}\n}\n"},
	{"docs/options.md", "### `issuer`", inGatehouse("issuer https://login.example.com {\nUNKNOWN\n}")},
	{"docs/options.md", "### `dpop`", inGatehouse("dpop {\nUNKNOWN\n}")},
	{"docs/options.md", "### `introspection` of `issuer`", "{\ngatehouse {\nissuer https://login.example.com {\naudience a\nintrospection {\nUNKNOWN\n}\n}\n}\n}\n"},
	{"docs/options.md", "### `events` of `issuer`", inGatehouse("issuer https://login.example.com {\naudience a\nevents {\nUNKNOWN\n}\n}")},
	{"docs/options.md", "### `poll` of `events`", inGatehouse("issuer https://login.example.com {\naudience a\nevents {\npoll https://login.example.com {\nUNKNOWN\n}\n}\n}")},
	{"docs/options.md", "### `service_accounts`", inGatehouse("service_accounts {\nUNKNOWN\n}")},
	{"docs/options.md", "### `account` of `service_accounts`", inGatehouse("service_accounts {\naccount ci {\nUNKNOWN\n}\n}")},
	{"docs/options.md", "### `api`", inGatehouse("api {\nUNKNOWN\n}")},
	{"docs/options.md", "### `license`", inGatehouse("license {\nUNKNOWN\n}")},
	{"docs/options.md", "### `trusted_key`", inGatehouse("license {\ntrusted_key vendor.pub {\nUNKNOWN\n}\n}")},
	{"docs/options.md", "### `renew`", inGatehouse("license {\ntrusted_key vendor.pub\nrenew https://license.example.com {\nUNKNOWN\n}\n}")},
	{"docs/options.md", "### `signing`", inGatehouse("signing {\nUNKNOWN\n}")},
	{"docs/options.md", "### `sso`", inGatehouse("sso {\nUNKNOWN\n}")},
	{"docs/options.md", "### `credential`", inGatehouse("sso {\ncredential a b {\nUNKNOWN\n}\n}")},
	{"docs/options.md", "### `account` of `sso`", inGatehouse("sso {\naccount acme {\nUNKNOWN\n}\n}")},
	{"docs/options.md", "### Directive `require_license`", inSite("require_license {\nUNKNOWN\n}")},
	{"docs/options.md", "### Directive `identity_headers`", inSite("identity_headers X-User {\nUNKNOWN\n}")},
	{"docs/options.md", "### Directive `bearer_auth`", inSite("bearer_auth {\nUNKNOWN\n}")},
	{"docs/matchers-and-placeholders.md", "## Matcher `principal`", inSite("@p principal {\nUNKNOWN\n}\nrespond @p ok")},
}

func inGatehouse(block string) string { return "{\ngatehouse {\n" + anIssuer + block + "\n}\n}\n" }

func inSite(block string) string {
	return inGatehouse("") + "gateway.example.com {\n" + block + "\n}\n"
}

// A parser that meets an unknown word says which words it knows.
var expected = regexp.MustCompile(`found "UNKNOWN", expected (?:one of: )?((?:[a-z_]+, )*?[a-z_]+), at `)

func TestEveryOptionIsDocumented(t *testing.T) {
	example := read(t, "Caddyfile.example")
	for _, block := range blocks {
		_, err := adapt(block.caddyfile)
		match := expected.FindStringSubmatch(fmt.Sprint(err))
		if match == nil {
			t.Errorf("%s: got %v, want an error that lists the options", block.heading, err)
			continue
		}
		var documented []string
		text := section(t, block.page, block.heading)
		text, _, _ = strings.Cut(text, "\n#") // without the blocks inside
		for _, cells := range rows(text) {
			for _, span := range codes(cells[0]) {
				option, _, _ := strings.Cut(span, " ")
				documented = append(documented, option)
			}
		}
		same(t, block.heading, documented, strings.Split(match[1], ", "))
		for _, option := range documented {
			if !regexp.MustCompile(`(?m)^[^a-z\n]*(?:# )?` + option + `\b|[` + "`" + `{ ]` + option + `\b`).MatchString(example) {
				t.Errorf("Caddyfile.example does not show %s", option)
			}
		}
	}
}

// What an option may be, where the code has a list of it.
func TestValuesAreDocumented(t *testing.T) {
	option := func(heading, name string) []string {
		for _, cells := range rows(section(t, "docs/options.md", heading)) {
			if strings.HasPrefix(cells[0], "`"+name+" ") {
				return codes(cells[2])
			}
		}
		t.Fatalf("%s has no option %s", heading, name)
		return nil
	}
	same(t, "presets", option("### `issuer`", "preset"), auth.Presets)
	same(t, "presets of sso", slices.DeleteFunc(option("### `account` of `sso`", "preset"), func(s string) bool { return s == "token" }), sso.Presets)
	for _, name := range option("### `issuer`", "algorithms") {
		err := auth.CheckAlgorithm(name)
		if never := name == "HS*" || name == "none"; (err != nil) != never {
			t.Errorf("the algorithm %s: got %v", name, err)
		}
	}
}

func TestEveryPlaceholderIsDocumented(t *testing.T) {
	const page = "docs/matchers-and-placeholders.md"
	var documented []string
	for _, cells := range rows(section(t, page, "## Placeholders of the caller")) {
		if key, found := strings.CutPrefix(cells[0], "`{http.auth.user."); found {
			documented = append(documented, strings.TrimSuffix(key, "}`"))
		}
	}
	same(t, "placeholders of the caller", documented, append(slices.Clone(auth.PrincipalKeys), "claims.<path>"))
}

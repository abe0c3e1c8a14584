package docs_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Configurations with a mistake are refused with a message that is listed under
// "Caddy does not start", and what is listed there is such a message.
func TestMessagesOfMistakesAreDocumented(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	readable := filepath.Join(t.TempDir(), "vendor.key")
	if err := os.WriteFile(readable, []byte("key"), 0o644); err != nil {
		t.Fatal(err)
	}
	issuer := func(line string) string {
		return inGatehouse("issuer https://login.example.org {\naudience gateway\n" + line + "\n}")
	}
	unmatched := map[string]*regexp.Regexp{}
	for _, cells := range rows(section(t, "docs/troubleshooting.md", "## Caddy does not start")) {
		if cells[1] == "" {
			t.Errorf("%s: the row does not say what to do", cells[0])
		}
		pattern := regexp.QuoteMeta(strings.Trim(cells[0], "`"))
		unmatched[cells[0]] = regexp.MustCompile(strings.ReplaceAll(pattern, "…", ".+"))
	}
	known := make(map[string]*regexp.Regexp, len(unmatched))
	for message, pattern := range unmatched {
		known[message] = pattern
	}
	delete(unmatched, "this build is sealed") // only such a build says so
	for _, text := range []string{
		"{\ngatehouse {\nissuer https://login.example.org\n}\n}\n",
		inGatehouse("issuer https://login.example.org{\naudience gateway\n}"),
		"{\ngatehuose {\nissuer https://login.example.org\n}\n}\n",
		inSite("bearer_auht"),
		inGatehouse("api { trust_admin_endpoint }"),
		inGatehouse("issuer http://login.example.org {\naudience gateway\n}"),
		inGatehouse("issuer login.example.org {\naudience gateway\n}"),
		inGatehouse("issuer https://login.example.com/b {\naudience gateway\n}"),
		issuer("preset keycloack"),
		issuer("audiance gateway"),
		issuer("leeway 5"),
		issuer("name a\nname b"),
		issuer("name a b"),
		issuer("algorithms HS256"),
		"{\ngatehouse {\nservice_accounts {\naccount ci\n}\n}\n}\n",
		"gateway.example.com {\nbearer_auth\n}\n",
		inGatehouse("license {\nfile license.json\n}"),
		inSite("require_license"),
		inSite("bearer_auth {\nheader X-User {http.auth.user.nme}\n}"),
		inSite("header X-User {http.auth.user.id}\nbearer_auth"),
		inSite("bearer_auth\nrespond {http.auth.user.nme}"),
		inSite("bearer_auth {\nissuer other\n}"),
		inSite("bearer_auth {\nbound mtls\n}"),
		inSite("bearer_auth {\nclient_certificate header Client-Cert rfc9440\n}"),
		"{\ngatehouse {\nissuer https://login.example.org {\naudience gateway\nbound off\n}\n}\n}\ngateway.example.com {\nbearer_auth {\nbound required\n}\n}\n",
		inSite("handle /mcp/* {\nbearer_auth {\nprotected_resource https://gateway.example.com/mcp\n}\n}"),
		inSite("@ci principal {\nkind service_account\n}\nrespond @ci ok"),
		inGatehouse("signing {\nkey " + readable + "\n}"),
	} {
		config, err := adapt(text)
		if err == nil {
			err = validate(config)
		}
		if err == nil {
			t.Errorf("no mistake was found in\n%s", text)
			continue
		}
		found := false
		for message, pattern := range known {
			if pattern.MatchString(err.Error()) {
				found = true
				delete(unmatched, message)
			}
		}
		if !found {
			t.Errorf("not documented: %v", err)
		}
	}
	for message := range unmatched {
		t.Errorf("documented, and no mistake is answered so: %s", message)
	}
}

// validate makes everything of a configuration, and starts nothing.
func validate(config []byte) error {
	parsed := new(caddy.Config)
	if err := json.Unmarshal(config, parsed); err != nil {
		return err
	}
	parsed.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{
		"default": {BaseLog: caddy.BaseLog{WriterRaw: json.RawMessage(`{"output": "discard"}`)}},
	}}
	return caddy.Validate(parsed)
}

package caddymodule_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/gatehouse-proxy/gatehouse/internal/upstream"
)

// examples are the folders of examples/, each with the test that runs it.
var examples = map[string]func(*testing.T){
	"auth0":          auth0Example,
	"behind-proxy":   behindProxyExample,
	"entra":          entraExample,
	"forward-auth":   forwardAuthExample,
	"github-actions": githubActionsExample,
	"hoop":           hoopExample,
	"keycloak":       keycloakExample,
	"kubernetes":     kubernetesExample,
	"mcp":            mcpExample,
	"okta":           oktaExample,
	"two-nodes":      twoNodesExample,
}

func TestExamples(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(examples)) {
		t.Run(name, examples[name])
	}
}

const examplesFolder = "../examples"

// exampleFile is a file of an example.
func exampleFile(t *testing.T, name, file string) string {
	t.Helper()
	return strings.ReplaceAll(read(t, filepath.Join(examplesFolder, name, file)), "\r\n", "\n")
}

func TestEveryExampleIsWhole(t *testing.T) {
	entries, err := os.ReadDir(examplesFolder)
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, entry := range entries {
		folders = append(folders, entry.Name())
	}
	if known := slices.Sorted(maps.Keys(examples)); !slices.Equal(folders, known) {
		t.Fatalf("examples/ has %q, and tests run %q", folders, known)
	}
	index := read(t, "../docs/recipes.md")
	for _, name := range folders {
		t.Run(name, func(t *testing.T) {
			page := exampleFile(t, name, "README.md")
			for _, part := range []string{"# ", "\n## Start\n", "(Caddyfile)", "`caddy run`", "\n## What to expect\n\n| request | with | answer |\n|---|---|---|\n"} {
				if !strings.Contains(page, part) && (name != "kubernetes" || part != "`caddy run`") {
					t.Errorf("README.md does not have %q", part)
				}
			}
			if !strings.Contains(index, "](../examples/"+name+"/README.md)") {
				t.Error("docs/recipes.md does not link it")
			}
			text := exampleFile(t, name, "Caddyfile")
			adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
			if err != nil || len(warnings) > 0 {
				t.Fatalf("adapting: %v %v", warnings, err)
			}
			// The files of a pod are not here.
			pod := regexp.MustCompile(`,"(ca|fetch_token_file)":"/var/run/[^"]+"`)
			config := new(caddy.Config)
			if err := caddy.StrictUnmarshalJSON(pod.ReplaceAll(adapted, nil), config); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(config); err != nil {
				t.Errorf("validating: %v", err)
			}
		})
	}
}

// A page shows some lines of an example, and they are the same there. The example may have
// more in the block that ends them.
func TestPagesShowWhatExamplesHave(t *testing.T) {
	for heading, name := range map[string]string{
		"Microsoft Entra ID": "entra", "Keycloak": "keycloak", "Auth0": "auth0", "Okta": "okta", "Kubernetes workloads": "kubernetes",
		"Deploys from GitHub Actions":                                  "github-actions",
		"Behind another proxy":                                         "behind-proxy",
		"An MCP server, or any API whose clients must find the issuer": "mcp",
		"Gatehouse as another proxy's check":                           "forward-auth",
	} {
		shown := strings.TrimSuffix(strings.TrimSpace(plainLines(recipe(t, heading, 1))), "\n}")
		if !strings.Contains(plainLines(exampleFile(t, name, "Caddyfile")), "\n"+shown+"\n") {
			t.Errorf("%s: examples/%s/Caddyfile does not have these lines:\n%s", heading, name, shown)
		}
	}
}

// plainLines are the lines of a Caddyfile without indentation and comments.
func plainLines(text string) string {
	text = regexp.MustCompile(`(?m)^[ \t]*(#.*\n)?|[ \t]+#.*$`).ReplaceAllString(text, "")
	return "\n" + text + "\n"
}

// runExample runs an example with the options that every test needs. The first of
// each pair of vars is replaced by the second.
func runExample(t *testing.T, name string, vars ...string) *gateway {
	t.Helper()
	text, found := strings.CutPrefix(exampleFile(t, name, "Caddyfile"), "{\n")
	if !found {
		t.Fatal("the Caddyfile does not begin with global options")
	}
	return start(t, "{\n\tGLOBALS\n"+text, vars...)
}

// site replaces a site's address by the one under which the test reaches it, and the
// upstream's by that of the test's.
func site(address, upstream, url string) []string {
	return []string{"\n" + address + " {", "\nhttp://SITE {\n\tbind 127.0.0.1", upstream, strings.TrimPrefix(url, "http://")}
}

// expect makes the requests that the README.md of an example speaks of. By its words,
// who says what each of them is sent with.
func expect(t *testing.T, name string, g *gateway, who map[string]edit) {
	t.Helper()
	expectFrom(t, name, who, func(method, path string, edits ...edit) answer { return g.send(method, path, edits...) })
}

func expectFrom(t *testing.T, name string, who map[string]edit, send func(method, path string, edits ...edit) answer) {
	t.Helper()
	_, table, _ := strings.Cut(exampleFile(t, name, "README.md"), "\n## What to expect\n")
	table, _, _ = strings.Cut(table, "\n## ")
	row := regexp.MustCompile("(?m)^\\| `([A-Z]+) ([^`]+)` \\| ([^|]+) \\| (\\d{3})([^|]*) \\|$")
	spoken := map[string]bool{}
	rows := row.FindAllStringSubmatch(table, -1)
	for _, cells := range rows {
		method, path, with, rest := cells[1], cells[2], cells[3], cells[5]
		edit, known := who[with]
		if spoken[with] = true; !known {
			t.Errorf("the test does not know %q", with)
			continue
		}
		status, _ := strconv.Atoi(cells[4])
		got := send(method, path, edit)
		challenge := got.header.Get("WWW-Authenticate")
		if got.status != status {
			t.Errorf("%s %s, %s: got %d %q, want %d (%s)", method, path, with, got.status, got.body, status, challenge)
		}
		for _, said := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(rest, -1) {
			if !strings.Contains(challenge, said[1]) && !saw(got.body, said[1]) {
				t.Errorf("%s %s, %s: the answer does not have %q: %q %s", method, path, with, said[1], got.body, challenge)
			}
		}
	}
	if lines := strings.Count(table, "\n| `"); len(rows) != lines || lines < 5 {
		t.Errorf("the table has %d rows, of which %d could be read", lines, len(rows))
	}
	for with := range who {
		if !spoken[with] {
			t.Errorf("README.md does not speak of %q", with)
		}
	}
}

// saw tells whether the upstream saw a header, given as `Name: value`.
func saw(body, line string) bool {
	name, value, _ := strings.Cut(line, ": ")
	var seen upstream.Seen
	return json.Unmarshal([]byte(body), &seen) == nil && slices.Equal(seen.Headers.Values(name), []string{value})
}

// nothing leaves a request as it is.
func nothing(*http.Request) {}

package command

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What the shell is to offer besides: its files, or nothing.
const (
	files   = ":0"
	nothing = ":4"
)

// completions asks as the scripts of `caddy completion` do; the last word is what
// is being typed.
func (s *shell) completions(words ...string) (found []string, directive string) {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	caddy := s.caddy()
	typed := len(words) - 1
	if typed > 0 && strings.HasPrefix(words[typed-1], "--") {
		typed-- // a flag and its value
	}
	caddy.SetArgs(slices.Concat([]string{cobra.ShellCompRequestCmd, "gatehouse"}, words[:typed], s.connection, words[typed:]))
	caddy.SetOut(&stdout)
	caddy.SetErr(&stderr)
	if err := caddy.Execute(); err != nil {
		s.t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	return lines[:len(lines)-1], lines[len(lines)-1]
}

func (s *shell) wantCompletions(directive string, want []string, words ...string) {
	s.t.Helper()
	if got, given := s.completions(words...); !slices.Equal(got, want) || given != directive {
		s.t.Errorf("%q: got %q %s; want %q %s", words, got, given, want, directive)
	}
}

func TestCompletionAsksTheServer(t *testing.T) {
	g, s := newSite(t)
	g.issuers = `[{"name":"acme","issuer":"https://login.acme.example"},{"name":"$(touch x)"},{"name":"github"}]`
	g.add("ci-build", "active", nil)
	g.add("ci-deploy", "active", map[string]any{"name": "CI\tdeploys"})
	g.add("cron", "active", nil)
	g.add("$(touch x)", "active", map[string]any{"id": "5b0e3c0e-8b0e-5a5e-9a52-0d7d3a0f9f11"})

	both := []string{"ci-build", `ci-deploy` + "\t" + `CI\tdeploys`}
	for _, command := range []string{"show", "set", "enable", "disable", "delete"} {
		s.wantCompletions(nothing, both, "service-account", command, "ci-")
		if command != "set" { // of which one more flag is required
			s.wantCompletions(nothing, nil, "service-account", command, "ci-build", "")
		}
		s.wantCompletions(nothing, []string{"github"}, "service-account", command, "ci-build", "--issuer", "g")
	}
	s.wantCompletions(nothing, both, "service-account", "confirm", "--issuer", "acme", "ci-")
	g.got()
	s.wantCompletions(nothing, nil, "service-account", "show", "--issuer", "acme", "nobody")
	g.wantAsked("GET /api/serviceaccounts?after=nobody&issuer=acme&limit=100")

	// Bash would run what stands in a subject. Its id names the account as well.
	got, _ := s.completions("service-account", "show", "")
	if len(got) != 4 || got[0] != "5b0e3c0e-8b0e-5a5e-9a52-0d7d3a0f9f11\t$(touch x)" {
		t.Errorf("got %q", got)
	}
	for _, words := range [][]string{{"keys", "refresh", ""}, {"service-account", "list", "--issuer", ""}} {
		s.wantCompletions(nothing, []string{"acme\thttps://login.acme.example", "github"}, words...)
	}
	for _, words := range [][]string{
		{"service-account", "create", "x", "--issuer", "a"}, {"service-account", "export", "--issuer", "a"}, {"service-account", "confirm", "--issuer", "a"},
	} {
		s.wantCompletions(nothing, []string{"acme\thttps://login.acme.example"}, words...)
	}

	// Without an answer there is nothing to suggest, and nothing in the way.
	g.token = "another"
	s.wantCompletions(nothing, nil, "service-account", "show", "ci-")
	g.server.Close()
	s.wantCompletions(nothing, nil, "keys", "refresh", "")
}

// TestCompletionSendsNoTokenUnencrypted holds although the command itself would,
// after a warning.
func TestCompletionSendsNoTokenUnencrypted(t *testing.T) {
	s := newShell(t)
	s.env[tokenVariable] = goodToken
	s.connection = []string{"--address", "http://192.0.2.1"}
	s.wantCompletions(nothing, nil, "service-account", "show", "")
}

func TestCompletionOfValues(t *testing.T) {
	s := newShell(t)
	for _, c := range []struct{ words, want []string }{
		{[]string{"keygen", "--type", ""}, []string{"ed25519", "rsa", "ecdsa"}},
		{[]string{"sign", "--type", ""}, []string{"oss", "enterprise"}},
		{[]string{"sign", "--version", ""}, []string{"1", "2"}},
		{[]string{"service-account", "create", "--by", ""}, []string{"subject", "client", "either"}},
		{[]string{"service-account", "set", "--by", ""}, []string{"subject", "client", "either"}},
		{[]string{"service-account", "import", "--mode", ""}, []string{"create", "upsert"}},
		{[]string{"service-account", "repair", "--keep", ""}, []string{"node", "storage"}},
		{[]string{"sso-url", "--response-type", ""}, []string{"code", "token"}},
	} {
		s.wantCompletions(nothing, c.want, c.words...)
	}
}

// TestCompletionOffersFilesOnlyForFiles asks for every flag and argument that there
// is.
func TestCompletionOffersFilesOnlyForFiles(t *testing.T) {
	s := newShell(t)
	s.connection = []string{"--address", "unix//nowhere"}
	gatehouse, _, err := s.caddy().Find([]string{"gatehouse"})
	if err != nil {
		t.Fatal(err)
	}
	offered := map[string]string{}
	walk(gatehouse, func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[2:]
		asker := *s
		if cmd.Flags().Lookup("address") == nil && cmd.InheritedFlags().Lookup("address") == nil {
			asker.connection = nil
		}
		_, offered[strings.Join(path, " ")] = asker.completions(append(path, "")...)
		ask := func(f *pflag.Flag) {
			if f.Value.Type() != "bool" {
				_, offered["--"+f.Name] = asker.completions(append(path, "--"+f.Name, "")...)
			}
		}
		cmd.NonInheritedFlags().VisitAll(ask)
		cmd.InheritedFlags().VisitAll(ask)
	})
	var got []string
	for what, directive := range offered {
		if directive == files {
			got = append(got, what)
		} else if directive != nothing {
			t.Errorf("%s: %s", what, directive)
		}
	}
	slices.Sort(got)
	want := []string{
		"--config", "--key", "--out", "--passphrase-file", "--token-file", "--trusted-key",
		"inspect", "install", "service-account import", "verify",
	}
	if !slices.Equal(got, want) {
		t.Errorf("files are offered for %q; want %q", got, want)
	}
}

const pageFile = "../../docs/commands.md"

const pageIntroduction = `# Commands

What Gatehouse adds to Caddy's command line, in the words of each command's
` + "`--help`" + `. This page is made from them by
` + "`go test ./caddymodule/command -run TestCommandsPage -update`" + `.

Completion for the shell comes from Caddy: ` + "`caddy completion --help`" + ` says how to load it.
`

// TestCommandsPage holds the page of the documentation against --help.
func TestCommandsPage(t *testing.T) {
	s := newShell(t)
	gatehouse, _, err := s.caddy().Find([]string{"gatehouse"})
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.WriteString(pageIntroduction)
	walk(gatehouse, func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())
		help := s.must(append(path[2:], "--help")...).stdout
		page.WriteString("\n## " + strings.Join(path, " ") + "\n\n" + cmd.Short + ".\n\n```text\n" + strings.TrimSpace(help) + "\n```\n")
	})
	if *update {
		if err := os.WriteFile(pageFile, []byte(page.String()), 0o644); err != nil { //nolint:gosec // A page for everybody.
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(string(there), "\r\n", "\n") != page.String() {
		t.Errorf("%s is not what --help says; write it anew with -update", pageFile)
	}
}

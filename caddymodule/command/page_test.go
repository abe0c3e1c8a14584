package command

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

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

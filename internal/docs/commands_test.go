package docs_test

import (
	"regexp"
	"strings"
	"testing"
)

// What the pages say to run are commands and flags that there are. docs/commands.md
// is made from their --help.
func TestCommandsAreThere(t *testing.T) {
	const page = "docs/commands.md"
	help := map[string]string{}
	for _, part := range strings.Split(read(t, page), "\n## ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		help[name] = text
	}
	checked := 0
	for _, name := range pages(t) {
		if name == page {
			continue
		}
		text := strings.ReplaceAll(read(t, name), "\\\n", " ")
		for _, line := range regexp.MustCompile("caddy gatehouse[^\n`|#]*").FindAllString(text, -1) {
			command, words := "caddy gatehouse", strings.Fields(line)[2:]
			for len(words) > 0 && help[command+" "+words[0]] != "" {
				command, words = command+" "+words[0], words[1:]
			}
			if command == "caddy gatehouse" && len(words) > 0 && words[0] != "…" && words[0] != "--help" {
				t.Errorf("%s: %s is no command", name, line)
			}
			for _, word := range words {
				flag, _, _ := strings.Cut(word, "=")
				if strings.HasPrefix(flag, "--") && !regexp.MustCompile(regexp.QuoteMeta(flag)+`\b`).MatchString(help[command]) {
					t.Errorf("%s: %s has no flag %s", name, command, flag)
				}
			}
			checked++
		}
	}
	if checked < 20 {
		t.Errorf("found %d commands, want more", checked)
	}
}

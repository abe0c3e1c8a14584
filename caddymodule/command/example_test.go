package command

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// walk visits every command below gatehouse, and gatehouse.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, child := range cmd.Commands() {
		if child.Name() != "help" && child.Name() != "completion" {
			walk(child, visit)
		}
	}
}

// TestExamplesParse takes every example line through the parser of flags and
// arguments, up to where the command would start.
func TestExamplesParse(t *testing.T) {
	s := newShell(t)
	gatehouse, _, err := s.caddy().Find([]string{"gatehouse"})
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	walk(gatehouse, func(cmd *cobra.Command) {
		if cmd.Example == "" {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for example := range strings.Lines(cmd.Example) {
			count++
			parseExample(t, s.caddy(), cmd.CommandPath(), strings.TrimSpace(example))
		}
	})
	if count < 30 {
		t.Errorf("found %d examples; want 30 or more", count)
	}
}

func parseExample(t *testing.T, caddy *cobra.Command, of, example string) {
	t.Helper()
	words := shellWords(t, example)
	if words[0] != "caddy" {
		t.Errorf("%s: %s does not begin with caddy", of, example)
		return
	}
	cmd, rest, err := caddy.Find(words[1:])
	if err != nil {
		t.Errorf("%s: %s: %v", of, example, err)
		return
	}
	if !strings.HasPrefix(cmd.CommandPath(), of) {
		t.Errorf("%s: %s is an example of %s", of, example, cmd.CommandPath())
	}
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("%s: %s: %v", of, example, err)
		return
	}
	for _, check := range []func() error{
		func() error { return cmd.ValidateArgs(cmd.Flags().Args()) }, cmd.ValidateRequiredFlags, cmd.ValidateFlagGroups,
	} {
		if err := check(); err != nil {
			t.Errorf("%s: %s: %v", of, example, err)
		}
	}
}

// shellWords splits a line as a shell does, up to the first redirection.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	var words []string
	for rest := line; rest != ""; {
		rest = strings.TrimLeft(rest, " ")
		word := ""
		for rest != "" && rest[0] != ' ' {
			if rest[0] != '\'' {
				word, rest = word+rest[:1], rest[1:]
				continue
			}
			quoted, after, ok := strings.Cut(rest[1:], "'")
			if !ok {
				t.Fatalf("%s: a quote is not closed", line)
			}
			word, rest = word+quoted, after
		}
		if word == "<" || word == ">" {
			break
		}
		words = append(words, word)
	}
	return words
}

// TestHelp asks every command for its help: on stdout, with an example, and
// without an error.
func TestHelp(t *testing.T) {
	s := newShell(t)
	gatehouse, _, err := s.caddy().Find([]string{"gatehouse"})
	if err != nil {
		t.Fatal(err)
	}
	walk(gatehouse, func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[2:]
		r := s.must(append(path, "--help")...)
		for _, part := range []string{"Usage:", "Examples:", "caddy gatehouse"} {
			if !strings.Contains(r.stdout, part) {
				t.Errorf("the help of %s does not hold %q", cmd.CommandPath(), part)
			}
		}
		if r.stderr != "" {
			t.Errorf("the help of %s goes to stderr: %s", cmd.CommandPath(), r.stderr)
		}
		if cmd.Short == "" || cmd.Long == "" {
			t.Errorf("%s is not described", cmd.CommandPath())
		}
	})
}

// TestEveryCommandSpeaksJSON holds for all that print a result.
func TestEveryCommandSpeaksJSON(t *testing.T) {
	s := newShell(t)
	gatehouse, _, _ := s.caddy().Find([]string{"gatehouse"})
	groups := []string{"gatehouse", "license", "service-account", "revocations", "token"}
	walk(gatehouse, func(cmd *cobra.Command) {
		for _, name := range groups {
			if cmd.Name() == name {
				return
			}
		}
		if cmd.Flags().Lookup("json") == nil {
			t.Errorf("%s has no --json", cmd.CommandPath())
		}
	})
}

func TestCommandIsFitForCaddy(t *testing.T) {
	c := Command()
	if c.Name != "gatehouse" || c.Short == "" || c.Long == "" || c.CobraFunc == nil {
		t.Errorf("got %+v", c)
	}
	cmd := &cobra.Command{Use: c.Name + " " + c.Usage}
	c.CobraFunc(cmd)
	want := "install keygen keys inspect licenses service-account sign sso-url status token verify"
	for _, name := range strings.Fields(want) {
		if found, _, err := cmd.Find([]string{name}); err != nil || found.Name() != name {
			t.Errorf("there is no command %s: %v", name, err)
		}
	}
}

func TestGroupsNeedACommand(t *testing.T) {
	s := newShell(t)
	for _, path := range [][]string{{}, {"service-account"}, {"token"}} {
		if r := s.must(path...); !strings.Contains(r.stdout, "Usage:") {
			t.Errorf("%v shows no help: %s", path, r.stdout)
		}
		s.fails([]string{"unknown command \"frobnicate\"", "want one of"}, append(path, "frobnicate")...)
	}
	s.fails([]string{"unknown command \"frobnicate\"", "want one of refresh"}, "keys", "frobnicate")
	s.fails([]string{"unknown command \"sttaus\"", "status"}, "sttaus", "--address", "127.0.0.1:1", "--json")
	s.fails([]string{"unknown command \"lst\"", "list"}, "service-account", "lst", "--json")
	s.fails([]string{"unknown flag: --frobnicate"}, "status", "--frobnicate")
	s.fails([]string{"unknown flag: --frobnicate"}, "--frobnicate")
}

func TestUnknownFlagsAndArguments(t *testing.T) {
	s := newShell(t)
	for _, args := range [][]string{
		{"keygen", "--frob"}, {"keygen", "--out", "x", "surplus"}, {"sign", "surplus"}, {"status", "surplus"},
		{"licenses", "surplus"}, {"sso-url", "--product", "p", "--account", "a", "surplus"}, {"token", "explain", "surplus"},
		{"keys", "refresh", "a", "b"}, {"service-account", "list", "surplus"}, {"service-account", "export", "surplus"},
		{"verify", "--trusted-key", "x", "a", "b"}, {"inspect", "a", "b"}, {"inspect", ""}, {"inspect"}, {"install"}, {"verify", "--trusted-key", "x"},
		{"service-account", "create"}, {"service-account", "show", ""}, {"service-account", "disable"},
		{"service-account", "enable", "a", "b"}, {"service-account", "delete"}, {"service-account", "import"},
		{"keys", "refresh", ""},
	} {
		s.fails([]string{"Error: "}, args...)
	}
}

// Package command is `caddy gatehouse …`: making and reading licenses offline,
// and asking a running server through its HTTP API.
//
// Results go to stdout, as a table for people or, with --json, as JSON for
// programs; errors, warnings, prompts and progress go to stderr. A command that
// did not do what it was asked for exits with a status other than 0 and leaves
// no file behind.
//
// What other people wrote (a license's description, a server's message) is
// shown without control characters, which a terminal would interpret.
// Tokens, passphrases and private keys are read from files, the environment or
// stdin, never from arguments, and never shown.
//
// Decisions about tokens and licenses, and the HTTP API itself, have no place here.
// The package knows the server by its answers only, and ignores members that it
// does not know.
package command

import (
	"fmt"
	"os"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Command is the command gatehouse with all that is below it, for
// [caddycmd.RegisterCommand].
func Command() caddycmd.Command {
	p := &program{now: time.Now, getenv: os.Getenv, terminal: isTerminal, secret: readSecret}
	p.open = func(address string) error { return openBrowser(p.getenv, address) }
	return caddycmd.Command{
		Name:  "gatehouse",
		Usage: "<command>",
		Short: "Makes licenses, and manages a running Gatehouse",
		Long: `
Makes and reads licenses without a server (keygen, sign, verify, inspect), and manages a
running Gatehouse, by default through Caddy's admin endpoint (all other commands).

The latter find the server as Caddy's own commands do, by --address or --config, and send
the bearer token of --token-file or of the environment variable GATEHOUSE_TOKEN. Without a
token the server lets them in only if its configuration says trust_admin_endpoint.

Results are printed on stdout, as a table or with --json as JSON; all else on stderr.
Nothing is colored, with or without NO_COLOR, and a progress bar is drawn on a terminal
only.

Exits with 0 on success and with 1 on an error: a wrong command line, a refusal of the
server, a license that is not valid. The reason is on stderr.

The shell completes commands, flags and values, as ` + "`caddy completion --help`" + ` says; where a
running server lets it, subjects of service accounts and names of issuers as well.
`,
		CobraFunc: p.root,
	}
}

// program is what the commands need of the process around them.
type program struct {
	now      func() time.Time
	getenv   func(string) string
	terminal func(stream any) bool
	secret   func(stream any) ([]byte, error) // reads a line without showing it
	open     func(address string) error       // shows it in a browser
}

func (p *program) root(cmd *cobra.Command) {
	group(cmd)
	cmd.Example = `  caddy gatehouse keygen --out vendor.key
  caddy gatehouse status
  caddy gatehouse service-account disable ci-deploy`
	cmd.AddCommand(
		p.keygen(), p.sign(), p.verify(), p.inspect(),
		p.install(), p.license(), p.licenses(), p.status(),
		p.serviceAccount(), p.revoke(), p.tokenRevocations(), p.ssoURL(), p.token(), p.keys(),
	)
	finish(cmd)
}

// group makes cmd a command that only has others below it. Alone it shows its help.
// An unknown word is an error, which Cobra would ignore.
func group(cmd *cobra.Command) {
	unknown := func(word string) error {
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		return fmt.Errorf("unknown command %.40q; want one of %s", word, strings.Join(names, ", "))
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknown(args[0])
	}
	// Of a misspelt command with a flag, the flag is right. Those below inherit this.
	cmd.SetFlagErrorFunc(func(at *cobra.Command, err error) error {
		if words := at.Flags().Args(); at == cmd && len(words) > 0 {
			return unknown(words[0])
		}
		return err
	})
}

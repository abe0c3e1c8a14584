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
	return caddycmd.Command{
		Name:  "gatehouse",
		Usage: "<command>",
		Short: "Makes licenses, and looks after a running Gatehouse",
		Long: `
Makes and reads licenses (keygen, sign, verify, inspect: no server is needed), and
looks after a running Gatehouse through Caddy's admin endpoint (all others).

Those that ask a running server find it as Caddy's own commands do, by --address or
--config, and send the bearer token of --token-file or of the environment variable
GATEHOUSE_TOKEN. Without a token they are let in only where the configuration says
trust_admin_endpoint.

Results are printed on stdout, as a table or with --json as JSON; all else on stderr.
`,
		CobraFunc: p.root,
	}
}

// program is what the commands need of the world around them.
type program struct {
	now      func() time.Time
	getenv   func(string) string
	terminal func(stream any) bool
	secret   func(stream any) ([]byte, error) // reads a line without showing it
}

func (p *program) root(cmd *cobra.Command) {
	group(cmd)
	cmd.Example = `  caddy gatehouse keygen --out vendor.key
  caddy gatehouse status
  caddy gatehouse service-account disable ci-deploy`
	cmd.AddCommand(
		p.keygen(), p.sign(), p.verify(), p.inspect(),
		p.install(), p.licenses(), p.status(),
		p.serviceAccount(), p.ssoURL(), p.token(), p.keys(),
	)
}

// group makes cmd a command that only holds others. Alone it shows its help; a
// word that is none of its commands is an error, which Cobra would pass over.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return fmt.Errorf("unknown command %.40q; want one of %s", args[0], strings.Join(commandNames(cmd), ", "))
	}
}

func commandNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

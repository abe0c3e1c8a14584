package command

import "github.com/spf13/cobra"

// token is the command that holds those about bearer tokens.
func (p *program) token() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Explains bearer tokens",
		Long:    "\nExplains why a running server lets a bearer token in, or keeps it out.\n",
		Example: `  caddy gatehouse token explain < token.jwt`,
	}
	group(cmd)
	cmd.AddCommand(p.tokenExplain())
	return cmd
}

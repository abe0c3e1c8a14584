package command

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) keys() *cobra.Command {
	var c connection
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Shows issuers and the keys they sign with",
		Long: `
Shows the issuers of a running server, where their keys come from, how old they are and
what went wrong last; then the keys. The command refresh below it fetches them anew.

It needs a token of the admin group.
`,
		Example: `  caddy gatehouse keys
  caddy gatehouse keys --json --token-file admin.token
  caddy gatehouse keys refresh acme`,
	}
	group(cmd)
	c.flags(cmd.PersistentFlags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	unknown := cmd.RunE
	show := p.asking(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		issuers, text, err := s.issuers(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), json.RawMessage(text))
		}
		return p.printKeys(cmd, issuers)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(cmd, args)
		}
		return show(cmd, args)
	}
	cmd.AddCommand(p.keysRefresh(&c))
	return cmd
}

func (p *program) printKeys(cmd *cobra.Command, issuers []issuerStatus) error {
	issuerRows := p.issuerTable(issuers)
	keyRows := table{header: []string{"ISSUER", "KEY ID", "TYPE", "ALGORITHM", "USE"}}
	for _, s := range issuers {
		for _, k := range s.Keys {
			keyRows.add(s.Name, clip(k.ID), k.Type, k.Algorithm, k.Use)
		}
	}
	if err := issuerRows.print(cmd.OutOrStdout()); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
		return err
	}
	return keyRows.print(cmd.OutOrStdout())
}

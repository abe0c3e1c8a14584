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
	if err := keyRows.print(cmd.OutOrStdout()); err != nil {
		return err
	}
	return printKeyNotes(cmd, issuers)
}

// printKeyNotes says what is particular about keys, where anything is.
func printKeyNotes(cmd *cobra.Command, issuers []issuerStatus) error {
	notes := table{header: []string{"ISSUER", "NOTE"}}
	for _, s := range issuers {
		for _, ignored := range s.Ignored {
			notes.add(s.Name, ignored+", and is not used")
		}
		for _, k := range s.Keys {
			if !k.ServesUntil.IsZero() {
				notes.add(s.Name, "the last set lacks "+clip(k.ID)+", which serves until "+date(k.ServesUntil.Time))
			}
		}
	}
	if len(notes.rows) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(cmd.OutOrStdout()); err != nil {
		return err
	}
	return notes.print(cmd.OutOrStdout())
}

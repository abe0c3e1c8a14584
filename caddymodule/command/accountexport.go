package command

import (
	"bufio"
	"context"
	"encoding/json"

	"github.com/spf13/cobra"
)

func (p *program) accountExport(c *connection) *cobra.Command {
	var declared bool
	var from accountFrom
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Prints all service accounts as JSON lines",
		Long: `
Prints the stored service accounts of a running server as JSON lines, which the command
import takes. Accounts that are declared in the configuration are not stored and cannot
be imported beside it; they are left out unless asked for.
`,
		Example: `  caddy gatehouse service-account export > accounts.jsonl
  caddy gatehouse service-account export --declared --token-file admin.token`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&declared, "declared", false, "Also those that are declared in the configuration")
	cmd.Flags().StringVar(&from.issuer, "issuer", "", "Only those of the issuer with this configured name")
	cmd.Flags().Bool("json", true, "The output is JSON lines anyway")
	cmd.RunE = p.asking(c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		out := bufio.NewWriter(cmd.OutOrStdout())
		left := 0
		err := s.accounts(ctx, from, 0, func(page []json.RawMessage) error {
			for _, raw := range page {
				var a accountInfo
				if err := s.read(raw, &a); err != nil {
					return err
				}
				if a.CreatedAt.IsZero() && !declared {
					left++
					continue
				}
				line, err := compactJSON(raw)
				if err != nil {
					return err
				}
				if _, err := out.Write(line); err != nil {
					return err
				}
			}
			return out.Flush()
		})
		if err == nil && left > 0 {
			note(cmd.ErrOrStderr(), "note: left out what the configuration declares: %s (--declared shows them)", count(left, "account"))
		}
		return err
	})
	return cmd
}

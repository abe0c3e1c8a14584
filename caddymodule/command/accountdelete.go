package command

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"
)

func (p *program) accountDelete(c *connection) *cobra.Command {
	var asJSON bool
	var ref accountRef
	cmd := &cobra.Command{
		Use:   "delete SUBJECT",
		Short: "Forgets a machine",
		Long: `
Deletes the service account with that subject or id. Its tokens are then refused where
accounts must be registered; to keep a machine out in any case, disable it.
`,
		Example: `  caddy gatehouse service-account delete ci-deploy
  caddy gatehouse service-account delete --json 5b0e3c0e-8b0e-5a5e-9a52-0d7d3a0f9f11`,
		Args: one(subjectArgument),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	ref.flags(cmd.Flags())
	cmd.RunE = p.asking(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		ref.key = args[0]
		a, err := ref.ask(http.MethodDelete)
		if err != nil {
			return err
		}
		if _, err := s.fetch(ctx, a); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]string{"subject": args[0], "result": "deleted"})
		}
		t := table{}
		t.add("Deleted", args[0])
		return t.print(cmd.OutOrStdout())
	})
	return cmd
}

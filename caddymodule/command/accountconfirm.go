package command

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/spf13/cobra"
)

func (p *program) accountConfirm(c *connection) *cobra.Command {
	var issuer string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "confirm --issuer NAME [SUBJECT]",
		Short: "Lets accounts count for the issuer that has the name now",
		Long: `
An account remembers what its issuer's name stood for when it was registered. Where the
name stands for another issuer now, the account lets nobody in. This says that the issuer
of now is meant, by all accounts of that name or by one: as after a move of the issuer to
another address.
`,
		Example: `  caddy gatehouse service-account confirm --issuer acme
  caddy gatehouse service-account confirm --issuer acme ci-deploy --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] == "" {
				return errors.New("want one SUBJECT, of an account or its id, or none for all of the issuer")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&issuer, "issuer", "", "Configured name of the issuer (required)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	require(cmd, "issuer")
	cmd.RunE = p.asking(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		asked := map[string]string{"issuer": issuer}
		if len(args) == 1 {
			asked["subject"] = args[0]
		}
		body, err := json.Marshal(asked)
		if err != nil {
			return err
		}
		var done struct {
			Confirmed int `json:"confirmed"`
		}
		a := ask{method: http.MethodPost, path: accountsPath + ":confirm", body: body, wait: importWait}
		text, err := s.get(ctx, a, &done)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), json.RawMessage(text))
		}
		t := table{}
		t.add("Confirmed", count(done.Confirmed, "account"))
		return t.print(cmd.OutOrStdout())
	})
	return cmd
}

package command

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"
)

func (p *program) accountShow(c *connection) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show SUBJECT",
		Short: "Shows a service account",
		Long:  "\nShows the service account with that subject or id.\n",
		Example: `  caddy gatehouse service-account show ci-deploy
  caddy gatehouse service-account show --json 'auth0|5f7c8ec7c33c6c004bbafe82'`,
		Args: one(subjectArgument),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.asking(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		path, err := accountPath(args[0])
		if err != nil {
			return err
		}
		text, err := s.fetch(ctx, ask{method: http.MethodGet, path: path})
		if err != nil {
			return err
		}
		return p.printAccount(cmd, s, text, asJSON)
	})
	return cmd
}

package command

import (
	"context"
	"net/http"

	"github.com/spf13/cobra"
)

func (p *program) accountShow(c *connection) *cobra.Command {
	var asJSON bool
	var ref accountRef
	cmd := &cobra.Command{
		Use:   "show SUBJECT",
		Short: "Shows a service account",
		Long:  "\nShows the service account with that subject or id.\n",
		Example: `  caddy gatehouse service-account show ci-deploy
  caddy gatehouse service-account show --json --issuer auth0 'auth0|5f7c8ec7c33c6c004bbafe82'`,
		Args: one(subjectArgument),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	ref.flags(cmd.Flags())
	cmd.RunE = p.asking(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		ref.key = args[0]
		a, err := ref.ask(http.MethodGet)
		if err != nil {
			return err
		}
		text, err := s.fetch(ctx, a)
		if err != nil {
			return err
		}
		if err := p.printAccount(cmd, s, text, asJSON); err != nil || asJSON {
			return err
		}
		return s.noteUnconfirmed(ctx, cmd, text)
	})
	return cmd
}

// noteUnconfirmed tells if the account is for an issuer that had the name of one
// that is configured now.
func (s *server) noteUnconfirmed(ctx context.Context, cmd *cobra.Command, text []byte) error {
	var a accountInfo
	if err := s.read(text, &a); err != nil || a.Identifier == "" {
		return err
	}
	known, err := s.issuerNames(ctx)
	if err != nil {
		return err
	}
	if now := known.Identifier(a.Issuer); now != "" && now != a.Identifier {
		note(cmd.ErrOrStderr(), "warning: %s is %s now, so the account lets nobody in; if that issuer is meant: caddy gatehouse service-account confirm --issuer %s", a.Issuer, now, a.Issuer)
	}
	return nil
}

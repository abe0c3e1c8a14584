package command

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// toggle is the difference between enable and disable.
type toggle struct {
	name, short, long string
	status            account.Status
}

var (
	switchOn = toggle{
		name: "enable", status: account.StatusActive,
		short: "Lets a machine in again",
		long:  "\nMakes the service account with that subject or id active: its tokens are good again.\n",
	}
	switchOff = toggle{
		name: "disable", status: account.StatusInactive,
		short: "Keeps a machine out, from its next request on",
		long: `
Makes the service account with that subject or id inactive: its next request is refused
and its open streams are closed, on every node.
`,
	}
)

func (p *program) accountSwitch(c *connection, t toggle) *cobra.Command {
	var asJSON bool
	var ref accountRef
	cmd := &cobra.Command{
		Use:   t.name + " SUBJECT",
		Short: t.short,
		Long:  t.long,
		Example: "  caddy gatehouse service-account " + t.name + " ci-deploy\n" +
			"  caddy gatehouse service-account " + t.name + " --json repo:acme/shop:ref:refs/heads/main",
		Args: one(subjectArgument),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	ref.flags(cmd.Flags())
	cmd.RunE = p.asking(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		ref.key = args[0]
		text, err := s.setStatus(ctx, cmd, ref, t.status)
		if err != nil {
			return err
		}
		return p.printAccount(cmd, s, text, asJSON)
	})
	return cmd
}

// setStatus gives the account another status, and says so if it has it already.
func (s *server) setStatus(ctx context.Context, cmd *cobra.Command, ref accountRef, status account.Status) ([]byte, error) {
	was := status
	text, err := s.change(ctx, ref, func(now *accountInfo) (members, error) {
		was = now.Status
		return members{"status": status}, nil
	})
	if err != nil {
		return nil, err
	}
	var after accountInfo
	if err := s.read(text, &after); err != nil {
		return nil, err
	}
	if after.Status != status {
		return nil, fmt.Errorf("%s answered that %s is %.20q; want %s", s.place, plain(ref.key), after.Status, status)
	}
	if was == status {
		note(cmd.ErrOrStderr(), "note: %s is %s already", after.Subject, status)
	}
	return text, nil
}

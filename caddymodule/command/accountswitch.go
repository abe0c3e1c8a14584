package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

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
	cmd := &cobra.Command{
		Use:   t.name + " SUBJECT",
		Short: t.short,
		Long:  t.long,
		Example: "  caddy gatehouse service-account " + t.name + " ci-deploy\n" +
			"  caddy gatehouse service-account " + t.name + " --json repo:acme/shop:ref:refs/heads/main",
		Args: one(subjectArgument),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.asking(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		text, err := s.setStatus(ctx, cmd, args[0], t.status)
		if err != nil {
			return err
		}
		return p.printAccount(cmd, s, text, asJSON)
	})
	return cmd
}

// setStatus reads the account and writes it back with another status and all
// else as it was. A conflict is not tried again: it means that the account is
// declared in the configuration, which no second request changes.
func (s *server) setStatus(ctx context.Context, cmd *cobra.Command, key string, status account.Status) ([]byte, error) {
	path, err := accountPath(key)
	if err != nil {
		return nil, err
	}
	var now accountInfo
	text, err := s.get(ctx, ask{method: http.MethodGet, path: path}, &now)
	if err != nil {
		return nil, err
	}
	if now.Status == status {
		note(cmd.ErrOrStderr(), "note: %s is %s already", now.Subject, status)
		return text, nil
	}
	body, err := s.withStatus(text, status)
	if err != nil {
		return nil, err
	}
	var after accountInfo
	text, err = s.get(ctx, ask{method: http.MethodPut, path: path, body: body}, &after)
	if err != nil {
		return nil, err
	}
	if after.Status != status {
		return nil, fmt.Errorf("%s answered that %s is %.20q; want %s", s.place, plain(key), after.Status, status)
	}
	return text, nil
}

// withStatus changes one member and keeps all others, whatever they are.
func (s *server) withStatus(text []byte, status account.Status) ([]byte, error) {
	members := map[string]json.RawMessage{}
	if err := s.read(text, &members); err != nil {
		return nil, err
	}
	value, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	members["status"] = value
	return json.Marshal(members)
}

package command

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// newAccount is the body that makes an account.
type newAccount struct {
	Subject   string         `json:"subject"`
	Name      string         `json:"name,omitempty"`
	Status    account.Status `json:"status"`
	Groups    []string       `json:"groups,omitempty"`
	Issuer    string         `json:"issuer,omitempty"`
	ExpiresAt string         `json:"expires_at,omitempty"`
}

func (p *program) accountCreate(c *connection) *cobra.Command {
	var expires string
	var groups []string
	var inactive, asJSON bool
	var made newAccount
	cmd := &cobra.Command{
		Use:   "create SUBJECT",
		Short: "Registers a machine",
		Long: `
Registers a machine by the subject (sub) of its tokens.
`,
		Example: `  caddy gatehouse service-account create ci-deploy --name 'CI deploys' --groups deployers,readers
  caddy gatehouse service-account create system:serviceaccount:prod:api --issuer cluster --expires-at 90d
  caddy gatehouse service-account create repo:acme/shop:ref:refs/heads/main --issuer github --expires-at 2027-01-31 --inactive --json`,
		Args: one("SUBJECT, that of the machine's tokens"),
	}
	f := cmd.Flags()
	f.StringVar(&made.Name, "name", "", "Name for people")
	f.StringVar(&made.Issuer, "issuer", "", "Configured name of the issuer of its tokens (default: the only one)")
	f.StringArrayVar(&groups, "groups", nil, "Groups it is given, separated by commas or repeated")
	f.StringVar(&expires, "expires-at", "", "When it stops being good: a time, a day, or a duration from now (default: never)")
	f.BoolVar(&inactive, "inactive", false, "Make it disabled")
	f.BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.asking(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		made.Subject, made.Status = args[0], account.StatusActive
		made.Groups = splitList(true, groups)
		if inactive {
			made.Status = account.StatusInactive
		}
		if cmd.Flags().Changed("expires-at") {
			at, err := p.parseMoment("expires_at", expires)
			if err != nil {
				return err
			}
			made.ExpiresAt = at.Format(time.RFC3339)
		}
		body, err := made.encode()
		if err != nil {
			return err
		}
		text, err := s.fetch(ctx, ask{method: http.MethodPost, path: accountsPath, body: body})
		if err != nil {
			return err
		}
		return p.printAccount(cmd, s, text, asJSON)
	})
	return cmd
}

// encode checks the account as the server will, as far as it can be known here.
func (n *newAccount) encode() ([]byte, error) {
	body, err := json.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	if _, err := account.Decode(body); err != nil {
		return nil, err
	}
	return body, nil
}

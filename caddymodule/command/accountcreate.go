package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
)

// newAccount is the body of a request that creates an account.
type newAccount struct {
	Subject   string         `json:"subject"`
	Name      string         `json:"name,omitempty"`
	Status    account.Status `json:"status"`
	Groups    []string       `json:"groups,omitempty"`
	Issuer    string         `json:"issuer,omitempty"`
	By        string         `json:"by,omitempty"`
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
Registers a machine by the subject (sub) or the client id of its tokens. Where it matters,
--by says which of the two SUBJECT is: a caller who is not known to be a machine is found
by accounts with --by subject only.
`,
		Example: `  caddy gatehouse service-account create ci-deploy --name 'CI deploys' --groups deployers,readers
  caddy gatehouse service-account create system:serviceaccount:prod:api --issuer cluster --expires-at 90d
  caddy gatehouse service-account create repo:acme/shop:ref:refs/heads/main --issuer github --expires-at 2027-01-31 --inactive --json`,
		Args: one("SUBJECT, that of the machine's tokens"),
	}
	f := cmd.Flags()
	f.StringVar(&made.Name, "name", "", "Name for people")
	f.StringVar(&made.Issuer, "issuer", "", "Configured name of the issuer of its tokens (default: the only one)")
	f.StringVar(&made.By, "by", "", "What SUBJECT is: subject (of any caller), client or either (of machines only; default)")
	complete(cmd, "issuer", p.suggesting(c, suggestIssuers))
	suggest(cmd, "by", string(account.BySubject), string(account.ByClient), string(account.ByEither))
	f.StringArrayVar(&groups, "groups", nil, "Groups it is given, separated by commas or repeated")
	f.StringVar(&expires, "expires-at", "", "When it expires: a time, a day, or a duration from now (default: never)")
	f.SetNormalizeFunc(synonym("expire-at", "expires-at"))
	f.BoolVar(&inactive, "inactive", false, "Make it disabled")
	f.BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		made.Subject, made.Status = args[0], account.StatusActive
		made.Groups = splitList(true, groups)
		if inactive {
			made.Status = account.StatusInactive
		}
		if cmd.Flags().Changed("expires-at") {
			var err error
			if made.ExpiresAt, err = p.parseExpiry(expires); err != nil {
				return err
			}
		}
		body, err := json.Marshal(made)
		if err != nil {
			return fmt.Errorf("making the request: %w", err)
		}
		// Checked as the server will, as far as that can be done here.
		if _, err := account.Decode(body); err != nil {
			return err
		}
		text, err := s.fetch(ctx, request{method: http.MethodPost, path: accountsPath, body: body})
		if err != nil {
			return err
		}
		return p.printAccount(cmd, s, text, asJSON)
	})
	return cmd
}

// never is what --expires-at takes for no expiry.
const never = "never"

// parseExpiry reads when an account expires, for the API; empty: never.
func (p *program) parseExpiry(text string) (string, error) {
	if text == never {
		return "", nil
	}
	at, err := p.parseMoment("expires_at", text)
	if err != nil {
		return "", err
	}
	return at.Format(time.RFC3339), nil
}

// synonym makes a flag known by another name, too: licenses say expire-at, as hoop
// does, and accounts expires-at.
func synonym(other, name string) func(*pflag.FlagSet, string) pflag.NormalizedName {
	return func(_ *pflag.FlagSet, given string) pflag.NormalizedName {
		if given == other {
			given = name
		}
		return pflag.NormalizedName(given)
	}
}

func (p *program) accountDelete(c *connection) *cobra.Command {
	var asJSON bool
	var ref accountRef
	cmd := &cobra.Command{
		Use:   "delete SUBJECT",
		Short: "Deletes a service account",
		Long: `
Deletes the service account with that subject or id. Where accounts must be registered,
its tokens are refused from then on. To keep a machine out in any case, disable it.
`,
		Example: `  caddy gatehouse service-account delete ci-deploy
  caddy gatehouse service-account delete --json 5b0e3c0e-8b0e-5a5e-9a52-0d7d3a0f9f11`,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	p.about(&ref, cmd, c)
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		ref.key = args[0]
		a, err := ref.request(http.MethodDelete)
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

func (p *program) accountConfirm(c *connection) *cobra.Command {
	var issuer string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "confirm --issuer NAME [SUBJECT]",
		Short: "Accepts the issuer that has the name now",
		Long: `
An account remembers which issuer its issuer's name stood for when it was created. If the
name stands for another issuer now, the account lets nobody in. This command accepts the
issuer that has the name now, for all accounts of that name or for one: for example after
an issuer has moved to another address.
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
	cmd.ValidArgsFunction = firstOnly(p.suggesting(c, suggestSubjects(&issuer)))
	complete(cmd, "issuer", p.suggesting(c, suggestIssuers))
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
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
		a := request{method: http.MethodPost, path: accountsPath + ":confirm", body: body, wait: importWait}
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

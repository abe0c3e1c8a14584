package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/auth/account"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// accountsPath is where the API keeps the service accounts.
const accountsPath = "/api/serviceaccounts"

// accountInfo is a service account as the API shows it.
type accountInfo struct {
	ID         string         `json:"id"`
	Subject    string         `json:"subject"`
	Name       string         `json:"name"`
	Status     account.Status `json:"status"`
	Groups     []string       `json:"groups"`
	Issuer     string         `json:"issuer"`
	Identifier string         `json:"issuer_identifier"`
	By         account.By     `json:"by"`
	ExpiresAt  api.Moment     `json:"expires_at"`
	CreatedAt  api.Moment     `json:"created_at"` // zero: declared in the configuration
	UpdatedAt  api.Moment     `json:"updated_at"`
}

// serviceAccount is the group of the commands about service accounts.
func (p *program) serviceAccount() *cobra.Command {
	var c connection
	cmd := &cobra.Command{
		Use:   "service-account",
		Short: "Manages the service accounts of a running server",
		Long: `
Manages the service accounts of a running server. A service account is a machine that is
known by the subject or the client id of its tokens. It has groups, and can be switched
off at once, on every node.

All of these commands need a token of the admin group.
`,
		Example: `  caddy gatehouse service-account list
  caddy gatehouse service-account create ci-deploy --groups deployers
  caddy gatehouse service-account set ci-deploy --add-group readers
  caddy gatehouse service-account disable ci-deploy`,
	}
	group(cmd)
	c.flags(cmd.PersistentFlags())
	cmd.AddCommand(
		p.accountList(&c), p.accountCreate(&c), p.accountShow(&c),
		p.accountEnable(&c), p.accountDisable(&c),
		p.accountSet(&c), p.accountDelete(&c), p.accountConfirm(&c), p.accountRepair(&c), p.accountExport(&c), p.accountImport(&c),
	)
	return cmd
}

// state is the status, or expired.
func (a *accountInfo) state(now time.Time) string {
	if a.Status == account.StatusActive && !a.ExpiresAt.IsZero() && !now.Before(a.ExpiresAt.Time) {
		return "expired"
	}
	return string(a.Status)
}

// foundBy says what of a caller the subject is compared with.
func foundBy(by account.By) string {
	switch by {
	case account.BySubject:
		return "the subject"
	case account.ByClient:
		return "the client id of a machine"
	}
	return "the subject or client id of a machine"
}

// printAccount shows one account.
func (p *program) printAccount(cmd *cobra.Command, s *server, text json.RawMessage, asJSON bool) error {
	var a accountInfo
	if err := s.read(text, &a); err != nil {
		return err
	}
	if a.Subject == "" {
		return errors.New("the answer of " + s.name + " holds no subject; is it Caddy's admin endpoint?")
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), text)
	}
	t := table{}
	t.add("Subject", a.Subject)
	t.add("Name", a.Name)
	t.add("Status", a.state(p.now()))
	t.add("Issuer", strings.Join(slices.DeleteFunc([]string{a.Issuer, a.Identifier}, func(s string) bool { return s == "" }), ", "))
	t.add("By", foundBy(a.By))
	t.add("Groups", strings.Join(a.Groups, ", "))
	t.add("Expires", cmp.Or(p.stamp(a.ExpiresAt.Time), "never"))
	if a.CreatedAt.IsZero() {
		t.add("Created", "declared in the configuration")
	} else {
		t.add("Created", p.stamp(a.CreatedAt.Time))
		t.add("Updated", p.stamp(a.UpdatedAt.Time))
	}
	t.add("ID", a.ID)
	return t.print(cmd.OutOrStdout())
}

// accountRef names one account of the server.
type accountRef struct {
	key    string // its subject or id
	issuer string // the name of its issuer; empty: the only one with that subject
}

// about lets cmd take an account that exists, by SUBJECT and --issuer.
func (p *program) about(r *accountRef, cmd *cobra.Command, c *connection) {
	cmd.Args = one("SUBJECT, of an account or its id")
	cmd.Flags().StringVar(&r.issuer, "issuer", "", "Configured name of its issuer (needed where several have that subject)")
	complete(cmd, "issuer", p.suggesting(c, suggestIssuers))
	cmd.ValidArgsFunction = firstOnly(p.suggesting(c, suggestSubjects(&r.issuer)))
}

// request is one about the account.
func (r *accountRef) request(method string) (request, error) {
	path, err := accountPath(r.key)
	return request{method: method, path: path, query: queryOf(map[string]string{"issuer": r.issuer})}, err
}

// accountPath is the path of one account. Slashes in a subject are escaped, so that
// they are not taken for the path's own.
func accountPath(key string) (string, error) {
	switch {
	case key == "." || key == "..":
		return "", fmt.Errorf("the subject is %q, which no path can name; want another", key)
	case len(key) > account.MaxText:
		return "", errors.New("the subject has more than 255 bytes; want at most that")
	}
	return accountsPath + "/" + url.PathEscape(key), nil
}

func (p *program) accountShow(c *connection) *cobra.Command {
	var asJSON bool
	var ref accountRef
	cmd := &cobra.Command{
		Use:   "show SUBJECT",
		Short: "Shows a service account",
		Long:  "\nShows the service account with that subject or id.\n",
		Example: `  caddy gatehouse service-account show ci-deploy
  caddy gatehouse service-account show --json --issuer auth0 'auth0|5f7c8ec7c33c6c004bbafe82'`,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	p.about(&ref, cmd, c)
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		ref.key = args[0]
		a, err := ref.request(http.MethodGet)
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

// noteUnconfirmed warns if the name of the account's issuer stands for another
// issuer now.
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
		note(cmd.ErrOrStderr(), "warning: %s is %s now, so the account lets nobody in; check that identifier first, and if that issuer is meant: caddy gatehouse service-account confirm --issuer %s", a.Issuer, now, a.Issuer)
	}
	return nil
}

func (p *program) accountList(c *connection) *cobra.Command {
	var limit int
	var after, issuer string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Lists service accounts",
		Long:  "\nLists the service accounts of a running server by subject, declared ones included.\n",
		Example: `  caddy gatehouse service-account list
  caddy gatehouse service-account list --issuer acme --limit 50 --after ci-deploy --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "How many to list (default: all)")
	cmd.Flags().StringVar(&after, "after", "", "Begin behind this subject")
	cmd.Flags().StringVar(&issuer, "issuer", "", "Only those of the issuer with this configured name")
	complete(cmd, "issuer", p.suggesting(c, suggestIssuers))
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		if err := checkLimit(cmd, limit); err != nil {
			return err
		}
		query := queryOf(map[string]string{"after": after, "issuer": issuer})
		if asJSON {
			return listJSON(ctx, cmd.OutOrStdout(), s, query, limit)
		}
		return p.listAccounts(ctx, cmd.OutOrStdout(), s, query, limit)
	})
	return cmd
}

// listAccounts prints page by page, so that a million accounts need not fit in
// memory. Columns are as wide as each page needs.
func (p *program) listAccounts(ctx context.Context, w io.Writer, s *server, query url.Values, most int) error {
	t := table{header: []string{"SUBJECT", "NAME", "STATUS", "ISSUER", "GROUPS", "EXPIRES"}}
	now := p.now()
	started := false
	err := s.accounts(ctx, query, most, func(page []json.RawMessage) error {
		for _, raw := range page {
			var a accountInfo
			if err := s.read(raw, &a); err != nil {
				return err
			}
			t.add(a.Subject, clip(a.Name), a.state(now), a.Issuer, clip(strings.Join(a.Groups, ",")), date(a.ExpiresAt.Time))
		}
		err := t.print(w)
		t, started = table{}, true
		return err
	})
	if err == nil && !started {
		err = t.print(w)
	}
	return err
}

// listJSON prints a JSON array, page by page as well.
func listJSON(ctx context.Context, w io.Writer, s *server, query url.Values, most int) error {
	before := "["
	err := s.accounts(ctx, query, most, func(page []json.RawMessage) error {
		for _, raw := range page {
			text, err := json.MarshalIndent(raw, "  ", "  ")
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s\n  %s", before, escapeJSON(text)); err != nil {
				return err
			}
			before = ","
		}
		return nil
	})
	if err != nil {
		return err
	}
	end := "\n]\n"
	if before == "[" {
		end = "[]\n"
	}
	_, err = io.WriteString(w, end)
	return err
}

// accounts passes each page of accounts to each.
func (s *server) accounts(ctx context.Context, query url.Values, most int, each func([]json.RawMessage) error) error {
	return s.pages(ctx, accountsPath, query, most, each, func(raw json.RawMessage) (further bool, err error) {
		var last accountInfo
		if err := s.read(raw, &last); err != nil {
			return false, err
		}
		after, afterIssuer := query.Get("after"), query.Get("after_issuer")
		query.Set("after", last.Subject)
		query.Set("after_issuer", last.Issuer)
		return last.Subject > after || last.Subject == after && afterIssuer != "" && last.Issuer > afterIssuer, nil
	})
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
		return s.remove(ctx, cmd, a, "subject", args[0], asJSON)
	})
	return cmd
}

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// accountPage is how many accounts are requested at once: the API's limit.
const accountPage = 1000

func (p *program) accountList(c *connection) *cobra.Command {
	var limit int
	var from accountFrom
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
	cmd.Flags().StringVar(&from.after, "after", "", "Begin behind this subject")
	cmd.Flags().StringVar(&from.issuer, "issuer", "", "Only those of the issuer with this configured name")
	complete(cmd, "issuer", p.suggesting(c, suggestIssuers))
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		if err := checkLimit(cmd, limit); err != nil {
			return err
		}
		if asJSON {
			return listJSON(ctx, cmd.OutOrStdout(), s, from, limit)
		}
		return p.listAccounts(ctx, cmd.OutOrStdout(), s, from, limit)
	})
	return cmd
}

// listAccounts prints page by page, so that a million accounts need not fit in
// memory. Columns are as wide as each page needs.
func (p *program) listAccounts(ctx context.Context, w io.Writer, s *server, from accountFrom, most int) error {
	t := table{header: []string{"SUBJECT", "NAME", "STATUS", "ISSUER", "GROUPS", "EXPIRES"}}
	now := p.now()
	started := false
	err := s.accounts(ctx, from, most, func(page []json.RawMessage) error {
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
func listJSON(ctx context.Context, w io.Writer, s *server, from accountFrom, most int) error {
	before := "["
	err := s.accounts(ctx, from, most, func(page []json.RawMessage) error {
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

// accountFrom is where a list of accounts begins, and whose they are.
type accountFrom struct {
	after, afterIssuer string // the account before the first one
	issuer             string // empty: of all issuers
}

func (f *accountFrom) query(limit int) url.Values {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	for name, value := range map[string]string{"after": f.after, "after_issuer": f.afterIssuer, "issuer": f.issuer} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query
}

// advance continues behind an account, and reports whether that is further on.
func (f *accountFrom) advance(last *accountInfo) bool {
	further := last.Subject > f.after || last.Subject == f.after && f.afterIssuer != "" && last.Issuer > f.afterIssuer
	f.after, f.afterIssuer = last.Subject, last.Issuer
	return further
}

// accounts passes each page of accounts to each, as the server sent it and never
// empty; most is 0 for all.
func (s *server) accounts(ctx context.Context, from accountFrom, most int, each func([]json.RawMessage) error) error {
	for done := 0; ; {
		limit := accountPage
		if most > 0 {
			limit = min(limit, most-done)
		}
		var page []json.RawMessage
		if _, err := s.get(ctx, request{method: http.MethodGet, path: accountsPath, query: from.query(limit)}, &page); err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		if err := each(page); err != nil {
			return err
		}
		done += len(page)
		if len(page) != limit || done == most {
			return nil
		}
		var last accountInfo
		if err := s.read(page[len(page)-1], &last); err != nil {
			return err
		}
		if !from.advance(&last) {
			return errors.New("the list of " + s.name + " does not go on from page to page")
		}
	}
}

package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// tokenRevocations is the group of the commands about them.
func (p *program) tokenRevocations() *cobra.Command {
	var c connection
	cmd := &cobra.Command{
		Use:   "revocations",
		Short: "Lists and takes back revocations",
		Long: `
Lists what is revoked, and takes a revocation back. They go by themselves when no token
that they are about can be alive any more.

All of these commands need a token of the admin group.
`,
		Example: `  caddy gatehouse revocations list
  caddy gatehouse revocations delete 62ae998c-f4f4-5bc5-9660-68c68a1dd4bc`,
	}
	group(cmd)
	c.flags(cmd.PersistentFlags())
	cmd.AddCommand(p.revocationList(&c), p.revocationDelete(&c))
	return cmd
}

func (p *program) revocationList(c *connection) *cobra.Command {
	var limit int
	var issuer, search string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Lists revocations",
		Long:  "\nLists the revocations in force, by the name of what is revoked.\n",
		Example: `  caddy gatehouse revocations list
  caddy gatehouse revocations list --issuer acme --search alice --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "How many to list (default: all)")
	cmd.Flags().StringVar(&issuer, "issuer", "", "Only those of the issuer with this configured name")
	cmd.Flags().StringVar(&search, "search", "", "Only those with this text in name, reason or by")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	complete(cmd, "issuer", p.suggesting(c, suggestIssuers))
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		if err := checkLimit(cmd, limit); err != nil {
			return err
		}
		query := url.Values{}
		for name, value := range map[string]string{"issuer": issuer, "search": search} {
			if value != "" {
				query.Set(name, value)
			}
		}
		all, err := s.revocations(ctx, query, limit)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), all)
		}
		t := table{header: []string{"TARGET", "NAME", "ISSUER", "ISSUED BEFORE", "KEPT UNTIL", "BY", "REASON", "ID"}}
		for _, raw := range all {
			var r revocationInfo
			if err := s.read(raw, &r); err != nil {
				return err
			}
			what, name := r.target()
			t.add(what, name, cmp.Or(r.Issuer, r.Identifier), p.unixStamp(r.IssuedBefore), p.stamp(r.ExpiresAt.Time), clip(r.By), clip(r.Reason), r.ID)
		}
		return t.print(cmd.OutOrStdout())
	})
	return cmd
}

// revocations collects them page by page, as the server sent them; most is 0 for all.
// It is never nil.
func (s *server) revocations(ctx context.Context, query url.Values, most int) ([]json.RawMessage, error) {
	all := []json.RawMessage{}
	for {
		limit := accountPage
		if most > 0 {
			limit = min(limit, most-len(all))
		}
		query.Set("limit", strconv.Itoa(limit))
		var page []json.RawMessage
		if _, err := s.get(ctx, request{method: http.MethodGet, path: revocationsPath, query: query}, &page); err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) != limit || len(all) == most {
			return all, nil
		}
		var last revocationInfo
		if err := s.read(page[limit-1], &last); err != nil {
			return nil, err
		}
		_, name := last.target()
		if name < query.Get("after") || last.ID == query.Get("after_id") {
			return nil, errors.New("the list of " + s.name + " does not go on from page to page")
		}
		query.Set("after", name)
		query.Set("after_id", last.ID)
	}
}

func (p *program) revocationDelete(c *connection) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Lets the tokens of a revocation in again",
		Long:  "\nTakes back the revocation with that id: the tokens that it refuses are let in again.\n",
		Example: `  caddy gatehouse revocations delete 62ae998c-f4f4-5bc5-9660-68c68a1dd4bc
  caddy gatehouse revocations delete --json 62ae998c-f4f4-5bc5-9660-68c68a1dd4bc`,
		Args: one("ID, of a revocation"),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		if _, err := s.fetch(ctx, request{method: http.MethodDelete, path: revocationsPath + "/" + url.PathEscape(args[0])}); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]string{"id": args[0], "result": "deleted"})
		}
		t := table{}
		t.add("Deleted", args[0])
		return t.print(cmd.OutOrStdout())
	})
	return cmd
}

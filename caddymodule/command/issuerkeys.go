package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

func (p *program) keys() *cobra.Command {
	var c connection
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Shows issuers and the keys they sign with",
		Long: `
Shows the issuers of a running server: where their keys come from, how old they are, and
the last error. Then shows the keys. The command keys refresh fetches them again.

It needs a token of the admin group.
`,
		Example: `  caddy gatehouse keys
  caddy gatehouse keys --json --token-file admin.token
  caddy gatehouse keys refresh acme`,
	}
	group(cmd)
	c.flags(cmd.PersistentFlags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	unknown := cmd.RunE
	show := p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		issuers, text, err := s.issuers(ctx)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), text)
		}
		return p.printKeys(cmd, issuers)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(cmd, args)
		}
		return show(cmd, args)
	}
	cmd.AddCommand(p.keysRefresh(&c))
	return cmd
}

// printKeys shows issuers, their keys, and what is particular about some of them.
func (p *program) printKeys(cmd *cobra.Command, issuers []api.IssuerStatus) error {
	keyRows := table{header: []string{"ISSUER", "KEY ID", "TYPE", "ALGORITHM", "USE"}}
	notes := table{header: []string{"ISSUER", "NOTE"}}
	for _, s := range issuers {
		for _, ignored := range s.Ignored {
			notes.add(s.Name, ignored+", and is not used")
		}
		for _, k := range s.Keys {
			keyRows.add(s.Name, clip(k.ID), k.Type, k.Algorithm, k.Use)
			if !k.ServesUntil.IsZero() {
				notes.add(s.Name, "the last set lacks "+clip(k.ID)+", which serves until "+date(k.ServesUntil.Time))
			}
		}
	}
	tables := []table{p.issuerTable(issuers), keyRows}
	if len(notes.rows) > 0 {
		tables = append(tables, notes)
	}
	return printTables(cmd.OutOrStdout(), tables...)
}

// refreshed is the result of fetching the keys of one issuer.
type refreshed struct {
	Name    string `json:"name"`
	Result  string `json:"result"` // refreshed or failed
	Message string `json:"message,omitempty"`
	Keys    *int   `json:"keys,omitempty"` // nil: the server did not say
}

func (p *program) keysRefresh(c *connection) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "refresh [NAME]",
		Short: "Fetches the keys of one issuer, or of all, at once",
		Long: `
Makes a running server fetch the keys of the issuer NAME, or of all issuers, at once.
Exits with 0 only if all could be fetched, else with 1.

It needs a token of the admin group.
`,
		Example: `  caddy gatehouse keys refresh
  caddy gatehouse keys refresh acme --json`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.ValidArgsFunction = firstOnly(p.suggesting(c, suggestIssuers))
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		if len(args) > 0 && args[0] == "" {
			return errors.New("the argument is empty; want the name of an issuer, or none for all")
		}
		names := args
		if len(args) == 0 {
			issuers, _, err := s.issuers(ctx)
			if err != nil {
				return err
			}
			for _, issuer := range issuers {
				names = append(names, issuer.Name)
			}
		}
		results, failure := s.refreshAll(ctx, names)
		return errors.Join(failure, printRefreshed(cmd, asJSON, results))
	})
	return cmd
}

// refreshAll continues when one fails.
func (s *server) refreshAll(ctx context.Context, names []string) ([]refreshed, error) {
	results := make([]refreshed, 0, len(names))
	failed := 0
	var why error
	for _, name := range names {
		one, err := s.refresh(ctx, name)
		if err != nil {
			failed, why = failed+1, err
		}
		results = append(results, one)
	}
	switch {
	case failed == 0:
		return results, nil
	case failed == len(names) && failed == 1:
		return results, why
	}
	return results, fmt.Errorf("could not refresh %d of %s; the last: %w", failed, count(len(names), "issuer"), why)
}

func (s *server) refresh(ctx context.Context, name string) (refreshed, error) {
	result := refreshed{Name: name, Result: "failed"}
	path := "/api/issuers/" + url.PathEscape(name) + "/refresh"
	body, err := s.fetch(ctx, request{method: http.MethodPost, path: path})
	if err != nil {
		result.Message = reason(err)
		return result, err
	}
	var status api.IssuerStatus
	if json.Unmarshal(body, &status) == nil && status.LastError != "" {
		result.Message = s.sanitize(status.LastError)
		return result, errors.New(name + ": " + result.Message)
	}
	result.Result = "refreshed"
	if status.Keys != nil {
		keys := len(status.Keys)
		result.Keys = &keys
	}
	return result, nil
}

// reason is the text of an error, without its hint.
func reason(err error) string {
	var r *refusal
	if errors.As(err, &r) {
		return r.message
	}
	return err.Error()
}

func printRefreshed(cmd *cobra.Command, asJSON bool, results []refreshed) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), results)
	}
	t := table{header: []string{"NAME", "RESULT", "KEYS", "MESSAGE"}}
	for _, r := range results {
		keys := ""
		if r.Keys != nil {
			keys = fmt.Sprint(*r.Keys)
		}
		t.add(r.Name, r.Result, keys, r.Message)
	}
	return t.print(cmd.OutOrStdout())
}

// issuers asks for all issuers, and gives the answer's text as well.
func (s *server) issuers(ctx context.Context) (list []api.IssuerStatus, text json.RawMessage, err error) {
	text, err = s.fetch(ctx, request{method: http.MethodGet, path: "/api/issuers"})
	if err == nil && !isNull(text) { // null: no issuers
		err = s.read(text, &list)
	}
	return list, text, err
}

func (p *program) issuerTable(issuers []api.IssuerStatus) table {
	t := table{header: []string{"NAME", "HEALTH", "KEYS", "FETCHED", "NEXT REFRESH", "SOURCE", "LAST ERROR"}}
	for i := range issuers {
		s := &issuers[i]
		failure := oneLine(s.LastError)
		if s.LastError != "" && !s.LastErrorAt.IsZero() {
			failure = distance(s.LastErrorAt.Sub(p.now())) + ": " + failure
		}
		t.add(s.Name, issuerHealth(s), fmt.Sprint(len(s.Keys)), cmp.Or(p.ago(s.FetchedAt), "never"), p.ago(s.NextRefresh), clip(s.Source), failure)
	}
	return t
}

// introspectionTable has a row for each issuer that is asked about its tokens.
func (p *program) introspectionTable(issuers []api.IssuerStatus) table {
	t := table{header: []string{"NAME", "HEALTH", "ACTIVE", "INACTIVE", "FAILED", "LIMITED", "ANSWERED", "ENDPOINT", "LAST ERROR"}}
	for i := range issuers {
		s := issuers[i].Introspection
		if s == nil {
			continue
		}
		health, failure := "healthy", oneLine(s.LastError)
		if !s.Healthy {
			health = "not healthy"
		}
		if s.LastError != "" && !s.LastErrorAt.IsZero() {
			failure = distance(s.LastErrorAt.Sub(p.now())) + ": " + failure
		}
		t.add(issuers[i].Name, health, fmt.Sprint(s.Active), fmt.Sprint(s.Inactive), fmt.Sprint(s.Failed), fmt.Sprint(s.Limited),
			cmp.Or(p.ago(s.AnsweredAt), "never"), clip(s.Endpoint), failure)
	}
	return t
}

func issuerHealth(s *api.IssuerStatus) string {
	switch {
	case s.Healthy && s.Restored:
		return "healthy (kept keys)"
	case s.Healthy:
		return "healthy"
	}
	return "not healthy"
}

// unclearCallers has a row for each issuer of whose callers nothing says whether they are people or machines.
func unclearCallers(issuers []api.IssuerStatus) (t table) {
	for i := range issuers {
		s := &issuers[i]
		switch {
		case s.UnclearCallers > 0:
			t.add(s.Name, fmt.Sprintf("nothing says whether a person or a machine sent %d of its tokens: make sure that they are access tokens, then name the preset of the provider, or write kind … when", s.UnclearCallers))
		case s.KindsTold != nil && !*s.KindsTold:
			t.add(s.Name, "nothing says how to tell people from machines, but for the marks of common issuers: name the preset of the provider, or write kind … when")
		}
	}
	return t
}

// ago is how long ago, or ahead, a time is; empty for none.
func (p *program) ago(m api.Moment) string {
	if m.IsZero() {
		return ""
	}
	return distance(m.Sub(p.now()))
}

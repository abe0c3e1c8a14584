package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

// refreshed is what came of fetching the keys of one issuer.
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
Exits with 0 only if all could be fetched.

It needs a token of the admin group.
`,
		Example: `  caddy gatehouse keys refresh
  caddy gatehouse keys refresh acme --json`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.asking(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
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

// refreshAll goes on when one fails: others may be well.
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
	body, err := s.fetch(ctx, ask{method: http.MethodPost, path: path})
	if err != nil {
		result.Message = reason(err)
		return result, err
	}
	var status issuerStatus
	if json.Unmarshal(body, &status) == nil && status.LastError != "" {
		result.Message = s.tame(status.LastError)
		return result, errors.New(name + ": " + result.Message)
	}
	result.Result = "refreshed"
	if status.Keys != nil {
		keys := len(status.Keys)
		result.Keys = &keys
	}
	return result, nil
}

// reason is an error without its hint.
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

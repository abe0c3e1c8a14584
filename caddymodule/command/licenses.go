package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
)

const (
	// licensePage is how many records are asked for at once.
	licensePage = 200
	// shownKey is as much of a key's id as tells keys apart at a glance.
	shownKey = 12
)

// licenseRecord is what a server keeps of a license that it signed.
type licenseRecord struct {
	ID       string `json:"id"`
	KeyID    string `json:"key_id"`
	SignedAt moment `json:"signed_at"`
	Actor    string `json:"actor"`
	Problem  string `json:"error"` // of a record that cannot be read; the rest is then empty
	License  struct {
		KeyID   string `json:"key_id"`
		Payload struct {
			ID           string       `json:"id"`
			Type         license.Type `json:"type"`
			ExpireAt     moment       `json:"expire_at"`
			AllowedHosts []string     `json:"allowed_hosts"`
			Description  string       `json:"description"`
		} `json:"payload"`
	} `json:"license"`
}

func (p *program) licenses() *cobra.Command {
	var c connection
	var limit int
	var after string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "licenses",
		Short: "Lists the licenses that a server has signed",
		Long: `
Lists the licenses that a running server has signed over its API, newest first: when, who
asked for it, for whom and for which hosts, until when, and by which key.

It needs a token of the signing group.
`,
		Example: `  caddy gatehouse licenses
  caddy gatehouse licenses --limit 20 --token-file signer.token
  caddy gatehouse licenses --json`,
		Args: cobra.NoArgs,
	}
	c.flags(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", 0, "How many to list (default: all)")
	cmd.Flags().StringVar(&after, "after", "", "Begin behind the record of this id")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON, licenses included")
	cmd.RunE = p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		if err := checkLimit(cmd, limit); err != nil {
			return err
		}
		records, err := s.licenses(ctx, after, limit)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]any{"licenses": records})
		}
		return printRecords(cmd, s, records)
	})
	return cmd
}

// checkLimit refuses a --limit below 1.
func checkLimit(cmd *cobra.Command, limit int) error {
	if cmd.Flags().Changed("limit") && limit < 1 {
		return errors.New("--limit is " + strconv.Itoa(limit) + "; want 1 or more, or leave it out")
	}
	return nil
}

// licenses collects the record page by page, as the server sent it; most is 0 for
// all. It is never nil.
func (s *server) licenses(ctx context.Context, after string, most int) ([]json.RawMessage, error) {
	all := []json.RawMessage{}
	for {
		limit := licensePage
		if most > 0 {
			limit = min(limit, most-len(all))
		}
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		if after != "" {
			query.Set("after", after)
		}
		page, err := s.licensePage(ctx, query)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) != limit || len(all) == most {
			return all, nil
		}
		var last licenseRecord
		if json.Unmarshal(page[limit-1], &last) != nil || last.ID == "" || last.ID == after {
			return nil, errors.New("the record of " + s.name + " does not go on from page to page; ask for less with --limit")
		}
		after = last.ID
	}
}

func (s *server) licensePage(ctx context.Context, query url.Values) ([]json.RawMessage, error) {
	var answer struct {
		Licenses *[]json.RawMessage `json:"licenses"`
	}
	if _, err := s.get(ctx, request{method: http.MethodGet, path: "/api/orgs/licenses", query: query}, &answer); err != nil {
		return nil, err
	}
	if answer.Licenses == nil {
		return nil, errors.New("the answer of " + s.name + " holds no licenses; is it Caddy's admin endpoint?")
	}
	return *answer.Licenses, nil
}

func printRecords(cmd *cobra.Command, s *server, records []json.RawMessage) error {
	t := table{header: []string{"SIGNED AT", "ACTOR", "TYPE", "DESCRIPTION", "HOSTS", "EXPIRES", "KEY", "ID"}}
	for _, raw := range records {
		var r licenseRecord
		if err := s.read(raw, &r); err != nil {
			return err
		}
		l := &r.License.Payload
		if r.Problem != "" {
			l.Description = "(" + r.Problem + ")"
		}
		key := cmp.Or(r.KeyID, r.License.KeyID)
		t.add(date(r.SignedAt.Time), clip(r.Actor), string(l.Type), clip(l.Description),
			clip(strings.Join(l.AllowedHosts, ",")), date(l.ExpireAt.Time),
			key[:min(len(key), shownKey)], cmp.Or(r.ID, l.ID))
	}
	return t.print(cmd.OutOrStdout())
}

func (p *program) install() *cobra.Command {
	var c connection
	var host string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "install [--host HOST] LICENSE",
		Short: "Installs a license on a running server and its nodes",
		Long: `
Installs a license into the storage of a running server, and so on all nodes that share
that storage. The server verifies it first. It refuses a license that does not cover the
host of --host or, without --host, any host behind require_license. LICENSE is a file, or
- for stdin. What is not a license is not sent.

It needs a token of the admin group. A server takes no license beside one that its
configuration names.
`,
		Example: `  caddy gatehouse install license.json
  caddy gatehouse install --host gw.acme.example --token-file admin.token license.json
  caddy gatehouse install --address localhost:2020 --json - < license.json`,
		Args: one(licenseArgument),
	}
	c.flags(cmd.Flags())
	cmd.Flags().StringVar(&host, "host", "", "Host that the license must cover (default: one of those behind require_license)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		if cmd.Flags().Changed("host") && host == "" {
			return errors.New("--host is empty; want a host, or leave it out")
		}
		decoded, data, err := readLicense(cmd, args[0])
		if err != nil {
			return err
		}
		query := url.Values{}
		if host != "" {
			query.Set("host", host)
		}
		if _, err := s.fetch(ctx, request{method: http.MethodPut, path: "/api/orgs/license", query: query, body: data}); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), struct {
				Result       string       `json:"result"`
				KeyID        string       `json:"key_id"`
				Type         license.Type `json:"type"`
				AllowedHosts []string     `json:"allowed_hosts"`
				Description  string       `json:"description"`
				ExpireAt     int64        `json:"expire_at"`
			}{
				"installed", decoded.KeyID, decoded.Payload.Type, decoded.Payload.AllowedHosts,
				decoded.Payload.Description, decoded.Payload.ExpireAt,
			})
		}
		t := table{}
		t.add("Installed", decoded.Payload.Description)
		t.add("Hosts", strings.Join(decoded.Payload.AllowedHosts, ", "))
		t.add("Expires", p.unixStamp(decoded.Payload.ExpireAt))
		return t.print(cmd.OutOrStdout())
	})
	return cmd
}

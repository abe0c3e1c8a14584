package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/usage"
)

// licensePath is where the API keeps the license in force.
const licensePath = "/api/orgs/license"

// license is the group of commands about the license that a deployment has, and about
// those that a vendor takes back.
func (p *program) license() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "license",
		Short: "Gets and gives back licenses, and shows what they are used for",
		Long: `
Gets a license from its vendor by a login (activate), gives it back (deactivate), shows how
much of it is used (usage), and signs a vendor's list of the licenses that it has revoked
(revocations).
`,
		Example: `  caddy gatehouse license activate --server https://license.vendor.example --product my-product --account acme
  caddy gatehouse license usage`,
	}
	group(cmd)
	cmd.AddCommand(p.activate(), p.deactivate(), p.usage(), p.revocations())
	return cmd
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
		if _, err := s.fetch(ctx, request{method: http.MethodPut, path: licensePath, query: query, body: data}); err != nil {
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

func (p *program) usage() *cobra.Command {
	var c connection
	var export, asJSON bool
	var verify, instance string
	cmd := &cobra.Command{
		Use:   "usage [--export]",
		Short: "Shows how much of a license's limits is used",
		Long: `
Asks a running server how much is used of the limits of its license that are counted: the
people who were let in within 30 days (users), and the service accounts.

With --export it prints a report that the deployment has signed, for the vendor, without a
network. It holds numbers, and nothing of people. The vendor checks one with --verify, which
asks no server; with --instance it must come from that deployment.

It needs a token of the admin group.
`,
		Example: `  caddy gatehouse license usage
  caddy gatehouse license usage --export > usage.json
  caddy gatehouse license usage --verify usage.json --json`,
		Args: cobra.NoArgs,
	}
	c.flags(cmd.Flags())
	cmd.Flags().BoolVar(&export, "export", false, "Print the signed report")
	cmd.Flags().StringVar(&verify, "verify", "", "Check a report instead: a file, or - for stdin")
	cmd.Flags().StringVar(&instance, "instance", "", "Fingerprint of the deployment that the report must come from (with --verify)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.MarkFlagsMutuallyExclusive("export", "verify")
	asked := p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		report, err := s.usage(ctx)
		if err != nil {
			return err
		}
		if export {
			return printJSON(cmd.OutOrStdout(), json.RawMessage(report))
		}
		return p.printUsage(cmd, report, "", asJSON)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flags().Changed("verify") {
			return asked(cmd, args)
		}
		report, err := readInput(cmd, verify, usage.MaxReport)
		if err != nil {
			return err
		}
		return p.printUsage(cmd, report, instance, asJSON)
	}
	return cmd
}

// usage is the server's signed report.
func (s *server) usage(ctx context.Context) ([]byte, error) {
	return s.fetch(ctx, request{method: http.MethodGet, path: "/api/orgs/license/usage"})
}

// printUsage shows a report if the deployment that it names signed it.
func (p *program) printUsage(cmd *cobra.Command, report []byte, instance string, asJSON bool) error {
	u, err := usage.Open(report)
	if err != nil {
		return fmt.Errorf("the report of usage: %w", err)
	}
	if instance != "" && instance != u.Instance {
		return fmt.Errorf("the report is of the deployment %s; want %s", plain(u.Instance), plain(instance))
	}
	if asJSON {
		return printJSON(cmd.OutOrStdout(), u)
	}
	about := table{}
	about.add("Deployment", u.Instance)
	about.add("License", u.LicenseID)
	about.add("Counted", p.unixStamp(u.At))
	limits := table{header: []string{"LIMIT", "USED", "OF", "BEYOND IT"}}
	for _, name := range slices.Sorted(maps.Keys(u.Limits)) {
		share := u.Limits[name]
		most, beyond := "any number", ""
		if share.Limit >= 0 {
			most, beyond = fmt.Sprint(share.Limit), "reported"
			if share.Enforcement == license.Deny {
				beyond = "refused"
			}
		}
		limits.add(name, fmt.Sprint(share.Used), most, beyond)
	}
	return printTables(cmd.OutOrStdout(), about, limits)
}

const (
	// licensePage is how many records are asked for at once.
	licensePage = 200
	// shownKey is how many characters of a key's id a table shows: enough to see which
	// keys are the same.
	shownKey = 12
)

// licenseRecord is what a server keeps of a license that it signed.
type licenseRecord struct {
	ID       string     `json:"id"`
	KeyID    string     `json:"key_id"`
	SignedAt api.Moment `json:"signed_at"`
	Actor    string     `json:"actor"`
	Problem  string     `json:"error"` // of a record that cannot be read; the rest is then empty
	License  struct {
		KeyID   string `json:"key_id"`
		Payload struct {
			ID           string       `json:"id"`
			Type         license.Type `json:"type"`
			ExpireAt     api.Moment   `json:"expire_at"`
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

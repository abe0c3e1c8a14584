package command

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
)

// installed is the result of install.
type installed struct {
	Result       string       `json:"result"` // installed
	KeyID        string       `json:"key_id"`
	Type         license.Type `json:"type"`
	AllowedHosts []string     `json:"allowed_hosts"`
	Description  string       `json:"description"`
	ExpireAt     int64        `json:"expire_at"`
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
it. The server verifies it first, and refuses one that covers none of the hosts behind
require_license, or not the one of --host. LICENSE is a file, or - for stdin; what is
no license is not sent.

It needs a token of the admin group, and a server without a license of its own in the
configuration.
`,
		Example: `  caddy gatehouse install license.json
  caddy gatehouse install --host gw.acme.example --token-file admin.token license.json
  caddy gatehouse install --address localhost:2020 --json - < license.json`,
		Args: one(licenseArgument),
	}
	c.flags(cmd.Flags())
	cmd.Flags().StringVar(&host, "host", "", "Host that the license must cover (default: one of those behind require_license)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.asking(&c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
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
		if _, err := s.fetch(ctx, ask{method: http.MethodPut, path: "/api/orgs/license", query: query, body: data}); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), installed{
				Result: "installed", KeyID: decoded.KeyID, Type: decoded.Payload.Type,
				AllowedHosts: decoded.Payload.AllowedHosts, Description: decoded.Payload.Description,
				ExpireAt: decoded.Payload.ExpireAt,
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

package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
)

func (p *program) deactivate() *cobra.Command {
	var c connection
	var v vendorFlags
	var offline, response string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "deactivate --server URL --product PRODUCT",
		Short: "Gives the seat of a license back to its vendor",
		Long: `
Gives the seat that a running server's license takes back to its vendor, so that another
server can have it. The license stays in force here until its end, unless the vendor takes it
back or another one is installed; take renew out of the configuration.

For a server without a network, --offline alone writes a signed request, and on a machine
with a network --offline, --response and --server bring it to the vendor.

It needs a token of the admin group, and what the vendor gave to prove who is asking.
`,
		Example: `  caddy gatehouse license deactivate --server https://license.vendor.example --product my-product
  caddy gatehouse license deactivate --server https://license.vendor.example --product my-product --vendor-token-file vendor.token
  caddy gatehouse license deactivate --offline request.json --product my-product
  caddy gatehouse license deactivate --offline request.json --response response.json --server https://license.vendor.example`,
		Args: cobra.NoArgs,
	}
	c.flags(cmd.Flags())
	v.flags(cmd)
	cmd.Flags().StringVar(&offline, "offline", "", "File of the request of a server without a network")
	cmd.Flags().StringVar(&response, "response", "", "File of the vendor's response to it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	online := p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		client, err := p.vendor(cmd, &v)
		if err != nil {
			return err
		}
		seat, id, err := s.seat(ctx)
		if err != nil {
			return err
		}
		seat.Product = v.product
		if err := client.Deactivate(ctx, seat, id); err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), map[string]string{"result": "deactivated", "license_id": id})
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), "The seat was given back.")
		return err
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case offline != "":
			return p.deactivateOffline(cmd, &c, &v, offline, response)
		case response != "":
			return errors.New("--response goes with --offline, the request that it answers")
		}
		if err := wanted(cmd, "server", "product"); err != nil {
			return err
		}
		return online(cmd, args)
	}
	return cmd
}

// deactivateOffline writes the request to give a seat back, or carries one to the vendor.
func (p *program) deactivateOffline(cmd *cobra.Command, c *connection, v *vendorFlags, offline, response string) error {
	if response == "" {
		if v.server != "" {
			return errors.New("--offline with --server needs --response, the file to write")
		}
		if err := wanted(cmd, "product"); err != nil {
			return err
		}
		return p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
			return s.signRequest(ctx, map[string]string{"type": license.OfflineDeactivation, "product": v.product}, offline)
		})(cmd, nil)
	}
	file, _, err := readRequest(cmd, offline, license.OfflineDeactivation)
	if err != nil {
		return err
	}
	if err := wanted(cmd, "server"); err != nil {
		return err
	}
	client, err := p.vendor(cmd, v)
	if err != nil {
		return err
	}
	answer, err := client.Carry(cmd.Context(), file, nil)
	if err != nil {
		return err
	}
	return writeNew(response, answer)
}

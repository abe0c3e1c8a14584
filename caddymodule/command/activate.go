package command

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/vendor"
)

// activating holds the flags of activate.
type activating struct {
	connection
	vendorFlags
	account, redirect, flow string
	hosts                   []string
	noBrowser, asJSON       bool
	offline, response, out  string
}

func (p *program) activate() *cobra.Command {
	var a activating
	cmd := &cobra.Command{
		Use:   "activate --server URL --product PRODUCT --account ACCOUNT",
		Short: "Gets a license from its vendor by a login, and installs it",
		Long: `
Gets a license for a running server from the license's vendor: it asks the vendor where
the people of the customer account log in, opens that page in a browser, exchanges the login
for a license, and installs it on the server and its nodes. The server verifies it by its
trusted_key first, and nothing else of the vendor is believed. Where the configuration names
a file of the license, --out writes it there, and the server takes it from there.

The browser is that of the environment variable BROWSER, or else the system's.
Without a browser on this machine, the address is printed; open it anywhere, and paste the
address at which the login ends, even if the browser shows no page there.

For a server without a network there are three steps, with two files carried by hand:
--offline alone writes a signed request of the server; on a machine with a network,
--offline, --response and --server log in and write the vendor's response; and --offline and
--response without --server install it, or write it to the file that --out names.

It needs a token of the admin group, and what the vendor gave to prove who is asking: an API
key with its shared key, or a bearer token.
`,
		Example: `  caddy gatehouse license activate --server https://license.vendor.example --product my-product --account acme
  caddy gatehouse license activate --server https://license.vendor.example --product my-product --account acme --host gw.acme.example --no-browser
  caddy gatehouse license activate --offline request.json --product my-product --account acme
  caddy gatehouse license activate --offline request.json --response response.json --server https://license.vendor.example
  caddy gatehouse license activate --offline request.json --response response.json`,
		Args: cobra.NoArgs,
	}
	a.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if a.flow != "code" && a.flow != "id_token" {
			return fmt.Errorf("flow: found %.40q; want code or id_token", a.flow)
		}
		switch {
		case a.response != "" && a.offline == "":
			return errors.New("--response goes with --offline, the request that it answers")
		case a.out != "" && a.offline != "" && (a.response == "" || a.server != ""):
			return errors.New("--out is for the last step, with --offline and --response and without --server: only then there is a license to write")
		case a.out != "" && a.response != "":
			return p.writeResponse(cmd, &a)
		case a.response != "" && a.server == "":
			return p.withServer(&a.connection, p.installResponse(&a))(cmd, nil)
		}
		if a.response != "" {
			return p.carry(cmd, &a)
		}
		if err := wanted(cmd, "product", "account"); err != nil {
			return err
		}
		switch {
		case a.offline != "" && a.server != "":
			return errors.New("--offline with --server needs --response, the file to write")
		case a.offline != "":
			return p.withServer(&a.connection, a.writeRequest)(cmd, nil)
		}
		if err := wanted(cmd, "server"); err != nil {
			return err
		}
		return p.withServer(&a.connection, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
			return p.activateOnline(ctx, cmd, s, &a)
		})(cmd, nil)
	}
	return cmd
}

func (a *activating) flags(cmd *cobra.Command) {
	a.connection.flags(cmd.Flags())
	a.vendorFlags.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&a.account, "account", "", "Code of the customer account")
	f.StringArrayVar(&a.hosts, "host", nil, "Hosts that the license is for, separated by commas or repeated (default: those of the account)")
	f.StringVar(&a.flow, "flow", "code", "How the login ends: code or id_token")
	f.StringVar(&a.redirect, "redirect-uri", "http://127.0.0.1/callback", "Where the login ends on this machine, one of the account's list; without a port, any")
	f.StringVar(&a.out, "out", "", "File to write the license to instead of installing it, for a server whose configuration names one")
	f.BoolVar(&a.noBrowser, "no-browser", false, "Open no browser, print the address")
	f.StringVar(&a.offline, "offline", "", "File of the request of a server without a network")
	f.StringVar(&a.response, "response", "", "File of the vendor's response to it")
	f.BoolVar(&a.asJSON, "json", false, "Print the result as JSON")
	suggest(cmd, "flow", "code", "id_token")
}

func (p *program) activateOnline(ctx context.Context, cmd *cobra.Command, s *server, a *activating) error {
	client, err := p.vendor(cmd, &a.vendorFlags)
	if err != nil {
		return err
	}
	fingerprint, err := s.instanceOf(ctx)
	if err != nil {
		return err
	}
	asked, err := p.logIn(ctx, cmd, client, a)
	if err != nil {
		return err
	}
	asked.Seat = vendor.Seat{Product: a.product, HardwareID: fingerprint}
	note(cmd.ErrOrStderr(), "Logged in; asking the vendor for the license.")
	text, err := client.Activate(ctx, asked)
	if err != nil {
		return err
	}
	decoded, err := license.Decode(text)
	if err != nil {
		return fmt.Errorf("what the vendor sent is no license: %s", plain(err.Error()))
	}
	if a.out != "" {
		if err := replaceFile(a.out, text); err != nil {
			return err
		}
		return p.printActivated(cmd, decoded, written(a.out), a.asJSON)
	}
	// The server verifies it.
	if _, err = s.fetch(ctx, request{method: http.MethodPut, path: licensePath, body: text}); err != nil {
		note(cmd.ErrOrStderr(), "The vendor's license was not installed. Its seat is taken; the next activation of this server takes no second one.")
		return err
	}
	return p.printActivated(cmd, decoded, installed, a.asJSON)
}

// replaceFile puts data where a server looks for it. It sees the old file or the new one,
// each as a whole.
func replaceFile(name string, data []byte) error {
	fresh := name + ".new"
	if err := writeNew(fresh, data); err != nil {
		return err
	}
	if err := os.Rename(fresh, name); err != nil {
		return errors.Join(err, os.Remove(fresh))
	}
	return nil
}

// logIn has a person log in, and gives what is to be exchanged for a license.
func (p *program) logIn(ctx context.Context, cmd *cobra.Command, client *vendor.Client, a *activating) (vendor.Activation, error) {
	l, err := newLogin(a.redirect)
	if err != nil {
		return vendor.Activation{}, err
	}
	defer l.listener.Close() //nolint:errcheck // served by then, or never
	asked := vendor.Login{Product: a.product, Account: a.account, ResponseType: "token", RedirectURI: l.redirect.String(), State: l.state}
	if a.flow == "code" {
		digest := sha256.Sum256([]byte(l.verifier))
		asked.ResponseType, asked.Challenge = "code", base64.RawURLEncoding.EncodeToString(digest[:])
	}
	address, err := client.SSOURL(ctx, asked)
	if err != nil {
		return vendor.Activation{}, err
	}
	pasted, err := p.show(cmd, address, a.noBrowser)
	if err != nil {
		return vendor.Activation{}, err
	}
	ended, err := l.await(ctx, pasted, func(err error) { note(cmd.ErrOrStderr(), "%v", err) })
	if err != nil {
		return vendor.Activation{}, err
	}
	activation := vendor.Activation{Account: a.account, IDToken: ended.idToken, Code: ended.code}
	if ended.code != "" {
		activation.CodeVerifier, activation.RedirectURI = l.verifier, l.redirect.String()
	}
	if a.hosts != nil {
		activation.Hosts = splitList(true, a.hosts)
	}
	return activation, nil
}

// show opens a browser, or says what to open; then what is pasted may end the login.
func (p *program) show(cmd *cobra.Command, address string, noBrowser bool) (pasted io.Reader, err error) {
	if u, err := url.Parse(address); err != nil || plain(u.String()) != u.String() {
		return nil, errors.New("the vendor's address of the login page cannot be shown")
	}
	out := cmd.ErrOrStderr()
	if !noBrowser {
		if err := p.open(address); err == nil {
			note(out, "Log in in the browser that opens now. If none does, open this address:")
			note(out, "%s", address)
			if p.terminal(cmd.InOrStdin()) { // a person is there to paste
				return cmd.InOrStdin(), nil
			}
			return nil, nil
		}
	}
	note(out, "Open this address in a browser and log in:")
	note(out, "%s", address)
	note(out, "If the browser is on another machine, paste the address at which the login ends:")
	return cmd.InOrStdin(), nil
}

// installed is what the table says of a license that the server has taken.
var installed = [2]string{"Installed", "verified by the server's trusted key"}

// written is what it says of one that was written to a file instead.
func written(name string) [2]string {
	return [2]string{"Written", name + ", for the server to verify"}
}

// printActivated shows a license, and what became of it.
func (p *program) printActivated(cmd *cobra.Command, l *license.License, outcome [2]string, asJSON bool) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), struct {
			Result  string           `json:"result"`
			KeyID   string           `json:"key_id"`
			Payload *license.Payload `json:"payload"`
		}{strings.ToLower(outcome[0]), l.KeyID, &l.Payload})
	}
	t := p.licenseTable(l)
	t.rows = append([][]string{outcome[:]}, t.rows...)
	return t.print(cmd.OutOrStdout())
}

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
server can have it. The license stays in force here until its end and its grace, unless the
vendor revokes it or another one is installed. Take renew out of the configuration.

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

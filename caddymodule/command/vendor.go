package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/auth/sso"
	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/usage"
	"github.com/gatehouse-proxy/gatehouse/license/vendor"
)

// Environment variables that prove to a vendor who is asking.
const (
	vendorKeyVariable    = "GATEHOUSE_VENDOR_API_KEY"
	vendorSharedVariable = "GATEHOUSE_VENDOR_SHARED_KEY" //nolint:gosec // A name, no secret.
	vendorTokenVariable  = "GATEHOUSE_VENDOR_TOKEN"      //nolint:gosec // As above.
)

// vendorFlags say which vendor is asked for what.
type vendorFlags struct {
	server, product               string
	apiKey, sharedKeyFile, tokens string
}

func (v *vendorFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&v.server, "server", "", "Address of the vendor's server, such as https://license.vendor.example")
	f.StringVar(&v.product, "product", "", "Code of the product, as the vendor calls it")
	f.StringVar(&v.apiKey, "api-key", "", "API key that the vendor gave (default: the environment variable "+vendorKeyVariable+")")
	f.StringVar(&v.sharedKeyFile, "shared-key-file", "", "File of the shared key that goes with it (default: the environment variable "+vendorSharedVariable+")")
	f.StringVar(&v.tokens, "vendor-token-file", "", "Instead: file of a bearer token for the vendor (default: the environment variable "+vendorTokenVariable+")")
}

// vendor makes the client, with what proves who is asking.
func (p *program) vendor(cmd *cobra.Command, v *vendorFlags) (*vendor.Client, error) {
	secret := func(file, flag, variable string) (string, error) {
		if !cmd.Flags().Changed(flag) {
			return strings.TrimSpace(p.getenv(variable)), nil
		}
		text, err := readSecretFile(cmd, file)
		if err == nil && strings.TrimSpace(text) == "" {
			err = fmt.Errorf("%s is empty", file)
		}
		return strings.TrimSpace(text), err
	}
	apiKey := v.apiKey
	if apiKey == "" {
		apiKey = p.getenv(vendorKeyVariable)
	}
	shared, err := secret(v.sharedKeyFile, "shared-key-file", vendorSharedVariable)
	if err != nil {
		return nil, fmt.Errorf("reading the shared key: %w", err)
	}
	token, err := secret(v.tokens, "vendor-token-file", vendorTokenVariable)
	if err != nil {
		return nil, fmt.Errorf("reading the vendor's token: %w", err)
	}
	if apiKey != "" && shared == "" {
		return nil, fmt.Errorf("an API key was given without its shared key; want that in --shared-key-file or %s", vendorSharedVariable)
	}
	client, err := vendor.New(v.server, &http.Client{Timeout: vendor.DefaultLimit})
	if err != nil {
		return nil, fmt.Errorf("--server: %w", err)
	}
	client.Now = p.now
	switch {
	case apiKey != "":
		client.Authorize = func(h http.Header, now time.Time) { sso.Authorize(h, apiKey, sso.NewSecret(shared), now) }
	case token != "":
		client.Authorize = func(h http.Header, _ time.Time) { h.Set("Authorization", "Bearer "+token) }
	}
	return client, nil
}

// instanceOf asks the server for its fingerprint.
func (s *server) instanceOf(ctx context.Context) (string, error) {
	var instance struct {
		Fingerprint string `json:"fingerprint"`
	}
	if _, err := s.get(ctx, request{method: http.MethodPost, path: "/api/orgs/license/instance"}, &instance); err != nil {
		return "", err
	}
	if instance.Fingerprint == "" {
		return "", errors.New("the answer of " + s.name + " holds no fingerprint; is it Caddy's admin endpoint?")
	}
	return instance.Fingerprint, nil
}

// seat is what the server's license takes at its vendor, and the license's id.
func (s *server) seat(ctx context.Context) (seat vendor.Seat, id string, err error) {
	report, err := s.usage(ctx)
	if err != nil {
		return seat, "", err
	}
	u, err := usage.Open(report)
	if err != nil {
		return seat, "", fmt.Errorf("the report of usage: %w", err)
	}
	if u.LicenseID == "" {
		return seat, "", errors.New("the server has no license with an id, so none was activated; there is no seat to give back")
	}
	return vendor.Seat{HardwareID: u.Instance}, u.LicenseID, nil
}

// writeRequest has the server sign a request that is carried to the vendor.
func (a *activating) writeRequest(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
	asked := struct {
		Type    string   `json:"type"`
		Product string   `json:"product"`
		Account string   `json:"customer_account_code"`
		Hosts   []string `json:"hosts,omitempty"`
	}{license.OfflineActivation, a.product, a.account, splitList(a.hosts != nil, a.hosts)}
	if err := s.signRequest(ctx, asked, a.offline); err != nil {
		return err
	}
	note(cmd.ErrOrStderr(), "Wrote %s. Carry it to a machine with a network, and go on there with --offline %s --response FILE --server URL.", a.offline, a.offline)
	return nil
}

// signRequest writes what the server signs to a new file.
func (s *server) signRequest(ctx context.Context, asked any, name string) error {
	body, err := json.Marshal(asked)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	file, err := s.fetch(ctx, request{method: http.MethodPost, path: "/api/orgs/license/offline-request", body: body})
	if err != nil {
		return err
	}
	return writeNew(name, file)
}

// carry logs in for a server without a network, and writes the vendor's response.
func (p *program) carry(cmd *cobra.Command, a *activating) error {
	file, asked, err := readRequest(cmd, a.offline, license.OfflineActivation)
	if err != nil {
		return err
	}
	a.product, a.account = asked.Product, asked.Account
	client, err := p.vendor(cmd, &a.vendorFlags)
	if err != nil {
		return err
	}
	login, err := p.logIn(cmd.Context(), cmd, client, a)
	if err != nil {
		return err
	}
	response, err := client.Carry(cmd.Context(), file, &license.OfflineLogin{
		IDToken: login.IDToken, Code: login.Code, CodeVerifier: login.CodeVerifier, RedirectURI: login.RedirectURI,
	})
	if err != nil {
		return err
	}
	if err := writeNew(a.response, response); err != nil {
		return err
	}
	note(cmd.ErrOrStderr(), "Wrote %s. Carry it back, and install it there with --offline %s --response %s.", a.response, a.offline, a.response)
	return nil
}

// readRequest reads a request file of a type, and what it asks for.
func readRequest(cmd *cobra.Command, name, kind string) ([]byte, license.OfflineRequest, error) {
	file, err := readInput(cmd, name, license.MaxOfflineSize)
	if err != nil {
		return nil, license.OfflineRequest{}, err
	}
	asked, _, err := license.OpenOfflineRequest(file)
	if err == nil && asked.Type != kind {
		err = fmt.Errorf("it is one of type %s; want %s", plain(asked.Type), kind)
	}
	if err != nil {
		return nil, asked, fmt.Errorf("%s is no request of a server without a network: %s", inputName(name), plain(err.Error()))
	}
	return file, asked, nil
}

// readResponse reads a vendor's response file, and the license in it, as it was sent and decoded.
func readResponse(cmd *cobra.Command, name string) (file, text []byte, decoded *license.License, err error) {
	file, err = readInput(cmd, name, license.MaxOfflineSize)
	if err != nil {
		return nil, nil, nil, err
	}
	var held struct {
		Response struct {
			License json.RawMessage `json:"license"`
		} `json:"response"`
	}
	if json.Unmarshal(file, &held) != nil || held.Response.License == nil {
		return nil, nil, nil, fmt.Errorf("%s is no response with a license", inputName(name))
	}
	decoded, err = license.Decode(held.Response.License)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("the license in %s: %s", inputName(name), plain(err.Error()))
	}
	return file, held.Response.License, decoded, nil
}

// writeResponse writes the license of the vendor's response to the file that the
// server's configuration names. As with any license there, the server verifies it.
func (p *program) writeResponse(cmd *cobra.Command, a *activating) error {
	_, text, decoded, err := readResponse(cmd, a.response)
	if err != nil {
		return err
	}
	if err := replaceFile(a.out, text); err != nil {
		return err
	}
	return p.printActivated(cmd, decoded, written(a.out), a.asJSON)
}

// installResponse has the server check the vendor's response to its request, and install
// the license in it.
func (p *program) installResponse(a *activating) func(context.Context, *cobra.Command, *server, []string) error {
	return func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		asked, _, err := readRequest(cmd, a.offline, license.OfflineActivation)
		if err != nil {
			return err
		}
		response, _, decoded, err := readResponse(cmd, a.response)
		if err != nil {
			return err
		}
		body, err := json.Marshal(map[string]json.RawMessage{"request": asked, "response": response})
		if err != nil {
			return fmt.Errorf("encoding the files: %w", err)
		}
		if _, err := s.fetch(ctx, request{method: http.MethodPost, path: "/api/orgs/license/offline-response", body: body}); err != nil {
			return err
		}
		return p.printActivated(cmd, decoded, installed, a.asJSON)
	}
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

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/license"
)

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

// writeNew writes a file that is not there yet, for its owner alone.
func writeNew(name string, data []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // The path is the caller's own.
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already; want a new file", name)
	}
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
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

// installResponse has the server check the vendor's response to its request, and install
// the license in it.
func (p *program) installResponse(a *activating) func(context.Context, *cobra.Command, *server, []string) error {
	return func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		file, _, err := readRequest(cmd, a.offline, license.OfflineActivation)
		if err != nil {
			return err
		}
		response, err := readInput(cmd, a.response, license.MaxOfflineSize)
		if err != nil {
			return err
		}
		var held struct {
			Response struct {
				License *license.License `json:"license"`
			} `json:"response"`
		}
		if json.Unmarshal(response, &held) != nil || held.Response.License == nil {
			return fmt.Errorf("%s is no response with a license", inputName(a.response))
		}
		body, err := json.Marshal(map[string]json.RawMessage{"request": file, "response": response})
		if err != nil {
			return fmt.Errorf("encoding the files: %w", err)
		}
		if _, err := s.fetch(ctx, request{method: http.MethodPost, path: "/api/orgs/license/offline-response", body: body}); err != nil {
			return err
		}
		return p.printActivated(cmd, held.Response.License, installed, a.asJSON)
	}
}

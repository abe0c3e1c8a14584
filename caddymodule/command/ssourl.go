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

// ssoFlags are the flags of sso-url, and the parameters of the API they become.
var ssoFlags = []struct{ flag, parameter, usage string }{
	{"product", "product", "Code of the product (required)"},
	{"account", "customer_account_code", "Code of the customer account (required)"},
	{"response-type", "response_type", "What the provider is to answer with: code or token (default: the account's)"},
	{"redirect-uri", "redirect_uri", "Where it sends the browser back, one of the account's list (default: its first)"},
	{"state", "state", "State to carry along (default: a random one)"},
	{"nonce", "nonce", "Nonce of the ID token (default: a random one)"},
}

func (p *program) ssoURL() *cobra.Command {
	var c connection
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "sso-url --product PRODUCT --account ACCOUNT",
		Short: "Prints the address of a customer account's login page",
		Long: `
Asks a running server for the address of a customer account's login page, and prints it
and nothing else.

It needs a token of the group that may ask for it, by default the admin group.
`,
		Example: `  caddy gatehouse sso-url --product my-product --account acme
  caddy gatehouse sso-url --product my-product --account acme --response-type code --redirect-uri http://127.0.0.1/callback --state xyz --nonce n-0S6 --json`,
		Args: cobra.NoArgs,
	}
	c.flags(cmd.Flags())
	for _, f := range ssoFlags {
		cmd.Flags().String(f.flag, "", f.usage)
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	suggest(cmd, "response-type", "code", "token")
	require(cmd, "product", "account")
	cmd.RunE = p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		var answer struct {
			URL string `json:"url"`
		}
		query, err := ssoQuery(cmd)
		if err != nil {
			return err
		}
		text, err := s.get(ctx, request{method: http.MethodGet, path: "/api/v4/sso_url", query: query}, &answer)
		if err != nil {
			return err
		}
		if answer.URL == "" {
			return errors.New("the answer of " + s.name + " holds no url; is it Caddy's admin endpoint?")
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), json.RawMessage(text))
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), plain(answer.URL))
		return err
	})
	return cmd
}

// ssoQuery holds the flags that were given. An empty one is refused: it is mostly an
// unset variable of a script.
func ssoQuery(cmd *cobra.Command) (url.Values, error) {
	query := url.Values{}
	for _, f := range ssoFlags {
		flag := cmd.Flags().Lookup(f.flag)
		if !flag.Changed {
			continue
		}
		if flag.Value.String() == "" {
			return nil, fmt.Errorf("--%s is empty; want a value, or leave it out if it is optional", f.flag)
		}
		query.Set(f.parameter, flag.Value.String())
	}
	return query, nil
}

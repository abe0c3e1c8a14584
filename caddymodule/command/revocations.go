package command

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// revocationsPath is where the API keeps the revocations.
const revocationsPath = "/api/revocations"

// revoked says what is revoked, and its name.
func revoked(r *api.Revocation) (what, name string) {
	switch {
	case r.Subject != "":
		return "subject", r.Subject
	case r.Session != "":
		return "session", r.Session
	case r.Client != "":
		return "client", r.Client
	}
	return "token", r.TokenID
}

// revokeFlags are what the command revoke is asked for.
type revokeFlags struct {
	subject, session, client, token, issuer, reason, before, until string
}

func (p *program) revoke() *cobra.Command {
	var c connection
	var asked revokeFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "revoke (--subject S | --session S | --client C | --token FILE)",
		Short: "Refuses tokens that were issued until now, on every node",
		Long: `
Refuses the tokens of a subject, a session or a client, or one token, that were issued
until now, and cuts their open streams, on every node. Who logs in again is let in again:
to keep somebody out, switch them off at the issuer first.

A revocation is kept until no such token can be alive: for max_lifetime of the issuer, else
24 hours. If tokens live longer than that, say --until.

FILE holds the token, or is - for stdin. The token itself is not sent. It needs a token of
the admin group.
`,
		Example: `  caddy gatehouse revoke --subject alice --reason 'left the company'
  caddy gatehouse revoke --session 4f1e2c9a --issuer acme --until 7d
  caddy gatehouse revoke --token leaked.jwt --json`,
		Args: cobra.NoArgs,
	}
	c.flags(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&asked.subject, "subject", "", "Tokens of this subject")
	f.StringVar(&asked.session, "session", "", "Tokens of the session with this sid")
	f.StringVar(&asked.client, "client", "", "Tokens issued to this OAuth 2.0 client")
	f.StringVar(&asked.token, "token", "", "The token in this file, by its jti")
	f.StringVar(&asked.issuer, "issuer", "", "Configured name of the issuer (needed where there are several)")
	f.StringVar(&asked.reason, "reason", "", "Why, for people")
	f.StringVar(&asked.before, "issued-before", "", "Only tokens issued at or before this time or day (default: now)")
	f.StringVar(&asked.until, "until", "", "Keep it at least so long: a time, a day, or a duration from now")
	f.BoolVar(&asJSON, "json", false, "Print the result as JSON")
	complete(cmd, "issuer", p.suggesting(&c, suggestIssuers))
	cmd.MarkFlagsOneRequired("subject", "session", "client", "token")
	cmd.MarkFlagsMutuallyExclusive("subject", "session", "client", "token")
	cmd.MarkFlagsMutuallyExclusive("token", "issuer")
	cmd.RunE = p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		draft, err := p.revocationOf(cmd, &asked)
		if err != nil {
			return err
		}
		body, err := json.Marshal(draft)
		if err != nil {
			return fmt.Errorf("making the request: %w", err)
		}
		var made api.Revocation
		text, err := s.get(ctx, request{method: http.MethodPost, path: revocationsPath, body: body}, &made)
		if err != nil {
			return err
		}
		if made.ID == "" {
			return errors.New("the answer of " + s.name + " holds no revocation; is it Caddy's admin endpoint?")
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), json.RawMessage(text))
		}
		return p.printRevocation(cmd.OutOrStdout(), &made)
	})
	return cmd
}

// revocationOf is the body to send.
func (p *program) revocationOf(cmd *cobra.Command, asked *revokeFlags) (map[string]any, error) {
	body := map[string]any{}
	for name, value := range map[string]string{
		"subject": asked.subject, "session": asked.session, "client": asked.client, "issuer": asked.issuer, "reason": asked.reason,
	} {
		if cmd.Flags().Changed(name) {
			if body[name] = value; value == "" && name != "reason" {
				return nil, fmt.Errorf("--%s is empty; want a name", name)
			}
		}
	}
	if asked.token != "" {
		if err := addToken(cmd, asked.token, body); err != nil {
			return nil, err
		}
	}
	if asked.before != "" {
		at, err := time.Parse(time.RFC3339, asked.before)
		if err != nil {
			at, err = time.Parse(time.DateOnly, asked.before)
		}
		if err != nil {
			return nil, fmt.Errorf("--issued-before: found %.80q; want a time such as 2027-01-31T00:00:00Z, or a day such as 2027-01-31", asked.before)
		}
		body["issued_before"] = at.Unix()
	}
	if asked.until != "" {
		at, err := p.parseMoment("--until", asked.until)
		if err != nil {
			return nil, err
		}
		body["expires_at"] = at.Format(time.RFC3339)
	}
	return body, nil
}

// addToken names the token in a file by its issuer and its id, and keeps the revocation
// until it expires. Whether the token is genuine does not matter: who may revoke may
// revoke any.
func addToken(cmd *cobra.Command, name string, body map[string]any) error {
	data, err := readInput(cmd, name, maxExplained)
	if err != nil {
		return fmt.Errorf("reading the token: %w", err)
	}
	var claims struct {
		Issuer  string  `json:"iss"`
		ID      string  `json:"jti"`
		Expires float64 `json:"exp"`
	}
	parts := strings.Split(withoutScheme(data), ".")
	var payload []byte
	if len(parts) == 3 {
		payload, err = base64.RawURLEncoding.DecodeString(parts[1])
	}
	if len(parts) != 3 || err != nil || json.Unmarshal(payload, &claims) != nil {
		return errors.New("--token: " + inputName(name) + " holds no signed JWT; want the token and nothing else")
	}
	if claims.Issuer == "" || claims.ID == "" {
		return errors.New("--token: the token names no issuer, or has no id (jti); revoke its --session or --subject")
	}
	body["issuer"], body["token_id"] = claims.Issuer, claims.ID
	if at := time.Unix(int64(claims.Expires), 0).UTC(); claims.Expires > 0 && at.Year() < 10000 {
		body["expires_at"] = at.Add(tokenLeeway).Format(time.RFC3339)
	}
	return nil
}

// tokenLeeway is longer than a token is accepted after its end anywhere.
const tokenLeeway = 10 * time.Minute

func (p *program) printRevocation(w io.Writer, r *api.Revocation) error {
	what, name := revoked(r)
	t := table{}
	t.add("Revoked", what+" "+name)
	t.add("Issuer", strings.TrimPrefix(r.Issuer+", "+r.Identifier, ", "))
	t.add("Issued before", p.unixStamp(r.IssuedBefore))
	t.add("Reason", r.Reason)
	t.add("By", r.By)
	t.add("Kept until", p.stamp(r.ExpiresAt.Time))
	t.add("ID", r.ID)
	return t.print(w)
}

// tokenRevocations is the group of the commands about them.
func (p *program) tokenRevocations() *cobra.Command {
	var c connection
	cmd := &cobra.Command{
		Use:   "revocations",
		Short: "Lists and takes back revocations",
		Long: `
Lists what is revoked, and takes a revocation back. They go by themselves when no token
that they are about can be alive any more.

All of these commands need a token of the admin group.
`,
		Example: `  caddy gatehouse revocations list
  caddy gatehouse revocations delete 62ae998c-f4f4-5bc5-9660-68c68a1dd4bc`,
	}
	group(cmd)
	c.flags(cmd.PersistentFlags())
	cmd.AddCommand(p.revocationList(&c), p.revocationDelete(&c))
	return cmd
}

func (p *program) revocationList(c *connection) *cobra.Command {
	var limit int
	var issuer, search string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Lists revocations",
		Long:  "\nLists the revocations in force, by the name of what is revoked.\n",
		Example: `  caddy gatehouse revocations list
  caddy gatehouse revocations list --issuer acme --search alice --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "How many to list (default: all)")
	cmd.Flags().StringVar(&issuer, "issuer", "", "Only those of the issuer with this configured name")
	cmd.Flags().StringVar(&search, "search", "", "Only those with this text in name, reason or by")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	complete(cmd, "issuer", p.suggesting(c, suggestIssuers))
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		if err := checkLimit(cmd, limit); err != nil {
			return err
		}
		all := []json.RawMessage{}
		query := queryOf(map[string]string{"issuer": issuer, "search": search})
		collect := func(page []json.RawMessage) error { all = append(all, page...); return nil }
		err := s.pages(ctx, revocationsPath, query, limit, collect, func(raw json.RawMessage) (further bool, err error) {
			var last api.Revocation
			if err := s.read(raw, &last); err != nil {
				return false, err
			}
			_, name := revoked(&last)
			further = name >= query.Get("after") && last.ID != query.Get("after_id")
			query.Set("after", name)
			query.Set("after_id", last.ID)
			return further, nil
		})
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), all)
		}
		t := table{header: []string{"TARGET", "NAME", "ISSUER", "ISSUED BEFORE", "KEPT UNTIL", "BY", "REASON", "ID"}}
		for _, raw := range all {
			var r api.Revocation
			if err := s.read(raw, &r); err != nil {
				return err
			}
			what, name := revoked(&r)
			t.add(what, name, cmp.Or(r.Issuer, r.Identifier), p.unixStamp(r.IssuedBefore), p.stamp(r.ExpiresAt.Time), clip(r.By), clip(r.Reason), r.ID)
		}
		return t.print(cmd.OutOrStdout())
	})
	return cmd
}

func (p *program) revocationDelete(c *connection) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "delete ID",
		Short: "Lets the tokens of a revocation in again",
		Long:  "\nTakes back the revocation with that id: the tokens that it refuses are let in again.\n",
		Example: `  caddy gatehouse revocations delete 62ae998c-f4f4-5bc5-9660-68c68a1dd4bc
  caddy gatehouse revocations delete --json 62ae998c-f4f4-5bc5-9660-68c68a1dd4bc`,
		Args: one("ID, of a revocation"),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(c, func(ctx context.Context, cmd *cobra.Command, s *server, args []string) error {
		return s.remove(ctx, cmd, request{method: http.MethodDelete, path: revocationsPath + "/" + url.PathEscape(args[0])}, "id", args[0], asJSON)
	})
	return cmd
}

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/api"
)

// token is the group of the commands about bearer tokens.
func (p *program) token() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "token",
		Short:   "Explains bearer tokens",
		Long:    "\nExplains why a running server lets a bearer token in, or keeps it out.\n",
		Example: `  caddy gatehouse token explain < token.jwt`,
	}
	group(cmd)
	cmd.AddCommand(p.tokenExplain())
	return cmd
}

// maxExplained is the longest token that is sent, in bytes: longer than any that is
// let in, so that the server can say that it is too long.
const maxExplained = 48 << 10

func (p *program) tokenExplain() *cobra.Command {
	var c connection
	var asJSON bool
	var from proofFiles
	var rule string
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Says which rule lets a token in or keeps it out",
		Long: `
Reads a bearer token from stdin and asks a running server about it: each rule in order,
whether it is held to, what was expected and what was found, and the token's claims.
On a terminal the token is asked for and not shown. The rules of a route are among them
if --rule says the name that they have (name in its bearer_auth).

A token that is bound to a key needs what its sender shows besides: with --proof, the
DPoP proof in a file and the method and the URL of the request that it was made for; with
--certificate, the client's certificate in PEM. Each check of them is shown, too. No proof
is used up by it.

Exits with 0 if there is an explanation, also of a refusal, else with 1. It needs a
token of the admin group, besides the one on stdin.
`,
		Example: `  caddy gatehouse token explain < token.jwt
  caddy gatehouse token explain --rule payments < token.jwt
  caddy gatehouse token explain --token-file admin.token --json < token.jwt
  caddy gatehouse token explain --proof proof.jwt --method GET --url https://gw.example.com/a < token.jwt
  caddy gatehouse token explain --certificate client.pem < token.jwt`,
		Args: cobra.NoArgs,
	}
	c.flags(cmd.Flags())
	from.flags(cmd)
	cmd.Flags().StringVar(&rule, "rule", "", "The name of a route's rules to hold the token against, too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print the result as JSON")
	cmd.RunE = p.withServer(&c, func(ctx context.Context, cmd *cobra.Command, s *server, _ []string) error {
		token, err := p.readToken(cmd)
		if err != nil {
			return err
		}
		question, err := from.question(token)
		if err != nil {
			return err
		}
		if rule != "" {
			question["rule"] = rule
		}
		var e api.Explanation
		text, err := s.explain(ctx, question, &e)
		if err != nil {
			return err
		}
		if e.Verdict == "" {
			return errors.New("the answer of " + s.name + " holds no verdict; is it Caddy's admin endpoint?")
		}
		var claims map[string]any
		if len(e.Claims) > 0 && !isNull(e.Claims) {
			if err := s.read(e.Claims, &claims); err != nil {
				return err
			}
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), json.RawMessage(text))
		}
		if e.Verdict == "let_in" && rule == "" {
			note(cmd.ErrOrStderr(), "note: no rules of a route were asked; if its bearer_auth has a name, --rule NAME asks them too")
		}
		return p.printExplanation(cmd.OutOrStdout(), &e, claims)
	})
	return cmd
}

// readToken reads the token to explain. It may be any text: whether it is a token is
// for the server to say.
func (p *program) readToken(cmd *cobra.Command) (string, error) {
	var data []byte
	var err error
	if p.terminal(cmd.InOrStdin()) {
		_, _ = fmt.Fprint(cmd.ErrOrStderr(), "Token (not shown): ")
		data, err = p.secret(cmd.InOrStdin())
		_, _ = fmt.Fprintln(cmd.ErrOrStderr())
	} else {
		data, err = readBounded(cmd.InOrStdin(), "stdin", maxExplained)
	}
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	text := withoutScheme(data)
	if text == "" || !utf8.ValidString(text) {
		return "", errors.New("stdin holds no token; want a bearer token and nothing else")
	}
	return text, nil
}

// withoutScheme is a token without space around it, and without the scheme that stands
// before it in an Authorization header.
func withoutScheme(data []byte) string {
	text := strings.TrimSpace(string(data))
	if scheme, rest, ok := strings.Cut(text, " "); ok && (strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "dpop")) {
		return strings.TrimSpace(rest)
	}
	return text
}

// proofFiles say what the sender of a bound token shows besides the token.
type proofFiles struct {
	proof, method, url, certificate string
}

func (f *proofFiles) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.proof, "proof", "", "The file with the DPoP proof")
	cmd.Flags().StringVar(&f.method, "method", "", "The method of the request that the proof is for")
	cmd.Flags().StringVar(&f.url, "url", "", "The URL of the request that the proof is for, as clients call it")
	cmd.Flags().StringVar(&f.certificate, "certificate", "", "The file with the client's certificate in PEM")
	cmd.MarkFlagsRequiredTogether("proof", "method", "url")
}

// question is what is asked about a token.
func (f *proofFiles) question(token string) (map[string]string, error) {
	question := map[string]string{"token": token}
	for member, path := range map[string]string{"proof": f.proof, "certificate": f.certificate} {
		if path == "" {
			continue
		}
		data, err := readFile(path, maxExplained)
		text := strings.TrimSpace(string(data))
		if err == nil && (text == "" || !utf8.ValidString(text)) {
			err = errors.New(path + " holds no text")
		}
		if err != nil {
			return nil, fmt.Errorf("reading the %s: %w", member, err)
		}
		question[member] = text
	}
	if f.proof != "" {
		question["method"], question["url"] = f.method, f.url
	}
	return question, nil
}

// explain sends a token to be explained. No error shows it, nor its proof.
func (s *server) explain(ctx context.Context, question map[string]string, e *api.Explanation) ([]byte, error) {
	body, err := json.Marshal(question)
	if err != nil {
		return nil, fmt.Errorf("making the request: %w", err)
	}
	s.explained = question["token"]
	return s.get(ctx, request{method: http.MethodPost, path: "/api/tokens/explain", body: body}, e)
}

func (p *program) printExplanation(w io.Writer, e *api.Explanation, claims map[string]any) error {
	head := table{}
	head.add("Verdict", strings.ReplaceAll(e.Verdict, "_", " "))
	if e.Reason != "" {
		head.add("Reason", e.Reason)
	}
	if e.Message != "" {
		head.add("Message", e.Message)
	}
	head.add("Issuer", e.Issuer)

	held, broken, open := "yes", "no", "-"
	if p.unicodeTerminal(w) {
		held, broken, open = "✓", "✗", "·"
	}
	rules := table{header: []string{"HELD", "RULE", "EXPECTED", "FOUND"}}
	for _, r := range e.Rules {
		mark := open
		if r.Held != nil && *r.Held {
			mark = held
		} else if r.Held != nil {
			mark = broken
		}
		rules.addWrapped(mark, r.Rule, valueText(r.Expected), valueText(r.Found))
	}
	claimRows := table{header: []string{"CLAIM", "VALUE"}}
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		claimRows.addWrapped(name, valueText(claims[name]))
	}
	return printTables(w, head, rules, claimRows)
}

// valueText shows a value of JSON: texts as they are, lists of texts joined,
// anything else as JSON.
func valueText(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprint(int64(v))
		}
	case []any:
		texts := make([]string, 0, len(v))
		for _, element := range v {
			if text, ok := element.(string); ok {
				texts = append(texts, text)
			}
		}
		if len(texts) == len(v) {
			return strings.Join(texts, ", ")
		}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "?"
	}
	return string(text)
}

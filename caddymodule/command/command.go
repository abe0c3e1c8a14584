// Package command is `caddy gatehouse …`: making and reading licenses offline,
// and asking a running server through its HTTP API.
//
// Results go to stdout, as a table for people or, with --json, as JSON for
// programs; errors, warnings, prompts and progress go to stderr. A command that
// did not do what it was asked for exits with a status other than 0 and leaves
// no file behind.
//
// What other people wrote (a license's description, a server's message) is
// shown without control characters, which a terminal would interpret.
// Tokens, passphrases and private keys are read from files, the environment or
// stdin, never from arguments, and never shown.
//
// Decisions about tokens and licenses, and the HTTP API itself, have no place here.
// The package knows the server by its answers only, reads them by the types of package
// api, and ignores members that it does not know.
package command

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Command is the command gatehouse with all that is below it, for
// [caddycmd.RegisterCommand].
func Command() caddycmd.Command {
	p := &program{now: time.Now, getenv: os.Getenv, terminal: isTerminal, secret: readSecret}
	p.open = func(address string) error { return openBrowser(p.getenv, address) }
	return caddycmd.Command{
		Name:  "gatehouse",
		Usage: "<command>",
		Short: "Makes licenses, and manages a running Gatehouse",
		Long: `
Makes and reads licenses without a server (keygen, sign, verify, inspect), and manages a
running Gatehouse, by default through Caddy's admin endpoint (all other commands).

The latter find the server as Caddy's own commands do, by --address or --config, and send
the bearer token of --token-file or of the environment variable GATEHOUSE_TOKEN. Without a
token the server lets them in only if its configuration says trust_admin_endpoint.

Results are printed on stdout, as a table or with --json as JSON; all else on stderr.
Nothing is colored, with or without NO_COLOR, and a progress bar is drawn on a terminal
only.

Exits with 0 on success and with 1 on an error: a wrong command line, a refusal of the
server, a license that is not valid. The reason is on stderr.

The shell completes commands, flags and values, as ` + "`caddy completion --help`" + ` says; where a
running server lets it, subjects of service accounts and names of issuers as well.
`,
		CobraFunc: p.root,
	}
}

// program is what the commands need of the process around them.
type program struct {
	now      func() time.Time
	getenv   func(string) string
	terminal func(stream any) bool
	secret   func(stream any) ([]byte, error) // reads a line without showing it
	open     func(address string) error       // shows it in a browser
}

func (p *program) root(cmd *cobra.Command) {
	group(cmd)
	cmd.Example = `  caddy gatehouse keygen --out vendor.key
  caddy gatehouse status
  caddy gatehouse service-account disable ci-deploy`
	cmd.AddCommand(
		p.keygen(), p.sign(), p.verify(), p.inspect(),
		p.install(), p.license(), p.licenses(), p.status(),
		p.serviceAccount(), p.revoke(), p.tokenRevocations(), p.ssoURL(), p.token(), p.keys(),
	)
	finish(cmd)
}

// group makes cmd a command that only has others below it. Alone it shows its help.
// An unknown word is an error, which Cobra would ignore.
func group(cmd *cobra.Command) {
	unknown := func(word string) error {
		var names []string
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		return fmt.Errorf("unknown command %.40q; want one of %s", word, strings.Join(names, ", "))
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknown(args[0])
	}
	// After a misspelt command, its flags are unknown, but the command is what is wrong.
	// The commands below inherit this.
	cmd.SetFlagErrorFunc(func(at *cobra.Command, err error) error {
		if words := at.Flags().Args(); at == cmd && len(words) > 0 {
			return unknown(words[0])
		}
		return err
	})
}

const (
	// suggestWait is how long the shell waits for the server's suggestions.
	suggestWait = 2 * time.Second
	// maxSuggested is the most subjects that are suggested.
	maxSuggested = 100
)

// fileFlags are the flags that name a file, and fileCommands the commands whose
// argument does. The shell completes all others without offering files.
var (
	fileFlags    = []string{"config", "key", "out", "passphrase-file", "token-file", "trusted-key"}
	fileCommands = []string{"import", "inspect", "install", "verify"}
)

// finish adds what all commands have in common: files are suggested only where one
// is wanted, and the help says the exit status.
func finish(cmd *cobra.Command) {
	for _, child := range cmd.Commands() {
		finish(child)
	}
	if cmd.ValidArgsFunction == nil && !slices.Contains(fileCommands, cmd.Name()) {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, flags := range []*pflag.FlagSet{cmd.LocalNonPersistentFlags(), cmd.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if slices.Contains(fileFlags, f.Name) {
				_ = cobra.MarkFlagFilename(flags, f.Name) // it is one of them
				return
			}
			// An error says that the flag has suggestions of its own.
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.NoFileCompletions)
		})
	}
	if !strings.Contains(cmd.Long, "Exits with 0") {
		cmd.Long += "\nExits with 0 on success and with 1 on an error.\n"
	}
}

// suggest completes the value of a flag of cmd with one of a few.
func suggest(cmd *cobra.Command, flag string, values ...cobra.Completion) {
	complete(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // the command has no such flag
	}
}

// suggesting completes with what a running server answers. After an error there are
// no suggestions, as the shell could not show it. No token is sent unencrypted.
func (p *program) suggesting(c *connection, list func(ctx context.Context, s *server, begun string) ([]cobra.Completion, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		cmd.SetErr(io.Discard)
		s, err := p.connect(cmd, c)
		if err != nil || s.unencrypted && s.token.text != "" {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer s.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), suggestWait)
		defer cancel()
		found, _ := list(ctx, s, begun)
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

// firstOnly completes the first argument, and offers nothing for others.
func firstOnly(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(cmd, args, begun)
	}
}

// suggestIssuers completes with the names of the configured issuers.
func suggestIssuers(ctx context.Context, s *server, begun string) (found []cobra.Completion, err error) {
	issuers, _, err := s.issuers(ctx)
	for _, issuer := range issuers {
		found = suggestion(found, begun, issuer.Name, issuer.Issuer)
	}
	return found, err
}

// suggestSubjects completes with subjects of service accounts, of one issuer if its
// name is given.
func suggestSubjects(issuer *string) func(ctx context.Context, s *server, begun string) ([]cobra.Completion, error) {
	return func(ctx context.Context, s *server, begun string) (found []cobra.Completion, err error) {
		var page []accountInfo
		query := queryOf(map[string]string{"after": begun, "issuer": *issuer, "limit": strconv.Itoa(maxSuggested)})
		_, err = s.get(ctx, request{method: http.MethodGet, path: accountsPath, query: query}, &page)
		for _, a := range page {
			if safe.MatchString(a.Subject) {
				found = suggestion(found, begun, a.Subject, a.Name)
			} else {
				found = suggestion(found, begun, a.ID, a.Subject)
			}
		}
		return found, err
	}
}

// safe matches values without a character that is special to a shell. Caddy's
// completion script for bash inserts suggestions unquoted, and even expands them.
var safe = regexp.MustCompile(`^[\pL\pN_./:@%+,-]+$`)

// suggestion adds a safe value that begins as typed, with its description.
func suggestion(found []cobra.Completion, begun, value, description string) []cobra.Completion {
	if !strings.HasPrefix(value, begun) || !safe.MatchString(value) {
		return found
	}
	return append(found, cobra.CompletionWithDesc(value, plain(clip(oneLine(description)))))
}

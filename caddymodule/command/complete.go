package command

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

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
// is wanted, and the help tells the exit status.
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
		from := accountFrom{after: begun, issuer: *issuer}
		_, err = s.get(ctx, request{method: http.MethodGet, path: accountsPath, query: from.query(maxSuggested)}, &page)
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

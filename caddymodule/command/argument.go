package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// one wants exactly one argument; what says which.
func one(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return errors.New("an argument is missing; want " + what)
		case len(args) > 1:
			return fmt.Errorf("there are %d arguments; want one: %s", len(args), what)
		case args[0] == "":
			return errors.New("the argument is empty; want " + what)
		}
		return nil
	}
}

// splitList reads the values of a flag that may be repeated and holds names
// separated by commas. Nil stands for a flag that was not given; one that was
// given but is empty is an empty list.
func splitList(given bool, values []string) []string {
	if !given {
		return nil
	}
	list := []string{}
	for _, value := range values {
		if value == "" {
			continue
		}
		for entry := range strings.SplitSeq(value, ",") {
			list = append(list, strings.TrimSpace(entry))
		}
	}
	return list
}

// parseLimits reads name=integer pairs.
func parseLimits(pairs []string) (map[string]int64, error) {
	var limits map[string]int64
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("limits: found %.80q; want name=integer", pair)
		}
		name = strings.TrimSpace(name)
		if _, twice := limits[name]; twice {
			return nil, fmt.Errorf("limits: %.80q is given twice; want each once", name)
		}
		if limits == nil {
			limits = make(map[string]int64, len(pairs))
		}
		limits[name] = n
	}
	return limits, nil
}

// parseEnforcement reads name=word pairs.
func parseEnforcement(pairs []string) (map[string]license.Enforcement, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	words := make(map[string]license.Enforcement, len(pairs))
	for _, pair := range pairs {
		name, word, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		if _, twice := words[name]; !found || twice {
			return nil, fmt.Errorf("enforcement: found %.80q; want name=advisory or name=deny, each name once", pair)
		}
		words[name] = license.Enforcement(strings.TrimSpace(word))
	}
	return words, nil
}

// parseSpan reads a duration as [license.ParseTTL] does, and names the flag in its
// error.
func parseSpan(flag, text string) (time.Duration, error) {
	d, err := license.ParseTTL(text)
	var bad *license.Error
	if errors.As(err, &bad) {
		return 0, fmt.Errorf("%s: %s", flag, bad.Detail)
	}
	return d, err
}

// parseMoment reads a time of RFC 3339, a day (its beginning in UTC), or how
// far from now it is.
func (p *program) parseMoment(flag, text string) (time.Time, error) {
	if t, ok := parseTime(text); ok {
		return t, nil
	}
	if d, err := license.ParseTTL(text); err == nil && d > 0 {
		return p.now().UTC().Add(d).Truncate(time.Second), nil
	}
	return time.Time{}, fmt.Errorf("%s: found %.80q; want a time such as 2027-01-31T00:00:00Z, a day such as 2027-01-31, or a duration from now such as 90d", flag, text)
}

// parseTime reads a time of RFC 3339, or a day.
func parseTime(text string) (t time.Time, ok bool) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return t, false
}

// stdin is the name of a file that stands for stdin.
const stdin = "-"

// readInput reads a file, or stdin, of at most limit bytes.
func readInput(cmd *cobra.Command, name string, limit int64) ([]byte, error) {
	if name == stdin {
		return readBounded(cmd.InOrStdin(), inputName(name), limit)
	}
	return readFile(name, limit)
}

// inputName is what people call a file or stdin.
func inputName(name string) string {
	if name == stdin {
		return "stdin"
	}
	return name
}

func readFile(name string, limit int64) ([]byte, error) {
	file, err := os.Open(name) //nolint:gosec // The path is the caller's own.
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // Only read.
	return readBounded(file, name, limit)
}

func readBounded(r io.Reader, name string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes; want at most that", name, limit)
	}
	return data, nil
}

// maxSecret bounds a file that holds a token or a passphrase, in bytes.
const maxSecret = 64 << 10

// readSecretFile reads a file that nobody else should read, and warns if others
// may. A pipe has no such mode worth looking at.
func readSecretFile(cmd *cobra.Command, name string) (string, error) {
	file, err := os.Open(name) //nolint:gosec // The path is the operator's own.
	if err != nil {
		return "", err
	}
	defer file.Close() //nolint:errcheck // Only read.
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().IsRegular() {
		if err := keyfile.CheckPrivate(file); err != nil {
			note(cmd.ErrOrStderr(), "warning: %v", err)
		}
	}
	data, err := readBounded(file, name, maxSecret)
	return string(data), err
}

// synonym makes a flag known by another name, too: licenses say expire-at, as hoop
// does, and accounts expires-at.
func synonym(other, name string) func(*pflag.FlagSet, string) pflag.NormalizedName {
	return func(_ *pflag.FlagSet, given string) pflag.NormalizedName {
		if given == other {
			given = name
		}
		return pflag.NormalizedName(given)
	}
}

// require makes flags required. The names are the command's own.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
}

// wanted refuses flags that are missing or empty.
func wanted(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if cmd.Flag(name).Value.String() == "" {
			return fmt.Errorf("--%s is missing; see --help", name)
		}
	}
	return nil
}

// checkLimit refuses a --limit below 1.
func checkLimit(cmd *cobra.Command, limit int) error {
	if cmd.Flags().Changed("limit") && limit < 1 {
		return errors.New("--limit is " + strconv.Itoa(limit) + "; want 1 or more, or leave it out")
	}
	return nil
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) //nolint:gosec // A descriptor is a small number.
}

// readSecret reads a line from a terminal without showing it. An interrupt first
// makes the terminal show again what is typed, and then ends the program.
func readSecret(stream any) ([]byte, error) {
	file, ok := stream.(*os.File)
	if !ok {
		return nil, errors.New("stdin is not a terminal")
	}
	fd := int(file.Fd()) //nolint:gosec // As above.
	state, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("stdin is not a terminal: %w", err)
	}
	interrupted, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	defer close(done)
	go func() {
		select {
		case <-interrupted:
			_ = term.Restore(fd, state)
			os.Exit(caddy.ExitCodeFailedStartup)
		case <-done:
		}
	}()
	return term.ReadPassword(fd)
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

// tokenVariable is the environment variable that holds a bearer token.
const tokenVariable = "GATEHOUSE_TOKEN"

// credential is a bearer token and where it came from. However it is printed, only
// the latter is shown.
type credential struct {
	text   string
	source string
}

// Format keeps the token out of whatever a credential is printed to.
func (c credential) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "token of "+c.source) }

// bearerToken is the b64token of RFC 6750, section 2.1.
var bearerToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// maxToken is the longest token that the server takes, in bytes.
const maxToken = 16 << 10

// credential reads the token of a file or else of the environment. There may be
// none; where the admin endpoint is trusted, none is needed.
func (p *program) credential(cmd *cobra.Command, file string) (credential, error) {
	c := credential{text: p.getenv(tokenVariable), source: "the environment variable " + tokenVariable}
	if cmd.Flags().Changed("token-file") {
		text, err := readSecretFile(cmd, file)
		if err != nil {
			return credential{}, fmt.Errorf("reading the token: %w", err)
		}
		c = credential{text: text, source: file}
		if strings.TrimSpace(text) == "" {
			return credential{}, errors.New(file + " holds no token; want a bearer token and nothing else")
		}
	}
	c.text = strings.TrimSpace(c.text)
	if c.text == "" {
		return credential{}, nil
	}
	if len(c.text) > maxToken || !bearerToken.MatchString(c.text) {
		return credential{}, fmt.Errorf("%s holds no bearer token; want one (RFC 6750, section 2.1) of at most %d bytes and nothing else", c.source, maxToken)
	}
	return c, nil
}

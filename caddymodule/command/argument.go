package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

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

// parseSpan reads a duration as [license.ParseTTL] does, for another flag than
// its own.
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
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	if d, err := license.ParseTTL(text); err == nil && d > 0 {
		return p.now().UTC().Add(d).Truncate(time.Second), nil
	}
	return time.Time{}, fmt.Errorf("%s: found %.80q; want a time such as 2027-01-31T00:00:00Z, a day such as 2027-01-31, or a duration from now such as 90d", flag, text)
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

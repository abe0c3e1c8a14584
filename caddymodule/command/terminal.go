package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"golang.org/x/term"
)

// isTerminal tells whether somebody sits at the other end of a stream.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd())) //nolint:gosec // A descriptor is a small number.
}

// readSecret reads a line from a terminal without showing it. An interrupt ends
// the program, but not before the terminal shows again what is typed.
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

// unicodeTerminal tells whether a stream is a terminal that shows more than
// ASCII, which the locale says (POSIX.1-2017, section 8.2).
func (p *program) unicodeTerminal(stream io.Writer) bool {
	if !p.terminal(stream) {
		return false
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToLower(p.getenv(name)); locale != "" {
			return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
		}
	}
	return false
}

package command

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newTerminal makes a terminal, and the end at which somebody types and reads.
func newTerminal(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = person.Close() })
	fd := int(person.Fd()) //nolint:gosec // A descriptor is a small number.
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return person, terminal
}

// TestSecretsAreNotShown reads a passphrase from a terminal.
func TestSecretsAreNotShown(t *testing.T) {
	person, terminal := newTerminal(t)
	if !isTerminal(terminal) {
		t.Error("the terminal is not taken for one")
	}
	s := newShell(t)
	key := s.file("vendor.age", encrypted(t, s.vendorKey(), "open sesame"), 0o600)
	s.program.terminal, s.program.secret = isTerminal, readSecret
	s.stdin = terminal
	if _, err := person.WriteString("open sesame\n"); err != nil {
		t.Fatal(err)
	}
	r := s.signWith("--key", key)
	if r.err != nil || !strings.Contains(r.stdout, "signature") {
		t.Fatalf("got %v", r.err)
	}
	if strings.Contains(r.stdout+r.stderr, "sesame") {
		t.Errorf("the passphrase is shown: %s", r.stderr)
	}
}

func TestNoTerminal(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // Only read.
	for _, stream := range []any{file, strings.NewReader("secret\n"), nil} {
		if isTerminal(stream) {
			t.Errorf("%T is taken for a terminal", stream)
		}
		if _, err := readSecret(stream); err == nil || !strings.Contains(err.Error(), "stdin is not a terminal") {
			t.Errorf("%T: got %v", stream, err)
		}
	}
}

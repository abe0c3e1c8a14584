package command

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/license"
	"github.com/gatehouse-proxy/gatehouse/license/keyfile"
)

// asCaddy makes the test's own binary a Caddy with the command.
const asCaddy = "GATEHOUSE_TEST_AS_CADDY"

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain looks for goroutines left over, except the one by which certmagic
// keeps a lock fresh: it sees some seconds later that the lock was given back.
func TestMain(m *testing.M) {
	if os.Getenv(asCaddy) != "" {
		caddycmd.RegisterCommand(Command())
		caddycmd.Main()
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/caddyserver/certmagic.keepLockfileFresh"))
}

// noon is the time that all tests run at.
var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// shell is where a test runs commands.
type shell struct {
	t       *testing.T
	program *program
	env     map[string]string
	stdin   io.Reader

	// args go in front of those of each command.
	connection []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	s := &shell{t: t, env: map[string]string{}, stdin: strings.NewReader("")}
	s.program = &program{
		now:      func() time.Time { return noon },
		getenv:   func(name string) string { return s.env[name] },
		terminal: func(any) bool { return false },
		secret:   func(any) ([]byte, error) { return nil, errors.New("nobody is there to be asked") },
	}
	return s
}

// caddy is the whole command, as Caddy makes it.
func (s *shell) caddy() *cobra.Command {
	c := Command()
	gatehouse := &cobra.Command{Use: c.Name + " " + c.Usage, Short: c.Short, Long: c.Long}
	s.program.root(gatehouse)
	caddy := &cobra.Command{Use: "caddy", SilenceUsage: true}
	caddy.AddCommand(gatehouse)
	return caddy
}

// result is what a command left behind.
type result struct {
	stdout, stderr string
	err            error
}

func (s *shell) run(args ...string) result {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	caddy := s.caddy()
	caddy.SetArgs(append([]string{"gatehouse"}, append(args, s.connection...)...))
	caddy.SetIn(s.stdin)
	caddy.SetOut(&stdout)
	caddy.SetErr(&stderr)
	err := caddy.Execute()
	return result{stdout.String(), stderr.String(), err}
}

// must runs a command that succeeds.
func (s *shell) must(args ...string) result {
	s.t.Helper()
	r := s.run(args...)
	if r.err != nil {
		s.t.Fatalf("%v: %v\nstderr: %s", args, r.err, r.stderr)
	}
	return r
}

// fails runs a command that fails with all the words in what it says on stderr,
// and prints no result.
func (s *shell) fails(words []string, args ...string) result {
	s.t.Helper()
	r := s.run(args...)
	if r.err == nil {
		s.t.Fatalf("%v: no error; stdout: %s", args, r.stdout)
	}
	if r.stdout != "" {
		s.t.Errorf("%v failed and printed a result: %s", args, r.stdout)
	}
	for _, word := range words {
		if !strings.Contains(r.stderr, word) {
			s.t.Errorf("%v: stderr does not hold %q:\n%s", args, word, r.stderr)
		}
	}
	return r
}

func (s *shell) typed(text string) *shell {
	s.stdin = strings.NewReader(text)
	return s
}

// file writes a file of that mode, and gives its path.
func (s *shell) file(name, content string, mode os.FileMode) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// vendorKey writes a key that is always the same.
func (s *shell) vendorKey() string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "vendor.key")
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	if err := keyfile.Create(path, ed25519.NewKeyFromSeed(seed)); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// license signs one that is always the same.
func (s *shell) license(more ...string) string {
	s.t.Helper()
	args := []string{
		"sign", "--key", s.vendorKey(), "--type", "enterprise", "--allowed-hosts", "gw.acme.example,*.apps.acme.example",
		"--description", "Acme Corp", "--expire-at", "365d", "--id", "5b0e3c0e-8b0e-4a5e-9a52-0d7d3a0f9f11",
	}
	offline := *s
	offline.connection = nil
	return offline.must(append(args, more...)...).stdout
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// at gives the program another time than noon.
func (s *shell) at(when time.Time) *shell {
	s.program.now = func() time.Time { return when }
	return s
}

func decodeLicense(t *testing.T, text string) *license.License {
	t.Helper()
	l, err := license.Decode([]byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return l
}

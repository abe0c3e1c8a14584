package demo_test

import (
	"bytes"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/internal/demo"
	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func stage(t *testing.T) *demo.Stage {
	t.Helper()
	s, err := demo.New(demo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestCloseRemovesEverything(t *testing.T) {
	s, err := demo.New(demo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	env := s.Environment()
	if err := os.MkdirAll(filepath.Join(s.Dir, "data", "caddy"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", s.Dir, err)
	}
	for _, name := range []string{"GATEHOUSE_ISSUER", "GATEHOUSE_UPSTREAM"} {
		if res, err := http.Get(env[name]); err == nil {
			res.Body.Close()
			t.Errorf("%s still answers", name)
		}
	}
}

func TestPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := ln.Addr().(*net.TCPAddr).Port
	s, err := demo.New(demo.Options{Port: port})
	if err == nil {
		s.Close()
		t.Fatal("took a port that is in use")
	}
	for _, want := range []string{"port " + strconv.Itoa(port), "--port"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not name %q", err, want)
		}
	}
}

func TestPortWanted(t *testing.T) {
	free, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netip.ParseAddrPort(free)
	if err != nil {
		t.Fatal(err)
	}
	s, err := demo.New(demo.Options{Port: int(addr.Port())})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Site != "http://"+addr.String() {
		t.Errorf("Site = %q, want port %d", s.Site, addr.Port())
	}
}

// A variable that the demo forgets would send its user to example.com.
func TestEnvironmentCoversTheExample(t *testing.T) {
	path, err := demo.FindExample(".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	env := stage(t).Environment()
	found := regexp.MustCompile(`\{(?:\$(GATEHOUSE_[A-Z_]+):[^}]+|env\.(GATEHOUSE_[A-Z_]+))\}`).FindAllSubmatch(text, -1)
	if len(found) == 0 {
		t.Fatal("the example reads no variable")
	}
	for _, m := range found {
		if name := string(m[1]) + string(m[2]); env[name] == "" {
			t.Errorf("the demo does not set %s", name)
		}
	}
}

func TestFindExample(t *testing.T) {
	root := t.TempDir()
	deep := filepath.Join(root, "a", "b")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	if path, err := demo.FindExample(deep); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("found %q, error %v: want one that names --config", path, err)
	}
	want := filepath.Join(root, "Caddyfile.example")
	if err := os.WriteFile(want, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := demo.FindExample(deep); got != want || err != nil {
		t.Errorf("found %q, %v, want %q", got, err, want)
	}
}

func TestPrintColorsOnlyWhenAsked(t *testing.T) {
	s := stage(t)
	var plain, colored bytes.Buffer
	if err := s.Print(&plain, false); err != nil {
		t.Fatal(err)
	}
	if err := s.Print(&colored, true); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(plain.String(), "\x1b") {
		t.Error("escape sequences without a terminal")
	}
	if got := regexp.MustCompile("\x1b\\[[0-9]m").ReplaceAllString(colored.String(), ""); got != plain.String() {
		t.Error("color changes more than color")
	}
	if !strings.Contains(colored.String(), "\x1b[1mcurl") {
		t.Error("no line is bold")
	}
}

// All of the output can be pasted, so what is no command has to be a comment.
func TestPrintedLinesAreCommandsOrComments(t *testing.T) {
	s := stage(t)
	var out bytes.Buffer
	if err := s.Print(&out, false); err != nil {
		t.Fatal(err)
	}
	steps := s.Steps()
	lines := make(map[string]bool, len(steps))
	names := make(map[string]bool, len(steps))
	for _, step := range steps {
		lines[step.Line] = true
		if names[step.Name] || step.Shows == "" {
			t.Errorf("step %q: name used twice, or nothing shown", step.Name)
		}
		if strings.ContainsAny(step.Shows, "'\"`\n") {
			t.Errorf("step %q: %q holds a quote or a line break", step.Name, step.Shows)
		}
		names[step.Name] = true
	}
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" && line[0] != '#' && !lines[line] {
			t.Errorf("neither command nor comment: %q", line)
		}
		delete(lines, line)
	}
	if len(lines) > 0 {
		t.Errorf("not printed: %v", lines)
	}
}

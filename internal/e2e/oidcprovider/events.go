package oidcprovider

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Sender is the provider as one that says what happens to its users.
type Sender struct {
	URL string // its issuer identifier

	t      testing.TB
	input  *json.Encoder
	output *bufio.Reader
}

// StartSender runs the provider on loopback until the test ends. It sends its logout
// tokens to logoutURI.
func StartSender(t testing.TB, logoutURI string) *Sender {
	t.Helper()
	node := lookPath(t, "node")
	dir := install(t)
	var stderr bytes.Buffer
	cmd := exec.Command(node, filepath.Join(dir, "events.mjs"), ClientID, Audience, logoutURI)
	cmd.Dir, cmd.Stderr = dir, &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting oidc-provider: %v", err)
	}
	t.Cleanup(func() { end(t, cmd, stdin) })
	timer := time.AfterFunc(2*time.Minute, func() { stdin.Close() }) // so that nothing waits for ever
	t.Cleanup(func() { timer.Stop() })
	s := &Sender{t: t, input: json.NewEncoder(stdin), output: bufio.NewReader(stdout)}
	s.URL = s.answer()
	return s
}

// Do has the provider do something: token, logout, push, queue or waiting.
func (s *Sender) Do(command string, options map[string]any) string {
	s.t.Helper()
	all := map[string]any{"command": command}
	maps.Copy(all, options)
	if err := s.input.Encode(all); err != nil {
		s.t.Fatal(err)
	}
	return s.answer()
}

func (s *Sender) answer() string {
	s.t.Helper()
	line, err := s.output.ReadString('\n')
	if err != nil {
		s.t.Fatalf("oidc-provider ended before it answered: %v", err)
	}
	return strings.TrimSpace(line)
}

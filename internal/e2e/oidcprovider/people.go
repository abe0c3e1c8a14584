package oidcprovider

import (
	"bufio"
	"bytes"
	_ "embed" // for the script
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/people.mjs
var people []byte

// StartPeople runs the provider, on loopback until the test ends, for people who log in
// with any name and password on its pages. A public client may lead them to a redirect
// address, on any port of loopback, by a code or by an ID token. All but the person
// called stranger are in the group.
func StartPeople(t testing.TB, client, redirectURI, group string) (issuerURL string) {
	t.Helper()
	dir := install(t)
	// Beside what it imports.
	script, err := os.CreateTemp(dir, "people-*.mjs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(script.Name()) })
	if _, err := script.Write(people); err != nil {
		t.Fatal(err)
	}
	if err := script.Close(); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(lookPath(t, "node"), filepath.Base(script.Name()), client, redirectURI, group) // ends by end
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
	timer := time.AfterFunc(30*time.Second, func() { _ = stdin.Close() })
	defer timer.Stop()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("oidc-provider ended before it answered: %v\n%s", err, stderr.Bytes())
	}
	return strings.TrimSpace(line)
}

package oidcprovider

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

//go:embed testdata/package.json testdata/package-lock.json testdata/server.mjs testdata/client.mjs testdata/gateway.mjs testdata/events.mjs
var files embed.FS

var names = []string{"package.json", "package-lock.json", "server.mjs", "client.mjs", "gateway.mjs", "events.mjs"}

// install returns a folder with the script and what it imports. Its name holds a
// hash of the files, so that a change of one makes a new folder.
func install(t testing.TB) string {
	t.Helper()
	npm := lookPath(t, "npm")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatalf("the user's cache folder: %v", err)
	}
	root := filepath.Join(cache, "gatehouse-oidc-provider")
	dir, err := ensure(root, npm)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func ensure(root, npm string) (string, error) {
	sum := sha256.New()
	for _, name := range names {
		b, err := files.ReadFile("testdata/" + name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(b), b)
	}
	dir := filepath.Join(root, hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	// Made aside and then renamed: an aborted install leaves nothing to trust.
	fresh, err := os.MkdirTemp(root, "new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(fresh)
	if err := fill(fresh, npm); err != nil {
		return "", err
	}
	err = os.Rename(fresh, dir)
	if errors.Is(err, os.ErrExist) {
		return dir, nil // another test binary was faster
	}
	return dir, err
}

func fill(dir, npm string) error {
	for _, name := range names {
		b, err := files.ReadFile("testdata/" + name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	cmd := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci for oidc-provider (it needs a registry once): %w\n%s", err, out)
	}
	return nil
}

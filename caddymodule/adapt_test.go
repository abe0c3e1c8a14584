package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

func adapt(text string) ([]byte, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return adapted, err
}

// Each file holds a Caddyfile, a line of dashes, and the JSON that it stands for
// or a part of the error that it must give.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddytest")
	if err != nil || len(files) < 60 {
		t.Fatalf("found %d fixtures, %v; want all of them", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddytest"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text, want, found := strings.Cut(strings.ReplaceAll(string(data), "\r\n", "\n"), "\n----------\n")
			if !found {
				t.Fatal("the fixture has no line of dashes")
			}
			checkAdapted(t, text, strings.TrimSpace(want))
		})
	}
}

func checkAdapted(t *testing.T, text, want string) {
	t.Helper()
	got, err := adapt(text)
	if !strings.HasPrefix(want, "{") {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got the error %v, want one with %q", err, want)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, got, "", "\t"); err != nil {
		t.Fatal(err)
	}
	if indented.String() != want {
		t.Errorf("got\n%s\nwant\n%s", indented.String(), want)
	}
}

func TestExampleAdapts(t *testing.T) {
	data, err := os.ReadFile("../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := adapt(string(data)); err != nil {
		t.Error(err)
	}
}

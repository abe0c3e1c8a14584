// Package docs_test holds the documentation against the code: links, Caddyfiles,
// options, messages, metrics, events and placeholders, each in both directions.
package docs_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the top of the repository.
const root = "../.."

// pages are the names of all pages, from the top of the repository.
func pages(t *testing.T) []string {
	t.Helper()
	names := []string{"README.md"}
	for _, pattern := range []string{"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "xcaddy.md", "docs/*.md", "examples/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, filepath.ToSlash(name))
		}
	}
	return names
}

// read gives the text of a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// section gives what is under a heading of a page, up to the next heading of
// the same or a higher level.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	text := prose(read(t, page))
	_, rest, found := strings.Cut(text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	level, _, _ := strings.Cut(heading, " ")
	for n := len(level); n > 0; n-- {
		rest, _, _ = strings.Cut(rest, "\n"+strings.Repeat("#", n)+" ")
	}
	return rest
}

var fence = regexp.MustCompile("(?ms)^[ \t]*```([a-z]*)\n(.*?)^[ \t]*```[ \t]*$")

// prose is a page without its code blocks.
func prose(text string) string { return fence.ReplaceAllString(text, "") }

var row = regexp.MustCompile(`(?m)^\|(.+)\|$`)

// rows gives the cells of the tables in a text, without headings and rules.
func rows(text string) (cells [][]string) {
	lines := row.FindAllStringSubmatch(text, -1)
	for i, line := range lines {
		if strings.Trim(line[1], "-| ") == "" || i+1 < len(lines) && strings.Trim(lines[i+1][1], "-| ") == "" {
			continue
		}
		var one []string
		for _, cell := range strings.Split(strings.ReplaceAll(line[1], `\|`, "\x00"), "|") {
			one = append(one, strings.TrimSpace(strings.ReplaceAll(cell, "\x00", "|")))
		}
		cells = append(cells, one)
	}
	return cells
}

var code = regexp.MustCompile("`([^`]+)`")

// codes are the code spans of a text.
func codes(text string) (found []string) {
	for _, match := range code.FindAllStringSubmatch(text, -1) {
		found = append(found, match[1])
	}
	return found
}

// set is the set of some words.
func set(words []string) map[string]bool {
	all := make(map[string]bool, len(words))
	for _, word := range words {
		all[word] = true
	}
	return all
}

// same holds the words of a page against those of the code.
func same(t *testing.T, what string, page, inCode []string) {
	t.Helper()
	written, known := set(page), set(inCode)
	for _, word := range slices.Sorted(maps.Keys(known)) {
		if !written[word] {
			t.Errorf("%s: %q is not documented", what, word)
		}
	}
	for _, word := range slices.Sorted(maps.Keys(written)) {
		if !known[word] {
			t.Errorf("%s: %q is documented and does not exist", what, word)
		}
	}
	if len(known) == 0 {
		t.Errorf("%s: the code has none", what)
	}
}

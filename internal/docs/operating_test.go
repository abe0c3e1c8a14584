package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestEveryAlertIsDocumented(t *testing.T) {
	var documented, known []string
	for _, cells := range rows(section(t, "docs/operating.md", "## Alerts")) {
		documented = append(documented, codes(cells[0])...)
	}
	for _, match := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(read(t, "deploy/prometheus/gatehouse.rules.yml"), -1) {
		known = append(known, match[1])
	}
	same(t, "alerts", documented, known)
}

// Events are emitted by names that are constants of caddymodule/events.
func TestEveryEventIsDocumented(t *testing.T) {
	var documented, known []string
	for _, cells := range rows(section(t, "docs/operating.md", "## Events")) {
		documented = append(documented, codes(cells[0])...)
	}
	for _, value := range constants(t, "caddymodule/events") {
		known = append(known, value)
	}
	same(t, "events", documented, known)
}

// constants are the constants of a package that are texts.
func constants(t *testing.T, folder string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				spec := spec.(*ast.ValueSpec)
				for i, value := range spec.Values {
					if text, ok := value.(*ast.BasicLit); ok && text.Kind == token.STRING {
						plain, err := strconv.Unquote(text.Value)
						if err != nil {
							t.Fatal(err)
						}
						found[spec.Names[i].Name] = plain
					}
				}
			}
		}
	}
	return found
}

// Figures are those of the last run, so that no page says more than was measured.
func TestFiguresAreThoseOfTheLastRun(t *testing.T) {
	results := set(figure.FindAllString(strings.ReplaceAll(read(t, "bench/results/results.md"), ",", ""), -1))
	speed := prose(read(t, "docs/speed.md"))
	speed, _, _ = strings.Cut(speed, "\n## What was not reached\n")
	var claimed []string
	for _, cells := range rows(speed) {
		for _, cell := range cells[1:] {
			claimed = append(claimed, figure.FindAllString(cell, -1)...)
		}
	}
	for line := range strings.SplitSeq(section(t, "README.md", "## How fast"), "\n") {
		if strings.HasPrefix(line, "- ") {
			claimed = append(claimed, regexp.MustCompile(`\d+\.\d+`).FindAllString(line, -1)...)
		}
	}
	if len(claimed) < 40 {
		t.Errorf("found %d figures, want more", len(claimed))
	}
	for _, one := range claimed {
		if !results[one] {
			t.Errorf("%s is not in the results", one)
		}
	}
}

var figure = regexp.MustCompile(`\d+(?:\.\d+)?`)

// What the pages call by a path is there.
func TestPathsAreThere(t *testing.T) {
	for _, page := range []string{"CONTRIBUTING.md", "docs/operating.md", "README.md", "xcaddy.md"} {
		for _, span := range codes(prose(read(t, page))) {
			if !regexp.MustCompile(`^(auth|bench|caddymodule|cmd|deploy|docs|internal|license|examples|\.ci)(/[\w.-]+)*/?$`).MatchString(span) || slices.Contains([]string{"license"}, span) {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(span))); err != nil {
				t.Errorf("%s speaks of %s, which is not there", page, span)
			}
		}
	}
}

// The pages name the versions that go.mod asks for.
func TestVersionsAreThoseOfGoMod(t *testing.T) {
	module := read(t, "go.mod")
	caddy := regexp.MustCompile(`caddyserver/caddy/v2 (v[\d.]+)`).FindStringSubmatch(module)[1]
	golang := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(module)[1]
	for _, page := range pages(t) {
		text := read(t, page)
		for _, match := range regexp.MustCompile(`(?:caddy/v2@|xcaddy build )(v2\.[\d.]+)`).FindAllStringSubmatch(text, -1) {
			if match[1] != caddy {
				t.Errorf("%s speaks of Caddy %s, want %s", page, match[1], caddy)
			}
		}
		for _, match := range regexp.MustCompile(`(?:Go|https://go\.dev/dl/\)) (1\.\d+)\b`).FindAllStringSubmatch(text, -1) {
			if match[1] != golang {
				t.Errorf("%s speaks of Go %s, want %s", page, match[1], golang)
			}
		}
	}
}

package docs_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Files and folders that the pages for maintainers name are there.
func TestNamedFilesAreThere(t *testing.T) {
	top := regexp.MustCompile(`^(auth|license|caddymodule|internal|cmd|bench|deploy|docs|examples|\.ci)(/[\w.-]+)*$`)
	found := 0
	for _, page := range []string{"CONTRIBUTING.md", "docs/architecture.md"} {
		for _, name := range codes(prose(read(t, page))) {
			if !top.MatchString(name) {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
				t.Errorf("%s names %s, which is not there", page, name)
			}
		}
	}
	if found < 30 {
		t.Errorf("found %d names, want more", found)
	}
}

// The picture of the architecture has every package that users build, and each
// package that the table explains is there.
func TestEveryPackageIsInTheArchitecture(t *testing.T) {
	const page = "docs/architecture.md"
	picture := regexp.MustCompile(`[\w/]+`).FindAllString(fence.FindStringSubmatch(read(t, page))[2], -1)
	for _, name := range productPackages(t) {
		if !slices.Contains(picture, name) && !slices.Contains(picture, path.Base(name)) {
			t.Errorf("the picture does not have %s", name)
		}
	}
	for _, cells := range rows(prose(read(t, page))) {
		name := strings.Trim(cells[0], "`")
		if name == cells[0] || strings.Contains(name, " ") {
			continue // a row of another table
		}
		if entries, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(name), "*.go")); err != nil || len(entries) == 0 {
			t.Errorf("the table explains %s, which is no package", name)
		}
	}
}

// productPackages are the folders with code that a Caddy with Gatehouse holds.
func productPackages(t *testing.T) (names []string) {
	t.Helper()
	testing := []string{"internal/demo", "internal/e2e", "internal/faultstorage", "internal/freeport", "internal/house", "internal/idp", "internal/testkit", "internal/upstream"}
	for _, top := range []string{"auth", "license", "caddymodule", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, file)
			name = filepath.ToSlash(name)
			inside := entry.Name() == "internal" && name != "internal" // for one package and those below it
			if entry.IsDir() && (entry.Name() == "testdata" || inside || slices.Contains(testing, name)) {
				return fs.SkipDir
			}
			folder := path.Dir(name)
			if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !slices.Contains(names, folder) {
				names = append(names, folder)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

// A blank line within a table would end it.
func TestTablesAreWhole(t *testing.T) {
	for _, page := range pages(t) {
		lines := strings.Split(prose(read(t, page)), "\n")
		for i, line := range lines {
			begins := strings.HasPrefix(line, "|") && (i == 0 || !strings.HasPrefix(lines[i-1], "|"))
			if begins && (i+1 == len(lines) || !strings.HasPrefix(lines[i+1], "|-")) {
				t.Errorf("%s: a table has no heading: %s", page, line)
			}
		}
	}
}

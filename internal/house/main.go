// Command house measures how the product's code is laid out: files and their
// length, types and functions for each 1,000 lines, and the lines of each
// package. What only tests and measuring use, and the demo, are left out.
//
//	go run ./internal/house
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// outside are folders whose code is not what users build.
var outside = []string{
	"bench", "cmd", "internal/demo", "internal/e2e", "internal/freeport", "internal/faultstorage", "internal/house",
	"internal/idp", "internal/testkit", "internal/upstream",
}

// pkg is a package: the length of each of its files, and what they declare.
type pkg struct {
	name             string
	lengths          []int
	types, functions int
}

func (r *pkg) lines() (sum int) {
	for _, n := range r.lengths {
		sum += n
	}
	return sum
}

func main() {
	packages, err := measure(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	report(packages)
}

// measure reads the Go files below a folder that are no tests.
func measure(root string) ([]*pkg, error) {
	found := map[string]*pkg{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		slashed := filepath.ToSlash(path)
		hidden := len(entry.Name()) > 1 && strings.HasPrefix(entry.Name(), ".")
		if entry.IsDir() && (hidden || entry.Name() == "testdata" || slices.Contains(outside, slashed)) {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		name := filepath.ToSlash(filepath.Dir(path))
		if found[name] == nil {
			found[name] = &pkg{name: name}
		}
		return found[name].add(path)
	})
	packages := make([]*pkg, 0, len(found))
	for _, r := range found {
		packages = append(packages, r)
	}
	slices.SortFunc(packages, func(a, b *pkg) int { return strings.Compare(a.name, b.name) })
	return packages, err
}

func (r *pkg) add(path string) error {
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file, err := parser.ParseFile(token.NewFileSet(), path, source, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	lines := 0
	for scanner := bufio.NewScanner(bytes.NewReader(source)); scanner.Scan(); {
		lines++
	}
	r.lengths = append(r.lengths, lines)
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			r.functions++
		case *ast.GenDecl:
			if d.Tok == token.TYPE {
				r.types += len(d.Specs)
			}
		}
	}
	return nil
}

func report(packages []*pkg) {
	all := &pkg{}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "package\tfiles\tlines\tmedian\tlongest\ttypes/1000\tfunctions/1000\t")
	for _, r := range packages {
		r.row(table)
		all.lengths = append(all.lengths, r.lengths...)
		all.types += r.types
		all.functions += r.functions
	}
	all.name = "all"
	all.row(table)
	_ = table.Flush()
}

func (r *pkg) row(table *tabwriter.Writer) {
	lengths := slices.Sorted(slices.Values(r.lengths))
	if len(lengths) == 0 {
		return
	}
	thousands := float64(r.lines()) / 1000
	fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%.1f\t%.1f\t\n", r.name, len(lengths), r.lines(), lengths[len(lengths)/2],
		lengths[len(lengths)-1], float64(r.types)/thousands, float64(r.functions)/thousands)
}

package docs_test

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
)

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	for _, page := range pages(t) {
		text := code.ReplaceAllString(prose(read(t, page)), "")
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target := match[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			name := page
			if file != "" {
				name = path.Join(path.Dir(page), file)
			}
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, target)
				continue
			}
			if anchor != "" && (!strings.HasSuffix(name, ".md") || !anchors(read(t, name))[anchor]) {
				t.Errorf("%s: the link %s names no heading of %s", page, target, name)
			}
		}
	}
}

// anchors are the names that GitHub gives to a page's headings.
func anchors(text string) map[string]bool {
	found := make(map[string]bool)
	for _, match := range heading.FindAllStringSubmatch(prose(text), -1) {
		title := link.ReplaceAllString(match[1], "]")
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, title)
		unique := name
		for n := 1; found[unique]; n++ {
			unique = fmt.Sprintf("%s-%d", name, n)
		}
		found[unique] = true
	}
	return found
}

// A reader finds every page by two links from the first one, at most.
func TestTheREADMELeadsToEveryPage(t *testing.T) {
	found := map[string]bool{"README.md": true}
	for range 2 {
		for page := range maps.Clone(found) {
			if !strings.HasSuffix(page, ".md") {
				continue
			}
			for _, match := range link.FindAllStringSubmatch(read(t, page), -1) {
				if file, _, _ := strings.Cut(match[1], "#"); file != "" && !strings.Contains(file, "://") {
					found[path.Join(path.Dir(page), file)] = true
				}
			}
		}
	}
	for _, page := range pages(t) {
		if !found[page] {
			t.Errorf("README.md does not lead to %s", page)
		}
	}
}

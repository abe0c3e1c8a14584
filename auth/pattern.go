package auth

import (
	"fmt"
	"strings"
)

// pattern is a value that a rule takes: texts in their order, with something that is
// not empty in each gap between two.
type pattern struct {
	texts []string
	stops []string // for each gap, the separators on both of its sides, which end it
	open  bool     // something must follow at the end, whatever it is
}

// patterns are values of which any will do.
type patterns []pattern

// separators are the characters between which a * may stand: those that divide names
// in subjects and groups.
const separators = "/:.|@#"

// compilePattern reads a value as [ClaimRule] tells.
func compilePattern(value string) (p pattern, err error) {
	var text []byte
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c == '\\' && i+1 < len(value) && value[i+1] == '*' {
			text = append(text, '*')
			i++
			continue
		}
		if c != '*' {
			text = append(text, c)
			continue
		}
		if value == "*" {
			return p, fmt.Errorf(`found *, which every value would fit: write \* for the character itself`)
		}
		if i+1 == len(value) {
			p.open = true
			break
		}
		if i == 0 || strings.IndexByte(separators, value[i-1]) < 0 || strings.IndexByte(separators, value[i+1]) < 0 {
			return p, fmt.Errorf("found %q, expected * only at the end, or between two of the separators %s: write \\* for the character itself", value, separators)
		}
		p.texts = append(p.texts, string(text))
		p.stops = append(p.stops, string([]byte{value[i-1], value[i+1]}))
		text = nil
	}
	p.texts = append(p.texts, string(text))
	return p, nil
}

// compilePatterns reads a list of values.
func compilePatterns(values []string) (patterns, error) {
	list := make(patterns, 0, len(values))
	for _, value := range values {
		p, err := compilePattern(value)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// literals are patterns of texts in which * is a character like others.
func literals(texts []string) patterns {
	list := make(patterns, 0, len(texts))
	for _, text := range texts {
		list = append(list, pattern{texts: []string{text}})
	}
	return list
}

// match tells whether a text fits. There is one way to read it only, as what fills a
// gap holds neither of the separators beside it.
func (p *pattern) match(text string) bool {
	rest, ok := strings.CutPrefix(text, p.texts[0])
	for i, stops := range p.stops {
		end := strings.IndexAny(rest, stops)
		if !ok || end <= 0 {
			return false
		}
		rest, ok = strings.CutPrefix(rest[end:], p.texts[i+1])
	}
	return ok && p.open == (rest != "")
}

// match tells whether a text fits any of the patterns.
func (list patterns) match(text string) bool {
	for i := range list {
		if list[i].match(text) {
			return true
		}
	}
	return false
}

// matchAny tells whether any of the texts fits any of the patterns.
func (list patterns) matchAny(texts []string) bool {
	for _, text := range texts {
		if list.match(text) {
			return true
		}
	}
	return false
}

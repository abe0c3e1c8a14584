package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// The pieces that all of Gatehouse's Caddyfile parsers are made of. They are
// strict: an unknown, repeated or surplus word is an error with file and line
// that says what was expected, because a typo must never switch protection off.

// options are the words that may begin a line of a block.
type options map[string]option

// option reads the rest of its line, and its block if it has one.
type option struct {
	parse func(*caddyfile.Dispenser) error
	again bool
}

// once is an option that may stand once in a block.
func once(parse func(*caddyfile.Dispenser) error) option { return option{parse: parse} }

// repeatable is an option that may stand several times.
func repeatable(parse func(*caddyfile.Dispenser) error) option {
	return option{parse: parse, again: true}
}

// parseBlock reads the block that follows on the current line, if there is one.
func parseBlock(d *caddyfile.Dispenser, known options) error {
	seen := make(map[string]int)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		if word == "{" {
			return d.Errf("found a block, but the line before it takes none")
		}
		option, ok := known[word]
		if !ok {
			return d.Errf("found %q, expected one of: %s", word, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if line, again := seen[word]; again && !option.again {
			return d.Errf("%s is set again; it was set on line %d already", word, line)
		}
		seen[word] = d.Line()
		if err := option.parse(d); err != nil {
			return err
		}
	}
	return nil
}

// noMore is an error if more words follow on the line.
func noMore(d *caddyfile.Dispenser, option string) error {
	if d.NextArg() {
		return d.Errf("%s: found %q, expected nothing more on this line", option, d.Val())
	}
	return nil
}

// oneWord reads exactly one word, which is not empty.
func oneWord(d *caddyfile.Dispenser, into *string) error { return wordFor(d, into, "a value") }

// wordFor is oneWord for options that know what is expected.
func wordFor(d *caddyfile.Dispenser, into *string, expected string) error {
	option := d.Val()
	if !d.NextArg() || d.Val() == "" {
		return d.Errf("%s: expected %s", option, expected)
	}
	*into = d.Val()
	return noMore(d, option)
}

func hasPlaceholder(s string) bool { return strings.Contains(s, "{") }

// choice are the words of which an option takes one.
type choice []string

// onOff is the choice of options that are on by default.
var onOff = choice{"on", off}

const off = "off"

// check refuses other words. An empty value stands for the default.
func (c choice) check(option, value string) error {
	if value == "" || slices.Contains(c, value) {
		return nil
	}
	return fmt.Errorf("%s: found %q, expected %s", option, value, strings.Join(c, " or "))
}

// oneOf reads one word of a choice.
func oneOf(d *caddyfile.Dispenser, into *string, words choice) error {
	option := d.Val()
	if err := wordFor(d, into, strings.Join(words, " or ")); err != nil {
		return err
	}
	return atLine(d, words.check(option, *into))
}

// checkedBy has each option followed by a check of the whole, whose error then
// names the option's line. What the check judges may be half read.
func (o options) checkedBy(check func() error) options {
	for word, one := range o {
		parse := one.parse
		one.parse = func(d *caddyfile.Dispenser) error {
			line := at(d.Token())
			if err := parse(d); err != nil {
				return err
			}
			return atLine(line, check())
		}
		o[word] = one
	}
	return o
}

// at is a dispenser on a line that has been passed, for errors.
func at(line caddyfile.Token) *caddyfile.Dispenser {
	d := caddyfile.NewDispenser([]caddyfile.Token{line})
	d.Next()
	return d
}

// atLine adds file and line to an error, if it is one.
func atLine(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}

// words reads at least one word.
func words(d *caddyfile.Dispenser) ([]string, error) {
	option := d.Val()
	list := d.RemainingArgs()
	if len(list) == 0 {
		return nil, d.Errf("%s: expected at least one value", option)
	}
	if slices.Contains(list, "") {
		return nil, d.Errf("%s: found an empty value", option)
	}
	return list, nil
}

// appendWords adds a line's words to a list.
func appendWords(d *caddyfile.Dispenser, into *[]string) error {
	list, err := words(d)
	*into = append(*into, list...)
	return err
}

// appendLine adds a line of words to a list of lines.
func appendLine(d *caddyfile.Dispenser, into *[][]string) error {
	list, err := words(d)
	*into = append(*into, list)
	return err
}

// flag reads a word that stands alone.
func flag(d *caddyfile.Dispenser, into *bool) error {
	*into = true
	return noMore(d, d.Val())
}

// duration reads a span of time between two bounds.
func duration(d *caddyfile.Dispenser, into *caddy.Duration, least, most caddy.Duration) error {
	const expected = "a duration such as 30s, 15m, 24h or 7d"
	option, text := d.Val(), ""
	if err := wordFor(d, &text, expected); err != nil {
		return err
	}
	value, err := caddy.ParseDuration(text)
	if err != nil {
		return d.Errf("%s: found %q, expected %s", option, text, expected)
	}
	expectedSpan := "at least " + time.Duration(least).String()
	if most > 0 {
		expectedSpan += " and at most " + time.Duration(most).String()
	}
	if caddy.Duration(value) < least || most > 0 && caddy.Duration(value) > most {
		return d.Errf("%s: found %s, expected %s", option, text, expectedSpan)
	}
	*into = caddy.Duration(value)
	return nil
}

// number reads a whole number between two bounds.
func number(d *caddyfile.Dispenser, into **int, least, most int) error {
	expected := fmt.Sprintf("a number from %d to %d", least, most)
	option, text := d.Val(), ""
	if err := wordFor(d, &text, expected); err != nil {
		return err
	}
	value, err := strconv.Atoi(text)
	if err != nil || value < least || value > most {
		return d.Errf("%s: found %q, expected %s", option, text, expected)
	}
	*into = &value
	return nil
}

// notedLines keeps the lines on which options stand.
type notedLines map[string]caddyfile.Token

func (n notedLines) once(name string, parse func(*caddyfile.Dispenser) error) option {
	return once(func(d *caddyfile.Dispenser) error {
		n[name] = d.Token()
		return parse(d)
	})
}

// at is a dispenser on an option's line, for errors; d where none was noted.
func (n notedLines) at(name string, d *caddyfile.Dispenser) *caddyfile.Dispenser {
	if line, ok := n[name]; ok {
		return at(line)
	}
	return d
}

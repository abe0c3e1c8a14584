// Package parse reads the options of Gatehouse's parts: words of a Caddyfile, and the
// placeholders and files that values name.
//
// It is strict: an unknown, repeated or surplus word is an error with file and line that
// says what was expected, because a typo must never switch protection off.
package parse

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

// Options are the words that may begin a line of a block.
type Options map[string]Option

// Option reads the rest of its line, and its block if it has one.
type Option struct {
	parse func(*caddyfile.Dispenser) error
	again bool
}

// Once is an option that may stand once in a block.
func Once(parse func(*caddyfile.Dispenser) error) Option { return Option{parse: parse} }

// Repeatable is an option that may stand several times.
func Repeatable(parse func(*caddyfile.Dispenser) error) Option {
	return Option{parse: parse, again: true}
}

// Block reads the block that follows on the current line, if there is one.
func Block(d *caddyfile.Dispenser, known Options) error {
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

// CheckedBy has each option followed by a check of the whole, whose error then
// names the option's line. What the check judges may be half read.
func (o Options) CheckedBy(check func() error) Options {
	for word, one := range o {
		parse := one.parse
		one.parse = func(d *caddyfile.Dispenser) error {
			line := At(d.Token())
			if err := parse(d); err != nil {
				return err
			}
			return AtLine(line, check())
		}
		o[word] = one
	}
	return o
}

// Part is an option with a block: it makes a part of the configuration and lets parse
// fill it.
func Part[T any](into **T, parse func(*T, *caddyfile.Dispenser) error) Option {
	return Once(func(d *caddyfile.Dispenser) error {
		*into = new(T)
		return parse(*into, d)
	})
}

// Lines keeps the lines on which options stand.
type Lines map[string]caddyfile.Token

// Note is the option, whose line is kept.
func (n Lines) Note(name string, o Option) Option {
	parse := o.parse
	o.parse = func(d *caddyfile.Dispenser) error {
		n[name] = d.Token()
		return parse(d)
	}
	return o
}

// At is a dispenser on an option's line, for errors; d where none was noted.
func (n Lines) At(name string, d *caddyfile.Dispenser) *caddyfile.Dispenser {
	if line, ok := n[name]; ok {
		return At(line)
	}
	return d
}

// At is a dispenser on a line that has been passed, for errors.
func At(line caddyfile.Token) *caddyfile.Dispenser {
	d := caddyfile.NewDispenser([]caddyfile.Token{line})
	d.Next()
	return d
}

// AtLine adds file and line to an error, if it is one.
func AtLine(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}

// NoMore is an error if more words follow on the line.
func NoMore(d *caddyfile.Dispenser, option string) error {
	if d.NextArg() {
		return d.Errf("%s: found %q, expected nothing more on this line", option, d.Val())
	}
	return nil
}

// Word is an option of exactly one word, which is not empty.
func Word(into *string) Option {
	return Once(func(d *caddyfile.Dispenser) error { return ReadWord(d, into, "a value") })
}

// ReadWord reads the one word of an option that knows what is expected.
func ReadWord(d *caddyfile.Dispenser, into *string, expected string) error {
	option := d.Val()
	if !d.NextArg() || d.Val() == "" {
		return d.Errf("%s: expected %s", option, expected)
	}
	*into = d.Val()
	return NoMore(d, option)
}

// Words is an option of at least one word. It may be repeated, which adds to the list.
func Words(into *[]string) Option {
	return Repeatable(func(d *caddyfile.Dispenser) error { return AppendWords(d, into) })
}

// AppendWords adds a line's words to a list.
func AppendWords(d *caddyfile.Dispenser, into *[]string) error {
	list, err := ReadWords(d)
	*into = append(*into, list...)
	return err
}

// WordLines is an option whose lines of words are each one of a list.
func WordLines(into *[][]string) Option {
	return Repeatable(func(d *caddyfile.Dispenser) error {
		list, err := ReadWords(d)
		*into = append(*into, list)
		return err
	})
}

// ReadWords reads at least one word.
func ReadWords(d *caddyfile.Dispenser) ([]string, error) {
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

// Flag is an option that stands alone.
func Flag(into *bool) Option {
	return Once(func(d *caddyfile.Dispenser) error {
		*into = true
		return NoMore(d, d.Val())
	})
}

// Choice are the words of which an option takes one.
type Choice []string

// OnOff is the choice of options that are on by default.
var OnOff = Choice{"on", Off}

// Off turns an option off.
const Off = "off"

// Check refuses other words. An empty value stands for the default.
func (c Choice) Check(option, value string) error {
	if value == "" || slices.Contains(c, value) {
		return nil
	}
	return fmt.Errorf("%s: found %q, expected %s", option, value, strings.Join(c, " or "))
}

// OneOf is an option of one word of a choice.
func OneOf(into *string, words Choice) Option {
	return Once(func(d *caddyfile.Dispenser) error {
		option := d.Val()
		if err := ReadWord(d, into, strings.Join(words, " or ")); err != nil {
			return err
		}
		return AtLine(d, words.Check(option, *into))
	})
}

// Duration is an option of a span of time between two bounds; there is no upper one if
// most is 0.
func Duration(into *caddy.Duration, least, most time.Duration) Option {
	return Once(func(d *caddyfile.Dispenser) error { return readDuration(d, into, least, most) })
}

// OptionalDuration is Duration where 0 is something else than the default.
func OptionalDuration(into **caddy.Duration, least, most time.Duration) Option {
	return Once(func(d *caddyfile.Dispenser) error {
		*into = new(caddy.Duration)
		return readDuration(d, *into, least, most)
	})
}

func readDuration(d *caddyfile.Dispenser, into *caddy.Duration, least, most time.Duration) error {
	const expected = "a duration such as 30s, 15m, 24h or 7d"
	option, text := d.Val(), ""
	if err := ReadWord(d, &text, expected); err != nil {
		return err
	}
	value, err := caddy.ParseDuration(text)
	if err != nil {
		return d.Errf("%s: found %q, expected %s", option, text, expected)
	}
	span := "at least " + least.String()
	if most > 0 {
		span += " and at most " + most.String()
	}
	if value < least || most > 0 && value > most {
		return d.Errf("%s: found %s, expected %s", option, text, span)
	}
	*into = caddy.Duration(value)
	return nil
}

// Number is an option of a whole number between two bounds.
func Number(into *int, least, most int) Option {
	return Once(func(d *caddyfile.Dispenser) error {
		expected := fmt.Sprintf("a number from %d to %d", least, most)
		option, text := d.Val(), ""
		if err := ReadWord(d, &text, expected); err != nil {
			return err
		}
		value, err := strconv.Atoi(text)
		if err != nil || value < least || value > most {
			return d.Errf("%s: found %q, expected %s", option, text, expected)
		}
		*into = value
		return nil
	})
}

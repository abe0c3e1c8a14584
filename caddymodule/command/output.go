package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"
)

// table is a result for people. Its cells may hold what anybody wrote.
type table struct {
	header []string // empty for none
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table with columns as wide as they need be. Nothing in a
// cell is shown as "-".
func (t *table) print(w io.Writer) error {
	tabs := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(t.header) > 0 {
		t.line(tabs, t.header)
	}
	for _, row := range t.rows {
		t.line(tabs, row)
	}
	return tabs.Flush()
}

func (t *table) line(w io.Writer, cells []string) {
	shown := make([]string, len(cells))
	for i, cell := range cells {
		shown[i] = plain(cell)
		if shown[i] == "" {
			shown[i] = "-"
		}
	}
	_, _ = fmt.Fprintln(w, strings.Join(shown, "\t")) // tabwriter tells at Flush
}

// addWrapped adds a row whose long cells go on in rows below it.
func (t *table) addWrapped(cells ...string) {
	lines := make([][]string, len(cells))
	height := 1
	for i, cell := range cells {
		lines[i] = wrap(plain(cell))
		height = max(height, len(lines[i]))
	}
	for at := range height {
		row := make([]string, len(cells))
		for i := range cells {
			switch {
			case at < len(lines[i]):
				row[i] = lines[i][at]
			case at > 0:
				row[i] = " " // not "-"
			}
		}
		t.add(row...)
	}
}

// wrap breaks a text at blanks into lines of some 60 characters. What has no
// blank stays whole.
func wrap(s string) (lines []string) {
	const most = 60
	line, length := "", 0
	for word := range strings.FieldsSeq(s) {
		size := utf8.RuneCountInString(word)
		if length > 0 && length+1+size > most {
			lines, line, length = append(lines, line), "", 0
		}
		if length > 0 {
			line, length = line+" ", length+1
		}
		line, length = line+word, length+size
	}
	if length > 0 {
		lines = append(lines, line)
	}
	return lines
}

// oneLine joins the lines of a text.
func oneLine(s string) string { return strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") }

// count words how many there are of a thing.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// clip shortens a text for a table of many rows.
func clip(s string) string {
	const most = 60
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-3]) + "..."
}

// plain shows whatever a terminal might obey, and what is not valid UTF-8, as
// an escape of Go.
func plain(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) || r == utf8.RuneError }) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			_, _ = fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsGraphic(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// printJSON writes a result for programs, indented.
func printJSON(w io.Writer, result any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(result); err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	_, err := w.Write(inertJSON(b.Bytes()))
	return err
}

// compactJSON is a document on one line, with a line end.
func compactJSON(document []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, document); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return inertJSON(b.Bytes()), nil
}

// inertJSON escapes what a terminal might obey. From DEL on such characters stand
// in strings only, and those before must be escaped there (RFC 8259, section 7),
// so the document means the same as before.
func inertJSON(document []byte) []byte {
	bad := func(r rune) bool { return r >= '\x7f' && !unicode.IsGraphic(r) }
	if !bytes.ContainsFunc(document, bad) {
		return document
	}
	var b bytes.Buffer
	for _, r := range string(document) {
		switch {
		case !bad(r):
			b.WriteRune(r)
		case r > 0xffff: // a surrogate pair (RFC 8259, section 7)
			_, _ = fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			_, _ = fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.Bytes()
}

// note writes a line to stderr. That nobody reads it is no reason to stop.
func note(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintln(w, plain(fmt.Sprintf(format, args...)))
}

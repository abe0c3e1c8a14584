package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// table is a result for people. Its cells may hold what anybody wrote.
type table struct {
	header []string // empty for none
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table, each column as wide as it needs. An empty cell is shown
// as "-".
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

// printTables writes tables with an empty line between them.
func printTables(w io.Writer, tables ...table) error {
	for i := range tables {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := tables[i].print(w); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) line(w io.Writer, cells []string) {
	shown := make([]string, len(cells))
	for i, cell := range cells {
		shown[i] = plain(cell)
		if shown[i] == "" {
			shown[i] = "-"
		}
	}
	_, _ = fmt.Fprintln(w, strings.Join(shown, "\t")) // Flush gives the error
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

// count says how many there are of a thing.
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

// plain escapes, as Go does, what a terminal might interpret and what is not valid
// UTF-8.
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
	_, err := w.Write(escapeJSON(b.Bytes()))
	return err
}

// writeDocument prints a document as it is or, if asked, on one line.
func writeDocument(cmd *cobra.Command, document []byte, oneLine bool) (err error) {
	if oneLine {
		if document, err = compactJSON(document); err != nil {
			return err
		}
	}
	_, err = cmd.OutOrStdout().Write(document)
	return err
}

// compactJSON is a document on one line, with a line end.
func compactJSON(document []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Compact(&b, document); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return escapeJSON(b.Bytes()), nil
}

// escapeJSON escapes what a terminal might interpret. From DEL on, such characters
// stand in strings only, and those before must be escaped there already (RFC 8259,
// section 7), so the document keeps its meaning.
func escapeJSON(document []byte) []byte {
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

// note writes a line to stderr. Errors are passed over: nobody may be reading.
func note(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintln(w, plain(fmt.Sprintf(format, args...)))
}

// stamp shows a time, and how far from now it is.
func (p *program) stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339) + " (" + distance(t.Sub(p.now())) + ")"
}

func (p *program) unixStamp(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return p.stamp(time.Unix(seconds, 0))
}

// date shows a time where there is little room.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// distance says how far away a time is, in its largest unit.
func distance(d time.Duration) string {
	amount := span(d.Abs())
	switch {
	case d.Abs() < time.Second:
		return "now"
	case d < 0:
		return amount + " ago"
	}
	return "in " + amount
}

const day = 24 * time.Hour

// exactly shows a duration without rounding it.
func exactly(d time.Duration) string {
	if d%day == 0 {
		return span(d)
	}
	return d.String()
}

func span(d time.Duration) string {
	for _, unit := range []struct {
		size time.Duration
		name string
	}{{day, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch n := d / unit.size; {
		case n == 1:
			return "1 " + unit.name
		case n > 1:
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// unicodeTerminal reports whether a stream is a terminal that shows more than ASCII,
// going by the locale (POSIX.1-2017, section 8.2).
func (p *program) unicodeTerminal(stream io.Writer) bool {
	if !p.terminal(stream) {
		return false
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToLower(p.getenv(name)); locale != "" {
			return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
		}
	}
	return false
}

// progress shows how far an import is: a bar on a terminal, plain lines elsewhere.
type progress struct {
	w     io.Writer
	live  bool // w is a terminal
	total int
}

const barWidth = 30

// show says how many accounts are done.
func (p *progress) show(done int) {
	if !p.live {
		if done > 0 {
			_, _ = fmt.Fprintf(p.w, "%d of %s done\n", done, count(p.total, "account"))
		}
		return
	}
	full := barWidth
	if p.total > 0 {
		full = done * barWidth / p.total
	}
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K[%s%s] %d of %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), done, count(p.total, "account"))
}

// clear removes the bar, to make room for other lines.
func (p *progress) clear() {
	if p.live {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
	}
}

// finish shows the final count.
func (p *progress) finish(done int) {
	p.show(done)
	if p.live {
		_, _ = io.WriteString(p.w, "\n")
	}
}

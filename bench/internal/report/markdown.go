package report

import (
	"fmt"
	"io"
	"strings"
)

// Report is what one run found.
type Report struct {
	// Title and Intro come first.
	Title, Intro string

	// Sections follow, in their order.
	Sections []*Section
}

// Section is a table with what must be said about it.
type Section struct {
	Title   string
	Notes   []string
	Columns []string
	Rows    [][]string
}

// Section adds a section with a table of these columns.
func (r *Report) Section(title string, columns ...string) *Section {
	s := &Section{Title: title, Columns: columns}
	r.Sections = append(r.Sections, s)
	return s
}

// Row adds a row to the table.
func (s *Section) Row(cells ...string) { s.Rows = append(s.Rows, cells) }

// Note adds a paragraph above the table.
func (s *Section) Note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// Markdown writes the report.
func (r *Report) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n", r.Title, r.Intro)
	for _, s := range r.Sections {
		s.markdown(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Section) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s\n", s.Title)
	for _, note := range s.Notes {
		fmt.Fprintf(b, "\n%s\n", note)
	}
	if len(s.Rows) == 0 {
		return
	}
	b.WriteString("\n")
	line(b, s.Columns)
	b.WriteString("|" + strings.Repeat("---|", len(s.Columns)) + "\n")
	for _, row := range s.Rows {
		line(b, row)
	}
}

func line(b *strings.Builder, cells []string) {
	b.WriteString("|")
	for _, cell := range cells {
		b.WriteString(" " + strings.ReplaceAll(cell, "|", `\|`) + " |")
	}
	b.WriteString("\n")
}

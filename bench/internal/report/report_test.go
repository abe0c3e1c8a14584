package report

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSamples(t *testing.T) {
	for _, c := range []struct {
		values           Samples
		median, min, max float64
		shown            string
	}{
		{nil, 0, 0, 0, "–"},
		{Samples{3}, 3, 3, 3, "3.0"},
		{Samples{3, 1}, 2, 1, 3, "2.0 (1.0–3.0)"},
		{Samples{9, 1, 2}, 2, 1, 9, "2.0 (1.0–9.0)"},
	} {
		if c.values.Median() != c.median || c.values.Min() != c.min || c.values.Max() != c.max {
			t.Errorf("%v: got %v, %v, %v", c.values, c.values.Median(), c.values.Min(), c.values.Max())
		}
		if got := c.values.Show(1); got != c.shown {
			t.Errorf("%v: shown as %q, want %q", c.values, got, c.shown)
		}
	}
}

func TestQuartiles(t *testing.T) {
	s := Samples{5, 1, 2, 4, 3}
	for q, want := range map[float64]float64{0: 1, 0.25: 2, 0.5: 3, 0.75: 4, 0.875: 4.5, 1: 5} {
		if got := s.Quantile(q); got != want {
			t.Errorf("quantile %v: got %v, want %v", q, got, want)
		}
	}
	for want, values := range map[string]Samples{"3.0 [2.0–4.0] (1.0–5.0)": s, "7.0": {7}, "1.0": {1, 1, 1}, "–": nil} {
		if got := values.ShowQuartiles(1); got != want {
			t.Errorf("%v: shown as %q, want %q", values, got, want)
		}
	}
}

func TestSamplesArePairedByRound(t *testing.T) {
	a, base := Samples{2, 40, 6}, Samples{1, 20, 2, 7}
	if got := a.To(base); !slices.Equal(got, Samples{2, 2, 3}) {
		t.Errorf("ratios: got %v", got)
	}
	if got := a.Minus(base); !slices.Equal(got, Samples{1, 20, 4}) {
		t.Errorf("differences: got %v", got)
	}
	if !slices.Equal(a, Samples{2, 40, 6}) {
		t.Errorf("the values themselves changed: %v", a)
	}
}

func TestMedianLeavesTheOrderOfRounds(t *testing.T) {
	s := Samples{3, 1, 2}
	s.Median()
	if !slices.Equal(s, Samples{3, 1, 2}) {
		t.Errorf("got %v", s)
	}
}

func TestAddTimeIsInMicroseconds(t *testing.T) {
	var s Samples
	s.AddTime(1500 * time.Nanosecond)
	if !slices.Equal(s, Samples{1.5}) {
		t.Errorf("got %v", s)
	}
}

func TestMarkdown(t *testing.T) {
	r := Report{Title: "Speed", Intro: "On a machine."}
	section := r.Section("Table", "a", "b")
	section.Note("Seen %d times.", 3)
	section.Row("x|y", "1")
	r.Section("Empty", "a").Note("Nothing.")
	var b strings.Builder
	if err := r.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	want := "# Speed\n\nOn a machine.\n\n## Table\n\nSeen 3 times.\n\n| a | b |\n|---|---|\n| x\\|y | 1 |\n\n## Empty\n\nNothing.\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestSVGIsWellFormedAndShowsAll(t *testing.T) {
	var c Chart
	c.Title, c.About, c.Axis = "Speed <of> it", "of 9", "µs"
	c.Add("one & only", Bar{"bare", Samples{10, 12, 20}}, Bar{"none", nil})
	var b strings.Builder
	if err := c.SVG(&b); err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(strings.NewReader(b.String()))
	var texts strings.Builder
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v\n%s", err, b.String())
		}
		if chars, ok := token.(xml.CharData); ok {
			texts.Write(chars)
		}
	}
	for _, want := range []string{"Speed <of> it", "one & only", "of 9", "µs", "bare", "12.0", "not measured"} {
		if !strings.Contains(texts.String(), want) {
			t.Errorf("the chart lacks %q", want)
		}
	}
}

func TestTickSteps(t *testing.T) {
	for largest, want := range map[float64]float64{1: 0.2, 6: 1, 12: 2, 36: 10, 69: 10, 118: 20, 300: 50, 999: 200} {
		if got := tickStep(largest); got != want {
			t.Errorf("up to %v: got %v, want %v", largest, got, want)
		}
		if lines := largest / tickStep(largest); lines < 2 || lines > 7 {
			t.Errorf("up to %v: %v lines", largest, lines)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestFailedWritesAreReported(t *testing.T) {
	if err := (&Report{}).Markdown(brokenWriter{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
	if err := (&Chart{}).SVG(brokenWriter{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/bench/internal/report"
)

func TestChoose(t *testing.T) {
	all, err := choose("")
	if err != nil || len(all) != len(parts) {
		t.Errorf("got %d parts and %v, want all %d", len(all), err, len(parts))
	}
	some, err := choose("flood,matrix")
	if err != nil || len(some) != 2 || some[0].name != "flood" || some[1].name != "matrix" {
		t.Errorf("got %v and %v", some, err)
	}
	for _, only := range []string{"x", "matrix,", "Matrix"} {
		if _, err := choose(only); err == nil || !strings.Contains(err.Error(), "expected some of matrix, ") {
			t.Errorf("%q: got the error %v, want one that lists the parts", only, err)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		goal goal
		want string
	}{
		{goal{limit: 2, unit: " ×"}, "not measured"},
		{goal{limit: 2, unit: " ×", values: report.Samples{9, 2, 1}}, "reached"},
		{goal{limit: 2, unit: " ×", values: report.Samples{2.5}}, "**missed** by 0.50 ×, 25 %"},
		{goal{limit: 0, values: report.Samples{3}}, "**missed** by 3.00"},
	} {
		if got := c.goal.verdict(); got != c.want {
			t.Errorf("%v of %v: got %q, want %q", c.goal.values, c.goal.limit, got, c.want)
		}
	}
}

func TestColumnsLeaveGapsWhereNothingWasMeasured(t *testing.T) {
	s := newTestStage(t)
	s.columns("Title", "Note.", []column{
		{"RS256", []string{"bare", "other"}, []string{"1", "2"}},
		{"EdDSA", []string{"bare"}, []string{"3"}},
	})
	var b strings.Builder
	if err := s.report.Markdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| server | RS256 | EdDSA |", "| bare | 1 | 3 |", "| other | 2 | – |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}

func TestWriteFileReportsWhatFails(t *testing.T) {
	s := newTestStage(t)
	s.goal("a figure", " ms", 1, one(2))
	if err := s.write(s.dir + "/license-1.json"); err == nil {
		t.Error("a file was taken for a folder")
	}
	folder := s.dir + "/results"
	if err := s.write(folder); err != nil {
		t.Error(err)
	}
	if err := writeFile(folder, s.report.Markdown); err == nil {
		t.Error("a folder was taken for a file")
	}
}

// What cannot be written is found before anything is measured.
func TestCheckOutput(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ folder, profile, want string }{
		{folder: "", profile: ""},
		{folder: filepath.Join(dir, "new", "results"), profile: filepath.Join(dir, "cpu.out")},
		{folder: dir, profile: file},
		{folder: filepath.Join(file, "results"), want: "-out: expected a folder"},
		{folder: file, want: "-out: expected a folder"},
		{profile: filepath.Join(dir, "absent", "cpu.out"), want: "-profile: expected a file"},
		{profile: dir, want: "-profile: expected a file"},
	} {
		err := checkOutput(c.folder, c.profile)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("-out %s -profile %s: got %v, want %q", c.folder, c.profile, err, c.want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".results-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if text, _ := os.ReadFile(file); string(text) != "kept" {
		t.Errorf("a profile that is there already was emptied before there is another: %q", text)
	}
}

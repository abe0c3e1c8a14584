package machine

import (
	"os"
	"strings"
	"testing"
)

func TestParseMemory(t *testing.T) {
	for name, c := range map[string]struct {
		status string
		want   int64
		err    string
	}{
		"usual":      {"Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n", 2 << 20, ""},
		"missing":    {"Name:\tx\n", 0, "no VmRSS"},
		"other unit": {"VmRSS:\t2 MB\n", 0, "expected a number of kB"},
		"no number":  {"VmRSS:\tx kB\n", 0, "invalid syntax"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseMemory([]byte(c.status))
			if got != c.want {
				t.Errorf("got %d bytes, want %d", got, c.want)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got the error %v, want %q", err, c.err)
			}
		})
	}
}

func TestDescribeNamesCoresAndGo(t *testing.T) {
	text := Describe()
	for _, part := range []string{" cores", "go1."} {
		if !strings.Contains(text, part) {
			t.Errorf("%q lacks %q", text, part)
		}
	}
}

func TestMemoryOfThisProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		if _, err := Memory(os.Getpid()); err == nil {
			t.Error("memory was read on a system without /proc")
		}
		return
	}
	bytes, err := Memory(os.Getpid())
	if err != nil || bytes < 1<<20 {
		t.Errorf("got %d bytes and %v, want more than a megabyte", bytes, err)
	}
}

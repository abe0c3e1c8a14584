package main

import (
	"net/http"
	"net/http/httptest"
	_ "net/http/pprof"
	"strings"
	"testing"
)

func TestParseHeap(t *testing.T) {
	for name, c := range map[string]struct {
		profile string
		want    float64
		err     string
	}{
		"usual":     {"heap profile: 1: 2 [3: 4] @ heap/1\n# HeapSys = 9\n# HeapAlloc = 2500000\n", 2.5, ""},
		"missing":   {"heap profile\n", 0, "lacks its line"},
		"no number": {"# HeapAlloc = x\n", 0, "expected a number"},
		"too long":  {strings.Repeat("x", 2<<20), 0, "reading the heap"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseHeap(strings.NewReader(c.profile))
			if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %v and %v, want %v and %q", got, err, c.want, c.err)
			}
		})
	}
}

// Go's own profile must hold what is looked for.
func TestLiveHeapOfThisProcess(t *testing.T) {
	server := httptest.NewServer(http.DefaultServeMux)
	defer server.Close()
	got, err := liveHeap(t.Context(), server.Listener.Addr().String())
	if err != nil || got <= 0 {
		t.Errorf("got %v MB and %v", got, err)
	}
	none := httptest.NewServer(http.NotFoundHandler())
	defer none.Close()
	if _, err := liveHeap(t.Context(), none.Listener.Addr().String()); err == nil || !strings.Contains(err.Error(), "status 404") {
		t.Errorf("got %v, want an error that names the status", err)
	}
}

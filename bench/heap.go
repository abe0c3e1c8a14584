package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// liveHeap is what is in use on a Caddy's heap after a collection, in MB of a
// million bytes: resident memory without what the collector leaves room for. It
// comes from the admin endpoint.
func liveHeap(ctx context.Context, admin string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/debug/pprof/heap?gc=1&debug=1", nil)
	if err != nil {
		return 0, err
	}
	request.Close = true // a reload would end the connection anyway
	res, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("asking for the heap: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("asking for the heap: status %d", res.StatusCode)
	}
	return parseHeap(res.Body)
}

// parseHeap finds "# HeapAlloc = …" at the end of a heap profile in text.
func parseHeap(profile io.Reader) (float64, error) {
	lines := bufio.NewScanner(profile)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		value, found := strings.CutPrefix(lines.Text(), "# HeapAlloc = ")
		if !found {
			continue
		}
		bytes, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("heap: found %q, expected a number of bytes", value)
		}
		return float64(bytes) / 1e6, nil
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("reading the heap: %w", err)
	}
	return 0, errors.New("a heap profile lacks its line HeapAlloc")
}

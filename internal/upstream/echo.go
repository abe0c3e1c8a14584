package upstream

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
)

// bodyLimit bounds how much of a body is counted, in bytes.
const bodyLimit = 64 << 20

// Seen is one request as it arrived.
type Seen struct {
	Method   string      `json:"method"`
	Host     string      `json:"host"`
	Path     string      `json:"path"` // as sent, still escaped
	Query    url.Values  `json:"query"`
	Protocol string      `json:"protocol"`
	Headers  http.Header `json:"headers"`

	// BodyBytes is the size of the body, up to 64 MiB. It is known only to the
	// answer, not to Last.
	BodyBytes int64 `json:"body_bytes"`
}

func see(r *http.Request) *Seen {
	return &Seen{
		Method:   r.Method,
		Host:     r.Host,
		Path:     r.URL.EscapedPath(),
		Query:    r.URL.Query(),
		Protocol: r.Proto,
		Headers:  maps.Clone(r.Header),
	}
}

// echo answers any path with what reached it, as JSON for people.
func echo(w http.ResponseWriter, r *http.Request) {
	seen := see(r)
	n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, bodyLimit))
	if err != nil {
		http.Error(w, "the body cannot be read, or is over 64 MiB", http.StatusBadRequest)
		return
	}
	seen.BodyBytes = n
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	// A caller that has gone away is no matter for the upstream.
	_ = enc.Encode(seen)
}

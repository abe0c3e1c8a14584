package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/stream"
)

// BenchmarkGuard is what watching a response adds to it: nothing but the guard
// itself to an ordinary one, timer and lock to a stream.
func BenchmarkGuard(b *testing.B) {
	_, caller, _ := letIn(b)
	for _, c := range []struct{ name, contentType string }{{"ordinary", "application/json"}, {"stream", "text/event-stream"}} {
		answer := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			w.Header()["Content-Type"] = []string{c.contentType}
			w.WriteHeader(http.StatusOK)
			return nil
		})
		w := &headOnly{header: make(http.Header)}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		outer := r.Context()
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				*r = *r.WithContext(outer)
				if err := stream.Serve(w, r, answer, caller, false); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(c.name+" unguarded", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				*r = *r.WithContext(outer)
				_ = answer(w, r)
			}
		})
	}
}

type headOnly struct{ header http.Header }

func (w *headOnly) Header() http.Header         { return w.header }
func (w *headOnly) WriteHeader(int)             {}
func (w *headOnly) Write(p []byte) (int, error) { return len(p), nil }

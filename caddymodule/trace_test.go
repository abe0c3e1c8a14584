package caddymodule

import (
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// The span that Caddy's tracing began says what became of the request, and
// nothing of the token.
func TestTheTraceTellsTheOutcome(t *testing.T) {
	_, caller, _ := letIn(t)
	recorder := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("test")
	in, first := tracer.Start(t.Context(), "let in")
	traceOutcome(in, caller.Issuer(), caller, nil)
	first.End()
	out, second := tracer.Start(t.Context(), "refused")
	traceOutcome(out, "cost", nil, auth.ErrExpired)
	second.End()

	want := []map[string]string{
		{"gatehouse.result": "let_in", "gatehouse.issuer": "cost", "gatehouse.kind": "user"},
		{"gatehouse.result": "expired", "gatehouse.issuer": "cost"},
	}
	for i, span := range recorder.Ended() {
		if len(span.Attributes()) != len(want[i]) {
			t.Errorf("%s has the attributes %v, want %v", span.Name(), span.Attributes(), want[i])
		}
		for _, attribute := range span.Attributes() {
			if got := attribute.Value.AsString(); got != want[i][string(attribute.Key)] {
				t.Errorf("%s: %s is %q", span.Name(), attribute.Key, got)
			}
		}
	}
	if n := len(recorder.Ended()); n != 2 {
		t.Errorf("%d spans, want 2", n)
	}
}

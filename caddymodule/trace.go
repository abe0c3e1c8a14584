package caddymodule

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// Attributes on the span of Caddy's own handler `tracing`, where it is on. None
// holds a token or says who is calling.
const (
	traceResult = attribute.Key("gatehouse.result") // let_in or the reason of the refusal
	traceIssuer = attribute.Key("gatehouse.issuer") // the configured name
	traceKind   = attribute.Key("gatehouse.kind")   // user, service_account or unclear
)

func traceRefusal(ctx context.Context, issuer string, refusal *auth.Refusal) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(traceResult.String(refusal.Reason), traceIssuer.String(issuer))
	}
}

func traceCaller(ctx context.Context, caller *auth.Principal) {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(
			traceResult.String(resultLetIn),
			traceIssuer.String(caller.Issuer()),
			traceKind.String(string(caller.Kind())),
		)
	}
}

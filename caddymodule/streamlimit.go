package caddymodule

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// unblockAfter is how long a cut stream may take to end in good order before
// writing to a client that does not read is given up.
const unblockAfter = time.Second

// limitWrites sees to it that a client which does not read cannot hold its stream
// open. Caddy's response writer takes a deadline only from the goroutine that
// writes, so it is set before the first byte and not at the cut; net/http lifts it
// when the response has ended. A server with a write timeout and without idle
// timeouts keeps its own, which this one would lift.
func (g *streamGuard) limitWrites() {
	_, idle := caddyhttp.IdleTimeoutsFromContext(g.request.Context())
	server, _ := g.request.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if idle == nil && server != nil && server.WriteTimeout > 0 {
		return
	}
	limit := g.caller.Deadline().Add(unblockAfter)
	_ = http.NewResponseController(g.ResponseWriter).SetWriteDeadline(limit) // where it can be set
}

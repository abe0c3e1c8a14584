package caddymodule

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// A stream outlives the moment at which its token was looked at, so it is closed
// when the token expires, or when its service account is good no more. Requests
// that may become one are told by what they ask for; only those whose response
// confirms it are watched and cut. An ordinary request, however slow, is left to
// end by itself.

// isStreamCandidate tells whether the request may become a stream.
func isStreamCandidate(r *http.Request) bool {
	if len(r.Header["Upgrade"]) > 0 || r.Method == http.MethodConnect || isGRPC(r) {
		return true
	}
	for _, accept := range r.Header["Accept"] {
		if strings.Contains(strings.ToLower(accept), eventStream) {
			return true
		}
	}
	return false
}

const eventStream = "text/event-stream"

// serveStream serves a request that may become a stream, and cuts the stream at
// the caller's deadline.
func serveStream(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, caller *auth.Principal) error {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	g := &streamGuard{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		request:               r,
		caller:                caller,
		cancel:                cancel,
	}
	err := g.serve(next, r.WithContext(ctx))
	g.disarm()
	if !g.wasCut() {
		return err
	}
	if g.grpc {
		g.endGRPC()
	}
	return nil
}

// streamGuard is the response writer of a request that may become a stream. It
// sees the response's head, and from a stream's on it waits for the deadline.
type streamGuard struct {
	*caddyhttp.ResponseWriterWrapper
	request  *http.Request
	caller   *auth.Principal
	cancel   context.CancelCauseFunc
	headSeen bool
	grpc     bool

	mu    sync.Mutex
	timer *time.Timer
	conn  net.Conn
	cut   *auth.Refusal // why the stream was cut
	ended bool
}

// serve calls the next handler. A reverse proxy whose stream was cut under it
// aborts by a panic, which ends here.
func (g *streamGuard) serve(next caddyhttp.Handler, r *http.Request) error {
	defer func() {
		p := recover()
		if p != nil {
			g.disarm()
		}
		if p != nil && (p != http.ErrAbortHandler || !g.wasCut()) {
			panic(p)
		}
	}()
	return next.ServeHTTP(g, r)
}

// WriteHeader sees the response's head and arms the guard if it is a stream's.
// Informational responses come before the head.
func (g *streamGuard) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		g.seeHead(status)
	}
	g.ResponseWriterWrapper.WriteHeader(status)
}

// Write sends the head first, if nobody has.
func (g *streamGuard) Write(p []byte) (int, error) {
	g.seeHead(http.StatusOK)
	return g.ResponseWriterWrapper.Write(p)
}

// ReadFrom sends the head first, if nobody has.
func (g *streamGuard) ReadFrom(r io.Reader) (int64, error) {
	g.seeHead(http.StatusOK)
	return g.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError sends the head first, if nobody has.
func (g *streamGuard) FlushError() error {
	g.seeHead(http.StatusOK)
	return http.NewResponseController(g.ResponseWriter).Flush()
}

func (g *streamGuard) seeHead(status int) {
	if g.headSeen {
		return
	}
	g.headSeen = true
	g.grpc = isGRPCType(g.Header().Get("Content-Type"))
	if g.confirms(status) {
		g.limitWrites()
		g.arm()
	}
}

func (g *streamGuard) confirms(status int) bool {
	if status == http.StatusSwitchingProtocols || status == http.StatusOK && g.request.Method == http.MethodConnect {
		return true
	}
	contentType := strings.ToLower(g.Header().Get("Content-Type"))
	return g.grpc || strings.HasPrefix(contentType, eventStream)
}

// Hijack hands out the connection, and keeps it to close it at the deadline.
func (g *streamGuard) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(g.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conn = conn
	if g.cut != nil {
		return conn, buffered, conn.Close()
	}
	return conn, buffered, nil
}

// arm starts to wait for the deadline.
func (g *streamGuard) arm() {
	g.mu.Lock()
	armed := g.timer != nil
	if !armed {
		g.timer = time.AfterFunc(time.Until(g.caller.Deadline()), func() { g.end(auth.ErrExpired) })
	}
	g.mu.Unlock()
	if armed {
		return
	}
	if refusal := streams.add(g); refusal != nil {
		g.end(refusal)
	}
}

// disarm ends the waiting, once the handlers behind are done.
func (g *streamGuard) disarm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	if g.timer != nil {
		g.timer.Stop()
		streams.remove(g)
	}
}

// end cuts the stream: a hijacked connection is closed; else the upstream's
// side ends by the context, and this side when the handler returns.
func (g *streamGuard) end(why *auth.Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return
	}
	g.cut = why
	g.cancel(why)
	if g.conn != nil {
		_ = g.conn.Close()
	}
}

func (g *streamGuard) wasCut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cut != nil
}

// endGRPC ends a cut gRPC stream with the status that tells the client to get a
// new token.
func (g *streamGuard) endGRPC() {
	header := g.Header()
	for name := range header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			delete(header, name)
		}
	}
	header.Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(grpcUnauthenticated))
	header.Set(http.TrailerPrefix+"Grpc-Message", grpcMessage(g.cut.Message))
}

// Unwrap lets http.ResponseController reach what lies below.
func (g *streamGuard) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// Interface guards
var (
	_ http.ResponseWriter             = (*streamGuard)(nil)
	_ http.Hijacker                   = (*streamGuard)(nil)
	_ interface{ FlushError() error } = (*streamGuard)(nil)
)

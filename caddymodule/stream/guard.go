// Package stream cuts responses that last longer than the check of their caller's token.
package stream

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

// A stream lasts longer than the check of its token, so it is cut when the token
// expires, or when its service account is no longer let in. Only the response says
// whether it is a stream: a request may claim anything, and clients that ask for
// events often do not say so. So every response to a caller with a token passes a
// guard. It costs an ordinary response one allocation; timer, lock and the rest are
// made when the head is a stream's.

// guard is the response writer of a request that was let in. It looks at the
// response's head.
type guard struct {
	caddyhttp.ResponseWriterWrapper
	context  guardContext
	request  *http.Request
	caller   *auth.Principal
	connect  bool // the request's method, which handlers behind may change
	cutAll   bool // ordinary responses, too
	headSeen bool
	stream   *stream // nil for an ordinary response
}

// Serve calls the next handler, and cuts its response at the caller's deadline if it is
// one to be cut: a stream, or any with cutAll.
func Serve(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, caller *auth.Principal, cutAll bool) error {
	if outer, ok := r.Context().(*guardContext); ok { // of another bearer_auth, for the same caller
		outer.guard.cutAll = outer.guard.cutAll || cutAll
		return next.ServeHTTP(w, r)
	}
	g := &guard{request: r, caller: caller, connect: r.Method == http.MethodConnect, cutAll: cutAll}
	g.ResponseWriter = w
	g.context.Context, g.context.guard = r.Context(), g
	*r = *r.WithContext(&g.context) // in place: a copy would cost more than all the rest
	return g.serve(next)
}

// serve calls the next handler. A reverse proxy whose stream was cut under it
// aborts by a panic, which ends here; all others go on their way.
func (g *guard) serve(next caddyhttp.Handler) (err error) {
	defer func() {
		if g.stream == nil || !g.stream.leave() {
			return
		}
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		}
		err = nil
		g.finish()
	}()
	return next.ServeHTTP(g, g.request)
}

// WriteHeader sees the response's head. Informational responses come before it.
func (g *guard) WriteHeader(status int) {
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		g.seeHead(status)
	}
	g.ResponseWriter.WriteHeader(status)
}

// Write sends the head first, if nobody has.
func (g *guard) Write(p []byte) (int, error) {
	g.seeHead(http.StatusOK)
	if g.stream == nil {
		return g.ResponseWriter.Write(p)
	}
	return g.stream.write(g.ResponseWriter, p)
}

// ReadFrom sends the head first, if nobody has. An ordinary response goes the
// short way that the writer below may have; a stream has to be cut in between.
func (g *guard) ReadFrom(r io.Reader) (int64, error) {
	g.seeHead(http.StatusOK)
	if g.stream == nil {
		return g.ResponseWriterWrapper.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{g}, r)
}

// FlushError sends the head first, if nobody has.
func (g *guard) FlushError() error {
	g.seeHead(http.StatusOK)
	return http.NewResponseController(g.ResponseWriter).Flush()
}

// Flush is for handlers that know no other way to flush.
func (g *guard) Flush() { _ = g.FlushError() }

func (g *guard) seeHead(status int) {
	if g.headSeen {
		return
	}
	g.headSeen = true
	if kind := g.kindOf(status); kind != ordinary {
		g.arm(kind)
	}
}

// Hijack hands out the connection, which is watched from then on. Whoever takes it
// before there was a head will write the head unseen.
func (g *guard) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(g.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	g.headSeen = true
	if g.stream == nil {
		g.arm(tunnelStream)
	}
	t := &tunnel{Conn: conn, stream: g.stream}
	if err := t.rebind(buffered); err != nil {
		return nil, nil, err
	}
	g.stream.takeOver(t)
	return t, buffered, nil
}

// guardContext is a request's context that can be canceled, but costs nothing
// until somebody waits for that.
type guardContext struct {
	context.Context // the server's
	guard           *guard
	made            atomic.Pointer[cancelable]
}

type cancelable struct {
	context.Context
	cancel context.CancelFunc
}

// cancelable makes the context that is canceled. The server's own ends with the
// request, and so releases it.
func (c *guardContext) cancelable() *cancelable {
	if made := c.made.Load(); made != nil {
		return made
	}
	ctx, cancel := context.WithCancel(c.Context)
	if !c.made.CompareAndSwap(nil, &cancelable{ctx, cancel}) {
		cancel()
	}
	return c.made.Load()
}

func (c *guardContext) current() context.Context {
	if made := c.made.Load(); made != nil {
		return made.Context
	}
	return c.Context
}

// Done is closed when the request ends, or its stream is cut.
func (c *guardContext) Done() <-chan struct{} { return c.cancelable().Done() }

// Err tells whether it was.
func (c *guardContext) Err() error { return c.current().Err() }

// Value gives the server's values. It shows the standard library's contexts the
// one to be canceled with, too.
func (c *guardContext) Value(key any) any { return c.current().Value(key) }

// Interface guards
var (
	_ http.ResponseWriter             = (*guard)(nil)
	_ http.Hijacker                   = (*guard)(nil)
	_ http.Flusher                    = (*guard)(nil)
	_ io.ReaderFrom                   = (*guard)(nil)
	_ interface{ FlushError() error } = (*guard)(nil)
)

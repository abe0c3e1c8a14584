package stream

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/respond"
)

// stream is a response that is cut when its caller is no longer let in.
type stream struct {
	caller *auth.Principal
	cancel func()
	kind   kind
	frames frames // that were sent, as far as its kind has any
	cut    atomic.Pointer[auth.Refusal]

	mu     sync.Mutex
	timer  *time.Timer
	tunnel *tunnel // the connection, once it was taken over
	ended  bool
}

// arm begins to wait for the deadline.
func (g *guard) arm(kind kind) {
	s := &stream{caller: g.caller, cancel: func() { g.context.cancelable().cancel() }, kind: kind, frames: kind.frames()}
	g.stream = s
	g.limitWrites(g.caller.Deadline().Add(unblockAfter))
	s.mu.Lock()
	s.timer = time.AfterFunc(time.Until(g.caller.Deadline()), func() { s.end(auth.ErrExpired) })
	s.mu.Unlock()
	open.mu.Lock()
	open.all[s] = struct{}{}
	registration := open.registration
	open.mu.Unlock()
	// The caller's account may have been changed between the look at the token and now.
	if refusal := refusalNow(registration, s.caller); refusal != nil {
		s.end(refusal)
	}
}

// limitWrites sees to it that a client which does not read cannot hold its stream
// open. Caddy's response writer takes a deadline only from the goroutine that
// writes, so it is set before the first byte and not at the cut; net/http lifts it
// when the response has ended. A server with a write timeout and without idle
// timeouts keeps its own, which this one would lift.
func (g *guard) limitWrites(until time.Time) {
	_, idle := caddyhttp.IdleTimeoutsFromContext(g.request.Context())
	server, _ := g.request.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if idle == nil && server != nil && server.WriteTimeout > 0 {
		return
	}
	_ = http.NewResponseController(g.ResponseWriter).SetWriteDeadline(until) // where it can be set
}

// write writes on until the stream is cut.
func (s *stream) write(w io.Writer, p []byte) (int, error) {
	if why := s.cut.Load(); why != nil {
		return 0, why
	}
	n, err := w.Write(p)
	s.frames.pass(p[:n])
	return n, err
}

// end cuts the stream: what waits for the upstream by its context, what is written
// from then on by an error, and a connection that was taken over by itself.
func (s *stream) end(why *auth.Refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.cut.Load() != nil {
		return
	}
	s.cut.Store(why)
	s.cancel()
	if s.tunnel != nil {
		s.tunnel.cut()
	}
}

func (s *stream) takeOver(t *tunnel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tunnel = t
	if s.cut.Load() != nil {
		t.cut()
	}
}

func (s *stream) hijacked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tunnel != nil
}

// leave ends the waiting when the handlers behind are done, and tells whether the
// stream was cut. A connection that was taken over may outlive them.
func (s *stream) leave() (wasCut bool) {
	if !s.hijacked() {
		s.disarm()
	}
	return s.cut.Load() != nil
}

func (s *stream) disarm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	s.ended = true
	s.timer.Stop()
	open.mu.Lock()
	delete(open.all, s)
	open.mu.Unlock()
}

// finish ends a response that was cut, in the goroutine that wrote it: with the
// reason where its kind has a form for one, in good order where any end will do,
// and otherwise by an abort, so that nobody takes what came for the whole.
func (g *guard) finish() {
	s := g.stream
	if s.hijacked() || s.kind == tunnelStream || s.kind == eventStream {
		return
	}
	g.limitWrites(time.Now().Add(unblockAfter))
	why := s.cut.Load()
	if s.kind == grpcStream {
		header := g.Header()
		for name := range header {
			if strings.HasPrefix(name, http.TrailerPrefix) {
				delete(header, name)
			}
		}
		respond.SetGRPCStatus(header, http.TrailerPrefix, why) // which has the client get a new token
		return
	}
	last := s.kind.lastWords(why)
	if last == nil || !s.frames.whole() {
		panic(http.ErrAbortHandler)
	}
	if _, err := g.ResponseWriter.Write(last); err == nil {
		_ = http.NewResponseController(g.ResponseWriter).Flush()
	}
}

// open are the streams that are open now, over all configurations, so that those of
// callers who are no longer let in are found.
var open = struct {
	mu           sync.Mutex
	all          map[*stream]struct{}
	registration *auth.Registration // that of the last recheck; nil until there is one
}{all: make(map[*stream]struct{})}

// Recheck cuts the open streams of callers who are no longer let in. Who judges is asked
// under the lock, so that of two rechecks the last knows the newest.
func Recheck(current func() *auth.Registration) {
	open.mu.Lock()
	registration := current()
	open.registration = registration
	all := slices.Collect(maps.Keys(open.all))
	open.mu.Unlock()
	for _, s := range all {
		if refusal := refusalNow(registration, s.caller); refusal != nil {
			s.end(refusal)
		}
	}
}

// Open is how many streams are watched.
func Open() int {
	open.mu.Lock()
	defer open.mu.Unlock()
	return len(open.all)
}

// refusalNow gives the refusal of a caller who was let in and would not be now. A
// stream is not cut only because nobody can tell at the moment.
func refusalNow(registration *auth.Registration, caller *auth.Principal) *auth.Refusal {
	if registration == nil {
		return nil
	}
	_, refusal := registration.Admit(caller.Token, time.Now())
	if refusal != nil && refusal.Status == http.StatusServiceUnavailable {
		return nil
	}
	return refusal
}

// tunnel is a connection that a handler took over. It is watched until it is
// closed, even if the handler is done before.
type tunnel struct {
	net.Conn
	stream *stream

	mu      sync.Mutex // held while something is written
	reading sync.Mutex // held while something is read: Caddy counts it below
	closed  sync.Once
}

// rebind has the handler's buffers use this connection instead of the one below.
func (t *tunnel) rebind(buffers *bufio.ReadWriter) error {
	arrived, err := buffers.Peek(buffers.Reader.Buffered())
	if err != nil {
		return err
	}
	arrived = slices.Clone(arrived)
	buffers.Writer.Reset(t)
	buffers.Reader.Reset(io.MultiReader(bytes.NewReader(arrived), t))
	_, err = buffers.Peek(len(arrived)) // they count as buffered again
	return err
}

// Read hands on nothing that comes after the cut: it reads that away.
func (t *tunnel) Read(p []byte) (int, error) {
	t.reading.Lock()
	defer t.reading.Unlock()
	n, err := t.Conn.Read(p)
	why := t.stream.cut.Load()
	if why == nil {
		return n, err
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, t.Conn)
	}
	return 0, why
}

// Write writes on until the cut.
func (t *tunnel) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stream.write(t.Conn, p)
}

// CloseWrite ends this side's part, where the connection below can do that.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes the connection, in good order if it was cut.
func (t *tunnel) Close() error {
	t.closed.Do(func() {
		t.stream.disarm()
		if why := t.stream.cut.Load(); why != nil {
			t.sayWhy(why)
		}
	})
	return t.Conn.Close()
}

// cut has the handler close the connection of a WebSocket, and gives it a moment
// for that; other protocols have no words for it.
func (t *tunnel) cut() {
	if t.stream.kind == webSocket {
		_ = t.SetDeadline(time.Now().Add(unblockAfter))
	} else {
		_ = t.Conn.Close()
	}
	time.AfterFunc(2*unblockAfter, func() { _ = t.Close() }) // whatever the handler does
}

// sayWhy sends the close frame of a WebSocket that was cut between two frames, and
// lets the client read it: a connection closed with data unread is reset.
func (t *tunnel) sayWhy(why *auth.Refusal) {
	if !t.mu.TryLock() {
		return // in the middle of a frame
	}
	defer t.mu.Unlock()
	last := t.stream.kind.lastWords(why)
	if last == nil || !t.stream.frames.whole() {
		return
	}
	_ = t.SetDeadline(time.Now().Add(unblockAfter))
	if _, err := t.Conn.Write(last); err != nil {
		return
	}
	_ = t.CloseWrite()
	t.reading.Lock() // until then somebody else reads to the end
	defer t.reading.Unlock()
	_, _ = io.Copy(io.Discard, t.Conn)
}

// unblockAfter is how long a cut stream may take to end in good order before
// writing to a client that does not read is given up.
const unblockAfter = time.Second

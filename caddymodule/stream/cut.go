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
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
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

package caddymodule

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatehouse-proxy/gatehouse/auth"
)

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
	if t.stream.kind != webSocket {
		_ = t.Conn.Close()
		return
	}
	_ = t.SetDeadline(time.Now().Add(unblockAfter))
	time.AfterFunc(2*unblockAfter, func() { _ = t.Conn.Close() })
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
	t.reading.Lock() // whoever reads still reads to the end, too
	defer t.reading.Unlock()
	_, _ = io.Copy(io.Discard, t.Conn)
}

// isWebSocket tells whether a protocol's name, given in exactly one field, is that
// of WebSocket.
func isWebSocket(fields []string) bool {
	return len(fields) == 1 && strings.EqualFold(strings.TrimSpace(fields[0]), "websocket")
}

// extendedProtocol is what an extended CONNECT asks for (RFC 8441, RFC 9220), in
// the two places where the servers of HTTP/2 and HTTP/3 put it.
func extendedProtocol(r *http.Request) []string {
	if fields := r.Header[":protocol"]; len(fields) > 0 {
		return fields
	}
	if r.ProtoMajor == 3 && !strings.HasPrefix(r.Proto, "HTTP/") {
		return []string{r.Proto}
	}
	return nil
}

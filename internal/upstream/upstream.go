// Package upstream is a small HTTP server that shows what reached it through a
// gateway, and offers the kinds of answer that a gateway treats differently: event
// streams, gRPC streams and slow ordinary ones; tests add WebSockets (package
// wsecho). The demo command and tests put it behind the gateway. It speaks HTTP/1.1
// and HTTP/2 without TLS.
package upstream

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Upstream is a running server. All methods are safe for concurrent use.
type Upstream struct {
	// URL is scheme and address, without a trailing slash.
	URL string

	server *http.Server
	mux    *http.ServeMux
	cancel context.CancelFunc
	served chan struct{}

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup // requests under way, upgraded ones included

	count   atomic.Int64
	last    atomic.Pointer[Seen]
	release chan struct{}
	once    sync.Once
}

// Start listens on host:port; "127.0.0.1:0" takes a free port. The caller closes
// the Upstream.
func Start(hostport string) (*Upstream, error) {
	ln, err := net.Listen("tcp", hostport)
	if err != nil {
		return nil, fmt.Errorf("listening for the upstream: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	u := &Upstream{
		URL:     "http://" + ln.Addr().String(),
		mux:     http.NewServeMux(),
		cancel:  cancel,
		served:  make(chan struct{}),
		release: make(chan struct{}),
	}
	u.server = &http.Server{
		Handler:           u.handler(),
		Protocols:         protocols(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: 10 * time.Second,
	}
	go u.serve(ln)
	return u, nil
}

// protocols has HTTP/2 without TLS beside HTTP/1.1, which gRPC needs.
func protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

func (u *Upstream) serve(ln net.Listener) {
	defer close(u.served)
	// It only returns ErrServerClosed, from Close.
	_ = u.server.Serve(ln)
}

// enter counts a request, unless Close waits for the count already.
func (u *Upstream) enter() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.closed {
		u.work.Add(1)
	}
	return !u.closed
}

// Close ends the server with every stream on it, and waits for them.
func (u *Upstream) Close() error {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.cancel()
	err := u.server.Close()
	<-u.served
	u.work.Wait()
	return err
}

// Count is how many requests have reached the server.
func (u *Upstream) Count() int { return int(u.count.Load()) }

// Last is what reached it last; nil before the first request.
func (u *Upstream) Last() *Seen { return u.last.Load() }

// ReleaseSlow ends every /slow answer, those to come included.
func (u *Upstream) ReleaseSlow() { u.once.Do(func() { close(u.release) }) }

// HandleFunc adds an answer of one's own. The context of its requests ends with the
// server, and Close waits for it, also where it has taken over the connection.
func (u *Upstream) HandleFunc(pattern string, answer http.HandlerFunc) {
	u.mux.HandleFunc(pattern, answer)
}

func (u *Upstream) handler() http.Handler {
	u.mux.HandleFunc("/", echo)
	u.mux.HandleFunc("/sse", events)
	u.mux.HandleFunc("/slow", u.slow)
	u.mux.HandleFunc("/grpc.Stream", grpc)
	u.mux.HandleFunc("/grpc.Stream/{method}", grpc)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !u.enter() {
			panic(http.ErrAbortHandler)
		}
		defer u.work.Done()
		u.count.Add(1)
		u.last.Store(see(r))
		u.mux.ServeHTTP(w, r)
	})
}

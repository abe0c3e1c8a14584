package idp

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// line is the listening side: a server that can be stopped and started again on
// the same address.
type line struct {
	addr    string // host:port
	handler http.Handler
	cert    *certificate

	mu     sync.Mutex
	server *http.Server
	cancel context.CancelFunc // ends the context of every request
	served chan struct{}      // closed when Serve returned
	conns  sync.WaitGroup     // connections being served
}

// newLine does not listen yet.
func newLine(addr string, useTLS bool, h http.Handler) (*line, error) {
	l := &line{addr: addr, handler: h}
	if useTLS {
		cert, err := newCertificate()
		if err != nil {
			return nil, err
		}
		l.cert = cert
	}
	return l, nil
}

func (l *line) base() string {
	if l.cert != nil {
		return "https://" + l.addr
	}
	return "http://" + l.addr
}

func (l *line) start() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server != nil {
		return nil
	}
	ln, err := net.Listen("tcp", l.addr)
	if err != nil {
		return fmt.Errorf("listening for the issuer: %w", err)
	}
	if l.cert != nil {
		ln = tls.NewListener(ln, l.cert.serverConfig())
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.server = &http.Server{
		Handler:           l.handler,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         l.track,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    64 << 10,
		// A client that refuses the certificate is part of the tests.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	l.served = make(chan struct{})
	go serve(l.server, ln, l.served)
	return nil
}

func serve(s *http.Server, ln net.Listener, done chan<- struct{}) {
	defer close(done)
	// It only returns ErrServerClosed, from stop.
	_ = s.Serve(ln)
}

// track counts connections. Serve reports each new one before it returns, so that
// stop misses none, and the end of one comes after its last handler.
func (l *line) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		l.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		l.conns.Done()
	}
}

func (l *line) stop() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.server == nil {
		return nil
	}
	// Hanging handlers wait for the context. Closing their connection would end
	// it too, but not while the body of their request is unread.
	l.cancel()
	err := l.server.Close()
	<-l.served
	l.conns.Wait()
	l.server = nil
	return err
}

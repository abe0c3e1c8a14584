package upstream

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// events is an event stream that ticks: `?every=` sets the interval (default
// 100 ms), `?n=` the number of events (default: until somebody leaves).
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	ticks(r, func(i int) error {
		_, err := fmt.Fprintf(w, "id: %d\ndata: tick %d\n\n", i, i)
		return flush(w, err)
	})
}

// grpc is a server stream of tiny messages, ended by trailers. The query is that
// of events.
func grpc(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	ticks(r, func(i int) error {
		_, err := w.Write(grpcFrame([]byte("tick " + strconv.Itoa(i))))
		return flush(w, err)
	})
	w.Header().Set("Grpc-Status", "0")
	w.Header().Set("Grpc-Message", "")
}

// grpcFrame is a message as gRPC puts it on the wire: not compressed, its length,
// itself.
func grpcFrame(msg []byte) []byte {
	frame := make([]byte, 5, 5+len(msg))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(msg)))
	return append(frame, msg...)
}

// slow is an ordinary answer that takes its time: a first part at once, the second
// after `?for=`, or else when ReleaseSlow is called.
func (u *Upstream) slow(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	if _, err := fmt.Fprintln(w, "begun"); flush(w, err) != nil {
		return
	}
	var elapsed <-chan time.Time
	if d, err := time.ParseDuration(r.URL.Query().Get("for")); err == nil {
		t := time.NewTimer(d)
		defer t.Stop()
		elapsed = t.C
	}
	select {
	case <-elapsed:
	case <-u.release:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler) // a short answer must not look whole
	}
	// A caller that has gone away is no matter for the upstream.
	_, _ = fmt.Fprintln(w, "done")
}

// ticks calls each at once, and then at every tick, until it fails, enough are
// sent, or somebody leaves.
func ticks(r *http.Request, each func(i int) error) {
	every, err := time.ParseDuration(r.URL.Query().Get("every"))
	if err != nil || every <= 0 {
		every = 100 * time.Millisecond
	}
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	endless := err != nil
	t := time.NewTicker(every)
	defer t.Stop()
	for i := 1; endless || i <= n; i++ {
		if each(i) != nil {
			return
		}
		if i == n {
			return
		}
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
}

func flush(w http.ResponseWriter, err error) error {
	if err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

package load

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-proxy/gatehouse/internal/freeport"
)

// counter is a server that counts what it was asked for.
type counter struct {
	mu          sync.Mutex
	paths       map[string]int
	connections int
	address     string
}

func newCounter(t *testing.T, status int, header http.Header) *counter {
	t.Helper()
	c := &counter{paths: make(map[string]int)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.paths[r.URL.Path]++
		c.mu.Unlock()
		for name := range header {
			w.Header().Set(name, header.Get(name))
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "some body")
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			c.mu.Lock()
			c.connections++
			c.mu.Unlock()
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c.address = server.Listener.Addr().String()
	return c
}

func (c *counter) requests() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, times := range c.paths {
		n += times
	}
	return n
}

func requestsFor(n int) (list [][]byte) {
	for i := range n {
		list = append(list, fmt.Appendf(nil, "GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i))
	}
	return list
}

func newTestClient(t *testing.T, address string, n int) *Client {
	t.Helper()
	client := NewClient(address, n)
	t.Cleanup(client.Close)
	return client
}

func TestEachSendsEveryRequestOnce(t *testing.T) {
	for _, n := range []int{1, 3, 4, 10, 101} {
		server := newCounter(t, 200, nil)
		result := newTestClient(t, server.address, 4).Each(requestsFor(n))
		if err := result.Check(200); err != nil {
			t.Errorf("%d requests: %v", n, err)
		}
		for i := range n {
			if times := server.paths[fmt.Sprintf("/%d", i)]; times != 1 {
				t.Errorf("of %d requests, number %d came %d times, want once", n, i, times)
			}
		}
	}
}

func TestForKeepsConnectionsAndCounts(t *testing.T) {
	server := newCounter(t, 200, nil)
	client := newTestClient(t, server.address, 3)
	for range 2 {
		result := client.For(20*time.Millisecond, requestsFor(7))
		if err := result.Check(200); err != nil {
			t.Error(err)
		}
		if result.Elapsed < 20*time.Millisecond || result.PerSecond() <= 0 || result.FirstOK < 0 {
			t.Errorf("got %v, %v requests a second, first after %v", result.Elapsed, result.PerSecond(), result.FirstOK)
		}
	}
	if server.connections != 3 {
		t.Errorf("%d connections were opened, want 3", server.connections)
	}
}

// However short the spells are, no request is left out in the end.
func TestForGoesOnWhereItStopped(t *testing.T) {
	const n = 50
	server := newCounter(t, 200, nil)
	client := newTestClient(t, server.address, 4)
	for server.requests() < 4*n { // one connection at least has gone round
		if err := client.For(time.Millisecond, requestsFor(n)).Check(200); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if server.paths[fmt.Sprintf("/%d", i)] == 0 {
			t.Errorf("of %d requests, number %d was never sent", n, i)
		}
	}
}

func TestEachDoesNotDisturbTheRound(t *testing.T) {
	server := newCounter(t, 200, nil)
	client := newTestClient(t, server.address, 1)
	list := requestsFor(100_000)
	some := func() (sent int) {
		for sent == 0 {
			sent = client.For(time.Millisecond, list).Answers()
		}
		return sent
	}
	sent := some()
	if err := client.Each(list[:1]).Check(200); err != nil {
		t.Fatal(err)
	}
	some()
	if times := server.paths[fmt.Sprintf("/%d", sent)]; times != 1 {
		t.Errorf("after %d requests, number %[1]d came %d times, want once", sent, times)
	}
}

func TestJoinSumsSpellsUp(t *testing.T) {
	one := &Result{Elapsed: 2, Statuses: map[int]int{200: 2}, Latencies: []time.Duration{1, 5}, FirstOK: 4}
	two := &Result{Elapsed: 3, Statuses: map[int]int{200: 1, 401: 1}, Latencies: []time.Duration{2, 3}, FirstOK: 3, Failed: 1, Err: net.ErrClosed}
	got := Join([]*Result{one, two})
	want := &Result{
		Elapsed: 5, Statuses: map[int]int{200: 3, 401: 1}, Latencies: []time.Duration{1, 2, 3, 5},
		FirstOK: 3, Failed: 1, Err: net.ErrClosed,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if none := Join(nil); none.Answers() != 0 || none.FirstOK >= 0 {
		t.Errorf("no spells gave %+v", none)
	}
}

func TestPacedSendsNoMoreThanAsked(t *testing.T) {
	server := newCounter(t, 200, nil)
	result := newTestClient(t, server.address, 4).Paced(100*time.Millisecond, 200, requestsFor(1))
	if result.Answers() == 0 || result.Answers() > 20 {
		t.Errorf("got %d answers in a tenth of a second at 200 a second, want 1 to 20", result.Answers())
	}
	if server.requests() != result.Answers() {
		t.Errorf("the server saw %d requests, the client %d answers", server.requests(), result.Answers())
	}
}

func TestOtherStatusesAreReported(t *testing.T) {
	server := newCounter(t, 401, nil)
	result := newTestClient(t, server.address, 2).Each(requestsFor(5))
	if result.Others(200) != 5 || result.Statuses[401] != 5 || result.FirstOK >= 0 {
		t.Errorf("got %v, first 200 after %v", result.Statuses, result.FirstOK)
	}
	if err := result.Check(200); err == nil || !strings.Contains(err.Error(), "map[401:5]") {
		t.Errorf("got the error %v, want one that shows the statuses", err)
	}
}

func TestClosedConnectionIsOpenedAnew(t *testing.T) {
	server := newCounter(t, 200, http.Header{"Connection": {"close"}})
	result := newTestClient(t, server.address, 1).Each(requestsFor(3))
	if err := result.Check(200); err != nil {
		t.Error(err)
	}
	if server.connections != 3 {
		t.Errorf("%d connections were opened, want 3", server.connections)
	}
}

func TestWhatCannotBeRead(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":      "hello, who is there, is it me?\r\n\r\n",
		"no status":    "HTTP/1.1 abc OK\r\n\r\n",
		"chunked":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"no length":    "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"cut off":      "HTTP/1.1 200 OK\r\nContent-",
		"nothing":      "",
		"short of all": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
	} {
		t.Run(name, func(t *testing.T) {
			result := newTestClient(t, serveRaw(t, answer), 1).Each(requestsFor(1))
			if result.Failed != 1 || result.Err == nil {
				t.Errorf("got %d failures and the error %v, want one", result.Failed, result.Err)
			}
		})
	}
}

// serveRaw answers the first request of each connection with these bytes.
func serveRaw(t *testing.T, answer string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed at the test's end
			}
			var buffer [512]byte
			_, _ = conn.Read(buffer[:])
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

func TestQuantile(t *testing.T) {
	r := Result{}
	if r.Quantile(0.99) != 0 {
		t.Error("no answers have a latency")
	}
	for i := range 100 {
		r.Latencies = append(r.Latencies, time.Duration(i))
	}
	for q, want := range map[float64]time.Duration{0: 0, 0.5: 50, 0.99: 99, 1: 99} {
		if got := r.Quantile(q); got != want {
			t.Errorf("quantile %v: got %d, want %d", q, got, want)
		}
	}
}

func TestServerThatIsGone(t *testing.T) {
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	result := newTestClient(t, address, 1).For(time.Minute, requestsFor(1))
	if result.Failed == 0 || result.Check(200) == nil {
		t.Errorf("got %d failures and %v, want some", result.Failed, result.Check(200))
	}
}

package upstream_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/internal/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) (*upstream.Upstream, *http.Client) {
	t.Helper()
	u, err := upstream.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(func() {
		c.CloseIdleConnections()
		if err := u.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return u, c
}

func open(t *testing.T, c *http.Client, url string) *http.Response {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestEchoShowsTheRequest(t *testing.T) {
	u, c := start(t)
	if u.Last() != nil || u.Count() != 0 {
		t.Errorf("before: Last %v, Count %d", u.Last(), u.Count())
	}
	req, err := http.NewRequest(http.MethodPut, u.URL+"/a%2Fb/c?x=1&x=2", strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header["X-Two"] = []string{"a", "b"}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var seen upstream.Seen
	if err := json.NewDecoder(res.Body).Decode(&seen); err != nil {
		t.Fatal(err)
	}
	if seen.Method != "PUT" || seen.Path != "/a%2Fb/c" || len(seen.Query["x"]) != 2 ||
		len(seen.Headers["X-Two"]) != 2 || seen.BodyBytes != 5 || seen.Protocol != "HTTP/1.1" ||
		"http://"+seen.Host != u.URL {
		t.Errorf("seen = %+v", seen)
	}
	if u.Count() != 1 || u.Last().Path != "/a%2Fb/c" {
		t.Errorf("after: Last %+v, Count %d", u.Last(), u.Count())
	}
}

func TestEventStream(t *testing.T) {
	u, c := start(t)
	res := open(t, c, u.URL+"/sse?n=3&every=1ms")
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if ct := res.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("Content-Type = %q", ct)
	}
	if want := "id: 1\ndata: tick 1\n\nid: 2\ndata: tick 2\n\nid: 3\ndata: tick 3\n\n"; string(body) != want {
		t.Errorf("body = %q", body)
	}
}

func TestSlowGoesOnWhenReleased(t *testing.T) {
	u, c := start(t)
	res := open(t, c, u.URL+"/slow")
	r := bufio.NewReader(res.Body)
	if line, err := r.ReadString('\n'); line != "begun\n" {
		t.Fatalf("first line %q, %v", line, err)
	}
	u.ReleaseSlow()
	if rest, err := io.ReadAll(r); string(rest) != "done\n" || err != nil {
		t.Errorf("rest %q, %v", rest, err)
	}
	timed := open(t, c, u.URL+"/slow?for=1ms")
	if body, err := io.ReadAll(timed.Body); string(body) != "begun\ndone\n" || err != nil {
		t.Errorf("timed: %q, %v", body, err)
	}
}

func TestGRPCStreamOverHTTP2(t *testing.T) {
	u, _ := start(t)
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	c := &http.Client{Transport: &http.Transport{Protocols: p}}
	defer c.CloseIdleConnections()
	res := open(t, c, u.URL+"/grpc.Stream?n=2&every=1ms")
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.ProtoMajor != 2 || res.Header.Get("Content-Type") != "application/grpc" {
		t.Errorf("protocol %s, Content-Type %q", res.Proto, res.Header.Get("Content-Type"))
	}
	if want := "\x00\x00\x00\x00\x06tick 1\x00\x00\x00\x00\x06tick 2"; string(body) != want {
		t.Errorf("body = %q", body)
	}
	if got := res.Trailer.Get("Grpc-Status"); got != "0" {
		t.Errorf("grpc-status = %q", got)
	}
}

// Every stream that would never end has to end with the server.
func TestCloseEndsStreams(t *testing.T) {
	for _, path := range []string{"/sse", "/grpc.Stream", "/grpc.Stream/Method", "/slow"} {
		t.Run(path, func(t *testing.T) {
			u, c := start(t)
			res := open(t, c, u.URL+path)
			if _, err := res.Body.Read(make([]byte, 1)); err != nil {
				t.Fatalf("the stream did not begin: %v", err)
			}
			if err := u.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(res.Body); err == nil && path == "/slow" {
				t.Error("a cut answer looks whole")
			}
		})
	}
}

func TestStreamEndsWhenTheCallerLeaves(t *testing.T) {
	u, c := start(t)
	ctx, leave := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.URL+"/sse", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	leave()
	if _, err := io.ReadAll(res.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("reading on: %v", err)
	}
}

func TestAddressTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if u, err := upstream.Start(ln.Addr().String()); err == nil {
		u.Close()
		t.Error("two servers on one address")
	}
}

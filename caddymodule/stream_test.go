package caddymodule_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/coder/websocket"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

const streams = `{
	GLOBALS
	servers {
		protocols h1 h2c
		TIMEOUTS
	}
	gatehouse {
		issuer ISSUER {
			name acme
			audience https://gateway.example.com
			leeway 0s
		}
	}
}
http://SITE {
	bind 127.0.0.1
	log
	bearer_auth {
		error_body json
	}
	reverse_proxy UPSTREAM {
		flush_interval -1
		transport http {
			versions PROTOCOL
		}
	}
}
`

func startStreams(t *testing.T, protocol string) (*gateway, *idp.Issuer) {
	issuer := newIssuer(t)
	return start(t, streams, "ISSUER", issuer.URL, "UPSTREAM", newUpstream(t).URL, "PROTOCOL", protocol, "TIMEOUTS", ""), issuer
}

// brief mints a token that is good for 1 to 2 seconds more, and says until when.
func brief(issuer *idp.Issuer) (token string, expiry time.Time) {
	expiry = time.Unix(time.Now().Unix()+2, 0)
	return mint(issuer, claims{"exp": expiry.Unix()}), expiry
}

// cutInTime makes sure that a stream lived until its token expired. That it ended
// at all is what the test waited for.
func cutInTime(t *testing.T, expiry time.Time) {
	t.Helper()
	if early := time.Until(expiry); early > 0 {
		t.Errorf("the stream was cut %s before its token expired", early)
	}
}

// open begins a request and leaves the body of its answer to the test.
func open(t *testing.T, client *http.Client, method, url string, edits ...edit) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		edit(request)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		t.Fatalf("got status %d %v, want 200", response.StatusCode, response.Header)
	}
	return response
}

func TestEventStreamIsCutAtExpiry(t *testing.T) {
	if apart(t) {
		return
	}
	g, issuer := startStreams(t, "1.1")
	for _, c := range []struct {
		name   string
		client *http.Client
	}{{"HTTP/1.1", g.client}, {"HTTP/2", g.h2c}} {
		t.Run(c.name, func(t *testing.T) {
			token, expiry := brief(issuer)
			stream := open(t, c.client, http.MethodGet, "http://"+g.site+"/sse?every=20ms", bearer(token), header("Accept", "text/event-stream"))
			events, err := io.ReadAll(stream.Body)
			if err != nil {
				t.Errorf("the stream ended with %v, want in good order", err)
			}
			cutInTime(t, expiry)
			if strings.Count(string(events), "data: tick") < 2 {
				t.Errorf("got %q, want events until the cut", events)
			}
		})
	}
}

// A client that asked for events keeps its connection when they are cut.
// Caddy's idle timeouts are off here: they would put right what is left behind.
func TestConnectionOutlivesACutEventStream(t *testing.T) {
	if apart(t) {
		return
	}
	issuer := newIssuer(t)
	g := start(t, streams, "ISSUER", issuer.URL, "UPSTREAM", newUpstream(t).URL, "PROTOCOL", "1.1",
		"TIMEOUTS", "timeouts {\n write_idle -1s\n }")
	token, expiry := brief(issuer)
	stream := open(t, g.client, http.MethodGet, "http://"+g.site+"/sse?every=20ms", bearer(token), header("Accept", "text/event-stream"))
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Fatalf("the stream ended with %v", err)
	}
	cutInTime(t, expiry)
	reused := false
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
	withTrace := func(r *http.Request) { *r = *r.WithContext(httptrace.WithClientTrace(r.Context(), trace)) }
	long := mint(issuer, nil)
	// The next answer takes longer than a cut stream may take to end: were its
	// deadline still there, the answer would break off.
	got := g.get("/slow?for=1500ms", withTrace, bearer(long))
	if got.status != 200 || !strings.HasSuffix(got.body, "done\n") || !reused {
		t.Errorf("got %d %q (connection reused: %t), want the same connection to serve", got.status, got.body, reused)
	}
}

// What asks for events and gets an ordinary answer is left alone, however long it
// takes.
func TestSlowAnswerIsNotCut(t *testing.T) {
	if apart(t) {
		return
	}
	g, issuer := startStreams(t, "1.1")
	for name, edits := range map[string][]edit{
		"asks for events": {header("Accept", "text/event-stream, application/json")},
		"asks for grpc":   {header("Content-Type", "application/grpc")},
		"asks for a socket, gets none": {
			header("Connection", "Upgrade"), header("Upgrade", "websocket"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			token, expiry := brief(issuer)
			got := g.get("/slow?for="+(time.Until(expiry)+500*time.Millisecond).String(), append(edits, bearer(token))...)
			if got.status != 200 || got.body != "begun\ndone\n" {
				t.Errorf("got %d %q, want the whole answer", got.status, got.body)
			}
			cutInTime(t, expiry)
			expired.check(t, g.get("/", bearer(token)), expired.jsonBody())
		})
	}
}

// A client that does not read cannot hold its stream open: its request ends, as
// the access log tells, and not only the upstream's part of it.
func TestStreamIsCutUnderAClientThatDoesNotRead(t *testing.T) {
	if apart(t) {
		return
	}
	ended := make(chan struct{})
	flood := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			if _, err := io.WriteString(w, strings.Repeat("data: x\n\n", 1<<12)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(flood.Close)
	issuer := newIssuer(t)
	g := start(t, streams, "ISSUER", issuer.URL, "UPSTREAM", flood.URL, "PROTOCOL", "1.1", "TIMEOUTS", "")
	token, expiry := brief(issuer)
	conn, err := net.Dial("tcp", g.site)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", g.site, token)
	<-ended
	cutInTime(t, expiry)
	eventually(t, "the request is in the access log", func() bool { return strings.Contains(g.log(), `"logger":"http.log.access`) })
}

func TestWebSocketIsCutAtExpiry(t *testing.T) {
	g, issuer := startStreams(t, "1.1")
	token, expiry := brief(issuer)
	conn := dialSocket(t, "http://"+g.site+"/ws", bearer(token))
	_, _, err := conn.Read(t.Context())
	if closed, ok := errors.AsType[websocket.CloseError](err); !ok || closed.Code != websocket.StatusPolicyViolation || closed.Reason != "the token has expired" {
		t.Errorf("waiting for the end: %v", err)
	}
	cutInTime(t, expiry)
}

// dialSocket opens a WebSocket and sees a message come back.
func dialSocket(t *testing.T, address string, edits ...edit) *websocket.Conn {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		edit(request)
	}
	client := &http.Client{Transport: &http.Transport{}}
	conn, _, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{HTTPClient: client, HTTPHeader: request.Header})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, back, err := conn.Read(t.Context()); err != nil || string(back) != "hello" {
		t.Fatalf("got %q back, and %v", back, err)
	}
	return conn
}

// head reads the head of a response, and gives a reader of what follows.
func head(t *testing.T, conn net.Conn) (*bufio.Reader, int) {
	t.Helper()
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	return reader, response.StatusCode
}

// echo sends a masked text frame and waits for it to come back.
func echo(w io.Writer, r io.Reader, text string) error {
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...)
	if _, err := w.Write(frame); err != nil {
		return err
	}
	back := make([]byte, 2+len(text))
	if _, err := io.ReadFull(r, back); err != nil {
		return err
	}
	if string(back[2:]) != text {
		return fmt.Errorf("got %q back, want %q", back[2:], text)
	}
	return nil
}

func TestGRPCStreamEndsWithStatusUnauthenticated(t *testing.T) {
	if apart(t) {
		return
	}
	g, issuer := startStreams(t, "h2c")
	token, expiry := brief(issuer)
	stream := open(t, g.h2c, http.MethodPost, "http://"+g.site+"/grpc.Stream/Watch?every=20ms", bearer(token),
		header("Content-Type", "application/grpc"), header("Te", "trailers"))
	messages, err := countMessages(stream.Body)
	if err != nil || messages < 2 {
		t.Errorf("got %d messages and then %v, want some and the end", messages, err)
	}
	cutInTime(t, expiry)
	if got := fmt.Sprint(stream.Trailer["Grpc-Status"], stream.Trailer["Grpc-Message"]); got != "[16] [the token has expired]" {
		t.Errorf("got the status %s, want 16", got)
	}
}

func TestGRPCStreamThatEndsByItselfKeepsItsStatus(t *testing.T) {
	g, issuer := startStreams(t, "h2c")
	stream := open(t, g.h2c, http.MethodPost, "http://"+g.site+"/grpc.Stream/Watch?every=1ms&n=3", bearer(mint(issuer, nil)),
		header("Content-Type", "application/grpc"), header("Te", "trailers"))
	messages, err := countMessages(stream.Body)
	if err != nil || messages != 3 || fmt.Sprint(stream.Trailer["Grpc-Status"]) != "[0]" {
		t.Errorf("got %d messages, %v and the status %v, want 3, none and 0", messages, err, stream.Trailer)
	}
}

// countMessages reads length-prefixed messages to the end.
func countMessages(r io.Reader) (n int, err error) {
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
		if _, err := io.CopyN(io.Discard, r, int64(binary.BigEndian.Uint32(head[1:]))); err != nil {
			return n, err
		}
		n++
	}
}

// Extended CONNECT (RFC 8441) has to be allowed by the environment before the
// process starts, so the test runs itself again.
func TestExtendedConnectIsCutAtExpiry(t *testing.T) {
	if apart(t) {
		return
	}
	const allowed = "http2xconnect=1"
	if !strings.Contains(os.Getenv("GODEBUG"), allowed) {
		again := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		again.Env = append(os.Environ(), "GODEBUG="+allowed)
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("with %s: %v\n%s", allowed, err, out)
		}
		return
	}
	g, issuer := startStreams(t, "1.1")
	token, expiry := brief(issuer)
	//lint:ignore SA1019 the transport of net/http cannot send an extended CONNECT
	transport := &http2.Transport{AllowHTTP: true, DialTLSContext: dialPlain}
	//lint:ignore SA1019 as above
	t.Cleanup(transport.CloseIdleConnections)
	connect := func(protocol, token string) (*http.Response, io.Writer) {
		reader, writer := io.Pipe()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, "http://"+g.site+"/ws", reader)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(":protocol", protocol)
		request.Header.Set("Sec-WebSocket-Version", "13")
		bearer(token)(request)
		//lint:ignore SA1019 as above
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response, writer
	}
	response, writer := connect("websocket", token)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("got status %d, want 200", response.StatusCode)
	}
	if err := echo(writer, response.Body, "hello"); err != nil {
		t.Errorf("before the cut: %v", err)
	}
	if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != closeFrame {
		t.Errorf("got %q and %v, want %q and the end", rest, err, closeFrame)
	}
	cutInTime(t, expiry)
	if err := g.load(strings.Replace(streams, "error_body json", "header X-Auth-Subject {http.auth.user.id}", 1)); err != nil {
		t.Fatal(err)
	}
	//lint:ignore SA1019 as above
	transport.CloseIdleConnections() // one of them would be answered by the old configuration
	for protocol, status := range map[string]int{"websocket": 200, "connect-udp": 400, "websocket, h2c": 400} {
		if response, _ := connect(protocol, mint(issuer, nil)); response.StatusCode != status {
			t.Errorf("%s where headers tell who is calling: got status %d, want %d", protocol, response.StatusCode, status)
		}
	}
}

// dialPlain speaks HTTP/2 without TLS.
func dialPlain(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

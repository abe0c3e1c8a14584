package caddymodule_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// newTicker starts an upstream that answers with ?type= as its content type, and
// sends ?each= every 20 ms, until somebody leaves. It does so whatever is asked.
func newTicker(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server of HTTP/1.1 reads no more of it once it answers
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			if _, err := io.WriteString(w, r.URL.Query().Get("each")); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-ticker.C:
			case <-r.Context().Done():
				return
			}
		}
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

// ticks is the path of a stream of a content type.
func ticks(contentType, each string) string {
	return "/?" + url.Values{"type": {contentType}, "each": {each}}.Encode()
}

func framed(flags byte, text string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(text)))) + text
}

// What the request says of itself decides nothing: a response that is a stream is
// cut when the token expires, and ends as its kind can.
func TestStreamIsToldByTheResponse(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, streams, "ISSUER", issuer.URL, "UPSTREAM", newTicker(t).URL, "PROTOCOL", "h2c 1.1", "TIMEOUTS", "")
	const event, ndjson = "data: tick\n\n", `{"tick":1}` + "\n"
	asksJSON := []edit{header("Accept", "application/json"), header("Content-Type", "application/json"), body(`{"stream":true}`, 15)}
	asksGRPC := []edit{header("Content-Type", "application/grpc"), header("Te", "trailers")}
	asksTwice := []edit{header("Content-Type", "text/plain", "application/grpc"), header("Te", "trailers")}
	grpcStatus := framed(0x80, "grpc-status: 16\r\ngrpc-message: the token has expired\r\n")
	connectEnd := framed(0x02, `{"error":{"code":"unauthenticated","message":"the token has expired"}}`)
	for _, c := range []struct {
		name, method, contentType, each string
		edits                           []edit
		end                             string // of the body; "broken" where it must not look whole
	}{
		{"events, asked for with */*", "GET", "text/event-stream", event, []edit{header("Accept", "*/*")}, event},
		{"events, asked for with nothing", "GET", "text/event-stream; charset=utf-8", event, []edit{header("Accept")}, event},
		{"events, as SDKs of language models ask", "POST", "Text/Event-Stream", event, asksJSON, event},
		{"lines of JSON", "POST", "application/x-ndjson", ndjson, asksJSON, "broken"},
		{"pictures", "GET", "multipart/x-mixed-replace; boundary=x", "--x\r\n\r\n", nil, "--x\r\n\r\n"},
		{"gRPC", "POST", "application/grpc+proto", framed(0, "tick"), asksGRPC, "status 16"},
		{"gRPC with two content types", "POST", "application/grpc", framed(0, "tick"), asksTwice, "status 16"},
		{"grpc-web", "POST", "application/grpc-web+proto", framed(0, "tick"), asksJSON, grpcStatus},
		{"grpc-web in base64", "POST", "application/grpc-web-text", "AAAAAAA=", nil, "broken"},
		{"Connect", "POST", "application/connect+json", framed(0, "{}"), asksJSON, connectEnd},
		{"Connect, in the middle of a message", "POST", "application/connect+json", framed(0, "{}") + "\x00", asksJSON, "broken"},
	} {
		for protocol, client := range map[string]*http.Client{"HTTP/1.1": g.client, "HTTP/2": g.h2c} {
			t.Run(c.name+" "+protocol, func(t *testing.T) {
				t.Parallel() // with its likes; the gateway waits for all
				token, expiry := brief(issuer)
				stream := open(t, client, c.method, "http://"+g.site+ticks(c.contentType, c.each), append(c.edits, bearer(token))...)
				got, err := io.ReadAll(stream.Body)
				cutInTime(t, expiry)
				switch c.end {
				case "broken":
					if err == nil {
						t.Errorf("the stream ended in good order, after %q", got)
					}
				case "status 16":
					if status := fmt.Sprint(stream.Trailer["Grpc-Status"], stream.Trailer["Grpc-Message"]); err != nil || status != "[16] [the token has expired]" {
						t.Errorf("got %v and the status %s, want 16", err, status)
					}
				default:
					if err != nil || !strings.HasSuffix(string(got), c.end) {
						t.Errorf("got %v and %q, want the end %q", err, got, c.end)
					}
				}
			})
		}
	}
}

// A stream that nobody asked for is found when its account is switched off.
func TestUnaskedStreamIsCutWithItsAccount(t *testing.T) {
	g := startAPI(t, "UPSTREAM", newTicker(t).URL)
	g.create("robot", "")
	stream := open(t, g.client, http.MethodPost, "http://"+g.site+"/guarded"+ticks("text/event-stream", "data: tick\n\n"),
		g.machine("robot"), header("Accept", "application/json"))
	if _, err := io.ReadFull(stream.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if got := g.send(http.MethodPut, "/api/serviceaccounts/robot", g.admin(), content(`{"status":"inactive"}`)); got.status != 200 {
		t.Fatalf("got %d %s", got.status, got.body)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}

// `cut all` cuts an ordinary answer, too, and it does not look whole.
func TestCutAll(t *testing.T) {
	if apart(t) {
		return
	}
	issuer := newIssuer(t)
	g := start(t, strings.Replace(streams, "error_body json", "error_body json\ncut all", 1),
		"ISSUER", issuer.URL, "UPSTREAM", newUpstream(t).URL, "PROTOCOL", "1.1", "TIMEOUTS", "")
	for protocol, client := range map[string]*http.Client{"HTTP/1.1": g.client, "HTTP/2": g.h2c} {
		t.Run(protocol, func(t *testing.T) {
			token, expiry := brief(issuer)
			answer := open(t, client, http.MethodGet, "http://"+g.site+"/slow", bearer(token))
			got, err := io.ReadAll(answer.Body)
			if err == nil || string(got) != "begun\n" {
				t.Errorf("got %q, %v, want an answer that breaks off", got, err)
			}
			cutInTime(t, expiry)
		})
	}
	if got := g.get("/slow?for=10ms", bearer(mint(issuer, nil))); got.body != "begun\ndone\n" {
		t.Errorf("got %q of a token that is good for longer", got.body)
	}
}

// closeFrame is what a WebSocket gets whose token expired.
const closeFrame = "\x88\x17\x03\xf0the token has expired"

// openSocket begins a WebSocket and gives what follows the response's head.
func openSocket(t *testing.T, g *gateway, path, token string) (net.Conn, io.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", g.site)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n", path, g.site, token)
	reader, status := head(t, conn)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("got status %d, want 101", status)
	}
	return conn, reader
}

// A WebSocket that is cut gets a close frame that says why, however its messages
// were cut into pieces, but never in the middle of a frame.
func TestWebSocketGetsACloseFrame(t *testing.T) {
	if apart(t) {
		return
	}
	g, issuer := startStreams(t, "1.1")
	token, expiry := brief(issuer)
	conn, reader := openSocket(t, g, "/ws", token)
	for _, size := range []int{0, 5, 125, 126, 65535} {
		if err := echoLong(conn, reader, size); err != nil {
			t.Fatalf("before the cut, with %d bytes: %v", size, err)
		}
	}
	rest, err := io.ReadAll(reader)
	if err != nil || string(rest) != closeFrame {
		t.Errorf("got %q and %v, want %q and the end", rest, err, closeFrame)
	}
	cutInTime(t, expiry)
}

// echoLong sends a masked frame in two pieces and waits for it to come back.
func echoLong(w io.Writer, r io.Reader, size int) error {
	want := []byte{0x82}
	switch {
	case size < 126:
		want = append(want, byte(size))
	default:
		want = binary.BigEndian.AppendUint16(append(want, 126), uint16(size))
	}
	frame := append([]byte{}, want...)
	frame[1] |= 0x80
	frame = append(frame, make([]byte, 4+size)...)
	for _, piece := range [][]byte{frame[:1], frame[1:]} {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	got := make([]byte, len(want)+size)
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if string(got[:len(want)]) != string(want) {
		return errors.New("another frame came back")
	}
	return nil
}

// In the middle of a server's frame there is no place for another one.
func TestWebSocketCutInTheMiddleOfAFrame(t *testing.T) {
	if apart(t) {
		return
	}
	half := "\x82\x7e\x01\x00" + "half"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buffers, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(buffers, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n%s", half)
		_ = buffers.Flush()
		_, _ = io.Copy(io.Discard, conn)
	}))
	t.Cleanup(server.Close)
	issuer := newIssuer(t)
	g := start(t, streams, "ISSUER", issuer.URL, "UPSTREAM", server.URL, "PROTOCOL", "1.1", "TIMEOUTS", "")
	token, expiry := brief(issuer)
	_, reader := openSocket(t, g, "/", token)
	if rest, _ := io.ReadAll(reader); string(rest) != half {
		t.Errorf("got %q, want nothing but %q", rest, half)
	}
	cutInTime(t, expiry)
}

// Two bearer_auth, with something between them that writes, guard one response.
func TestWebSocketBehindTwoGates(t *testing.T) {
	if apart(t) {
		return
	}
	issuer := newIssuer(t)
	inner := "encode gzip\nhandle /ws* {\nbearer_auth {\nclaim sub subject\n}\nreverse_proxy UPSTREAM\n}\nrespond 404\n"
	config, _, _ := strings.Cut(streams, "	reverse_proxy UPSTREAM")
	g := start(t, config+inner+"}", "ISSUER", issuer.URL, "UPSTREAM", newUpstream(t).URL, "TIMEOUTS", "")
	token, expiry := brief(issuer)
	conn, reader := openSocket(t, g, "/ws", token)
	if err := echo(conn, reader, "hello"); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(reader); err != nil || string(rest) != closeFrame {
		t.Errorf("got %q and %v, want %q and the end", rest, err, closeFrame)
	}
	cutInTime(t, expiry)
}

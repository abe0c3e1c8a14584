package upstream_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-proxy/gatehouse/internal/upstream"
)

// dial opens a WebSocket by the example of RFC 6455 §1.3.
func dial(t *testing.T, u *upstream.Upstream) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(u.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_, err = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols ||
		res.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("status %d, accept %q", res.StatusCode, res.Header.Get("Sec-WebSocket-Accept"))
	}
	return conn, r
}

// send writes a masked frame.
func send(t *testing.T, conn net.Conn, first byte, payload string) {
	t.Helper()
	frame := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		frame = append(frame, 0x80|byte(n))
	case n <= 0xFFFF:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	frame = append(frame, mask[:]...)
	for i := range len(payload) {
		frame = append(frame, payload[i]^mask[i%4])
	}
	if _, err := conn.Write(frame); err != nil {
		t.Fatal(err)
	}
}

// receive reads a frame without a mask, as servers send them.
func receive(t *testing.T, r *bufio.Reader) (first byte, payload string) {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	size := uint64(head[1])
	switch size {
	case 126:
		var n uint16
		if err := binary.Read(r, binary.BigEndian, &n); err != nil {
			t.Fatal(err)
		}
		size = uint64(n)
	case 127:
		if err := binary.Read(r, binary.BigEndian, &size); err != nil {
			t.Fatal(err)
		}
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		t.Fatal(err)
	}
	return head[0], string(body)
}

func TestWebSocketEchoes(t *testing.T) {
	u, _ := start(t)
	conn, r := dial(t, u)
	tests := []struct {
		name      string
		first     byte
		payload   string
		wantFirst byte
	}{
		{"text", 0x81, "hello", 0x81},
		{"empty", 0x82, "", 0x82},
		{"126 bytes", 0x82, strings.Repeat("a", 126), 0x82},
		{"64 KiB", 0x82, strings.Repeat("b", 64<<10), 0x82},
		{"ping", 0x89, "p", 0x8A},
		{"fragment", 0x01, "part", 0x01},
		{"close", 0x88, "\x03\xe8", 0x88},
	}
	for _, tt := range tests {
		send(t, conn, tt.first, tt.payload)
		if first, payload := receive(t, r); first != tt.wantFirst || payload != tt.payload {
			t.Errorf("%s: first byte %#x and %d bytes, want %#x and %d",
				tt.name, first, len(payload), tt.wantFirst, len(tt.payload))
		}
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the closing frame: %v, want EOF", err)
	}
}

func TestWebSocketCutsWhatIsNoClientFrame(t *testing.T) {
	for name, raw := range map[string]string{
		"no mask":  "\x81\x01a",
		"too long": "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x01",
	} {
		t.Run(name, func(t *testing.T) {
			u, _ := start(t)
			conn, r := dial(t, u)
			if _, err := io.WriteString(conn, raw); err != nil {
				t.Fatal(err)
			}
			if b, err := r.ReadByte(); err == nil {
				t.Errorf("answered %#x", b)
			}
		})
	}
}

func TestWebSocketEndsWithTheServer(t *testing.T) {
	u, _ := start(t)
	_, r := dial(t, u)
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection outlives the server")
	}
}

func TestWebSocketAsksForAnUpgrade(t *testing.T) {
	u, c := start(t)
	res := open(t, c, u.URL+"/ws")
	if res.StatusCode != http.StatusUpgradeRequired || res.Header.Get("Upgrade") != "websocket" {
		t.Errorf("status %d, Upgrade %q", res.StatusCode, res.Header.Get("Upgrade"))
	}
}

package upstream

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 §4.2.2 names it, for no secret
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
)

// webSocketGUID is the constant of RFC 6455 §1.3.
const webSocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// frameLimit bounds the payload of one WebSocket frame, in bytes.
const frameLimit = 64 << 10

// Opcodes of RFC 6455 §5.2.
const (
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// webSocket echoes every frame. It takes whatever a browser sends, fragments and
// pings included, and leaves extensions alone.
func webSocket(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if key == "" || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "this is a WebSocket", http.StatusUpgradeRequired)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "the connection cannot be upgraded", http.StatusHTTPVersionNotSupported)
		return
	}
	defer conn.Close()
	defer closeOnDone(r.Context(), conn)()
	sum := sha1.Sum([]byte(key + webSocketGUID)) //nolint:gosec // see the import
	_, err = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n")
	for err == nil {
		if err = rw.Flush(); err == nil {
			err = echoFrame(rw)
		}
	}
}

// closeOnDone makes reads fail when the server closes: it does not know hijacked
// connections any more. The returned func ends the watch.
func closeOnDone(ctx context.Context, conn net.Conn) func() {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return func() { stop() }
}

// echoFrame reads one frame of a client and writes its answer. io.EOF follows the
// answer to a closing frame.
func echoFrame(rw *bufio.ReadWriter) error {
	first, payload, err := readFrame(rw.Reader)
	if err != nil {
		return err
	}
	switch first & 0x0F {
	case opPong:
		return nil
	case opPing:
		first = first&0xF0 | opPong
	}
	if err := writeFrame(rw.Writer, first, payload); err != nil {
		return err
	}
	if first&0x0F == opClose {
		return errors.Join(rw.Flush(), io.EOF)
	}
	return nil
}

// readFrame returns the first byte of a frame (FIN and opcode) and its payload,
// unmasked. A frame without a mask is none of a client's (RFC 6455 §5.1).
func readFrame(r *bufio.Reader) (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	if head[1]&0x80 == 0 {
		return 0, nil, errors.New("websocket frame without a mask")
	}
	size, err := frameSize(r, head[1]&0x7F)
	if err != nil {
		return 0, nil, err
	}
	var mask [4]byte
	if _, err := io.ReadFull(r, mask[:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return head[0], payload, nil
}

func frameSize(r *bufio.Reader, short byte) (uint64, error) {
	size := uint64(short)
	var err error
	switch short {
	case 126:
		var long uint16
		err = binary.Read(r, binary.BigEndian, &long)
		size = uint64(long)
	case 127:
		err = binary.Read(r, binary.BigEndian, &size)
	}
	if err == nil && size > frameLimit {
		err = errors.New("websocket frame over 64 KiB")
	}
	return size, err
}

func writeFrame(w *bufio.Writer, first byte, payload []byte) error {
	head := []byte{first, byte(len(payload))}
	if n := len(payload); n > 125 {
		head = binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(n))
		if n > 0xFFFF {
			head = binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(n))
		}
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

package stream

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/gatehouse-proxy/gatehouse/auth"
	"github.com/gatehouse-proxy/gatehouse/caddymodule/respond"
)

// lastWords are what ends a stream that is cut between two of its frames; nil
// where there is no such thing.
func (k kind) lastWords(why *auth.Refusal) []byte {
	switch k {
	case webSocket:
		const policyViolation = 1008 // RFC 6455, section 7.4.1
		reason := why.Message[:min(len(why.Message), 123)]
		frame := []byte{0x88, byte(2 + len(reason))}
		return append(binary.BigEndian.AppendUint16(frame, policyViolation), reason...)
	case grpcWebStream:
		code, message := respond.GRPCStatus(why)
		return envelope(0x80, fmt.Appendf(nil, "grpc-status: %d\r\ngrpc-message: %s\r\n", code, message))
	case connectStream:
		type failure struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		}
		end, err := json.Marshal(map[string]failure{"error": {"unauthenticated", why.Message}})
		if err != nil {
			return nil
		}
		return envelope(0x02, end)
	}
	return nil
}

// envelope is a message as gRPC and Connect put it on the wire.
func envelope(flags byte, message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(message))), message...)
}

// frames follows the frames that were sent, to know whether the last is whole.
type frames struct {
	// measure gives the size of a frame's head and of what follows it; the
	// head's is larger than what there is of it until that can be said.
	measure func(head []byte) (size int, payload uint64)
	head    [14]byte // as far as it was sent
	sent    int
	left    uint64
}

func (k kind) frames() frames {
	switch k {
	case webSocket:
		return frames{measure: measureWebSocket}
	case grpcWebStream, connectStream:
		return frames{measure: measureEnvelope}
	}
	return frames{}
}

// pass takes note of what was sent.
func (f *frames) pass(p []byte) {
	if f.measure == nil {
		return
	}
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		f.head[f.sent] = p[0]
		f.sent++
		p = p[1:]
		if size, payload := f.measure(f.head[:f.sent]); f.sent == size {
			f.sent, f.left = 0, payload
		}
	}
}

// whole tells whether nothing of a frame is still to come.
func (f *frames) whole() bool { return f.measure != nil && f.left == 0 && f.sent == 0 }

// measureWebSocket reads the head of a frame (RFC 6455, section 5.2).
func measureWebSocket(head []byte) (size int, payload uint64) {
	size = 2
	if len(head) < size {
		return size, 0
	}
	short := head[1] & 0x7F
	switch short {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	long := size
	if head[1]&0x80 != 0 {
		size += 4 // a mask, which only clients send
	}
	if len(head) < size {
		return size, 0
	}
	switch short {
	case 126:
		return size, uint64(binary.BigEndian.Uint16(head[2:long]))
	case 127:
		return size, binary.BigEndian.Uint64(head[2:long])
	}
	return size, uint64(short)
}

// measureEnvelope reads the head of a message of gRPC or Connect.
func measureEnvelope(head []byte) (size int, payload uint64) {
	if len(head) < 5 {
		return 5, 0
	}
	return 5, uint64(binary.BigEndian.Uint32(head[1:]))
}

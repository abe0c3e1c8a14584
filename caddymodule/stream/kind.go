package stream

import (
	"net/http"
	"strings"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/respond"
)

// kind is what a response's head says of the response: whether it is a
// stream, and by which words one that is cut can end.
type kind int

const (
	ordinary      kind = iota
	brokenStream       // has no words for its end, and must not look whole
	eventStream        // is endless; any end is one
	tunnelStream       // another protocol on the connection
	webSocket          // RFC 6455
	grpcStream         // ends by trailers
	grpcWebStream      // ends by trailers in its body
	connectStream      // Connect's streaming types, which end by an envelope
)

// kindOf reads the head of a response.
func (g *guard) kindOf(status int) kind {
	header := g.Header()
	switch {
	case status == http.StatusSwitchingProtocols:
		if IsWebSocket(header["Upgrade"]) {
			return webSocket
		}
		return tunnelStream
	case g.connect && status < http.StatusMultipleChoices:
		if IsWebSocket(ExtendedProtocol(g.request)) {
			return webSocket
		}
		return tunnelStream
	}
	for _, contentType := range header["Content-Type"] {
		if kind := kindOfType(contentType); kind != ordinary {
			return kind
		}
	}
	if g.cutAll {
		return brokenStream
	}
	return ordinary
}

func kindOfType(contentType string) kind {
	switch respond.BaseType(contentType) {
	case "text/event-stream", "multipart/x-mixed-replace":
		return eventStream
	case "application/grpc":
		return grpcStream
	case "application/grpc-web":
		return grpcWebStream
	case "application/connect":
		return connectStream
	case "application/grpc-web-text", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq":
		return brokenStream
	}
	return ordinary
}

// IsWebSocket tells whether a protocol's name, given in exactly one field, is that
// of WebSocket.
func IsWebSocket(fields []string) bool {
	return len(fields) == 1 && strings.EqualFold(strings.TrimSpace(fields[0]), "websocket")
}

// ExtendedProtocol is what an extended CONNECT asks for (RFC 8441, RFC 9220), in
// the two places where the servers of HTTP/2 and HTTP/3 put it.
func ExtendedProtocol(r *http.Request) []string {
	if fields := r.Header[":protocol"]; len(fields) > 0 {
		return fields
	}
	if r.ProtoMajor == 3 && !strings.HasPrefix(r.Proto, "HTTP/") {
		return []string{r.Proto}
	}
	return nil
}

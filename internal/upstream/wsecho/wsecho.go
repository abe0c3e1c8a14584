// Package wsecho is a WebSocket that sends back what it gets, for tests. It is a
// package of its own so that the demo, which has the same upstream, is built without
// a WebSocket library.
package wsecho

import (
	"net/http"

	"github.com/coder/websocket"
)

const maxMessageBytes = 64 << 10

// Serve echoes messages until either side closes, or the server ends.
func Serve(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}) // of any origin
	if err != nil {
		return // it has been answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(maxMessageBytes)
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if conn.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

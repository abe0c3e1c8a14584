package wsecho_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/internal/upstream"
	"github.com/gatehouse-proxy/gatehouse/internal/upstream/wsecho"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial opens a WebSocket to a new upstream.
func dial(t *testing.T) (context.Context, *upstream.Upstream, *websocket.Conn) {
	t.Helper()
	u, err := upstream.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	u.HandleFunc("/ws", wsecho.Serve)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	client := &http.Client{Transport: &http.Transport{}}
	conn, _, err := websocket.Dial(ctx, u.URL+"/ws", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(-1)
	return ctx, u, conn
}

func TestEchoes(t *testing.T) {
	ctx, _, conn := dial(t)
	for _, text := range []string{"", "hello", strings.Repeat("a", 126), strings.Repeat("b", 64<<10)} {
		if err := conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		kind, got, err := conn.Read(ctx)
		if kind != websocket.MessageText || string(got) != text || err != nil {
			t.Fatalf("of %d bytes %d came back, %v, %v", len(text), len(got), kind, err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Error(err)
	}
}

func TestEndsWithTheServer(t *testing.T) {
	ctx, u, conn := dial(t)
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := conn.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the connection outlives the server: %v", err)
	}
}

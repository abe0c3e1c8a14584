package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// newSwitcher starts an upstream that switches to whatever protocol is asked for,
// and then answers with what it was sent.
func newSwitcher(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" && r.Method != http.MethodConnect {
			return
		}
		conn, buffers, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(buffers, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		_ = buffers.Flush()
		_, _ = io.Copy(conn, buffers)
	}))
	t.Cleanup(server.Close)
	return server
}

const protocols = `{
	GLOBALS
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
	@plain path /plain*
	bearer_auth @plain
	@headers path /headers* /optional*
	bearer_auth @headers {
		optional
		header X-Auth-Subject {http.auth.user.id}
	}
	@named path /named*
	bearer_auth @named {
		header X-Auth-Subject {http.auth.user.id}
		upgrade tcp SPDY/3.1
	}
	reverse_proxy UPSTREAM
}
`

// Whatever is sent after a switch of protocols passes by the cleaning of headers,
// so where there are any, only WebSocket is let through, or what is named.
func TestProtocolsThatPassByTheHeaders(t *testing.T) {
	issuer := newIssuer(t)
	g := start(t, protocols, "ISSUER", issuer.URL, "UPSTREAM", newSwitcher(t).URL)
	token := mint(issuer, nil)
	for _, c := range []struct {
		path, upgrade string
		status        int
	}{
		{"/headers", "Upgrade: h2c\r\n", 400},
		{"/headers", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n", 400},
		{"/headers", "Upgrade: tcp\r\n", 400},
		{"/headers", "Upgrade: websocket, h2c\r\n", 400},
		{"/headers", "Upgrade: websocket\r\nUpgrade: h2c\r\n", 400},
		{"/headers", "Upgrade: websocket/13\r\n", 400},
		{"/headers", "Upgrade:\r\n", 400},
		{"/optional", "Upgrade: h2c\r\n", 400},
		{"/headers", "Upgrade: WebSocket\r\n", 101},
		{"/headers", "", 200},
		{"/plain", "Upgrade: tcp\r\n", 101},
		{"/named", "Upgrade: TCP\r\n", 101},
		{"/named", "Upgrade: SPDY/3.1\r\n", 101},
		{"/named", "Upgrade: h2c\r\n", 400},
	} {
		t.Run(c.path+" "+strings.TrimSpace(c.upgrade), func(t *testing.T) {
			authorization := "Authorization: Bearer " + token + "\r\n"
			if c.path == "/optional" {
				authorization = ""
			}
			got := g.raw(t, "GET "+c.path+" HTTP/1.1\r\nHost: "+g.site+"\r\n"+authorization+"Connection: Upgrade, HTTP2-Settings\r\n"+c.upgrade+"\r\n")
			if got != c.status {
				t.Errorf("got status %d, want %d", got, c.status)
			}
		})
	}
	connect := "CONNECT /headers HTTP/1.1\r\nHost: " + g.site + "\r\nAuthorization: Bearer " + token + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	if got := g.raw(t, connect); got != 400 {
		t.Errorf("CONNECT: got status %d, want 400", got)
	}
}

// What is switched to another protocol than WebSocket is cut, too.
func TestTunnelIsCutAtExpiry(t *testing.T) {
	if apart(t) {
		return
	}
	issuer := newIssuer(t)
	g := start(t, protocols, "ISSUER", issuer.URL, "UPSTREAM", newSwitcher(t).URL)
	token, expiry := brief(issuer)
	conn, err := net.Dial("tcp", g.site)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /named HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nAuthorization: Bearer %s\r\n\r\nhello", g.site, token)
	reader, status := head(t, conn)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("got status %d, want 101", status)
	}
	if got := readText(t, reader, 5); got != "hello" {
		t.Errorf("got %q through the tunnel", got)
	}
	if rest, _ := io.ReadAll(reader); len(rest) > 0 {
		t.Errorf("got %q more", rest)
	}
	cutInTime(t, expiry)
}

func readText(t *testing.T, r *bufio.Reader, size int) string {
	t.Helper()
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		t.Fatal(err)
	}
	return string(text)
}

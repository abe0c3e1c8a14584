package caddymodule_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/caddymodule/stream"
)

func init() {
	caddy.RegisterModule(silentStream{})
	httpcaddyfile.RegisterHandlerDirective("silent_stream", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return silentStream{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("silent_stream", httpcaddyfile.Before, "reverse_proxy")
	caddy.RegisterModule(new(leftTunnel))
	httpcaddyfile.RegisterHandlerDirective("left_tunnel", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(leftTunnel), nil
	})
	httpcaddyfile.RegisterDirectiveOrder("left_tunnel", httpcaddyfile.Before, "reverse_proxy")
}

// leftTunnel is a handler that takes the connection over, without a head, and
// leaves it to a goroutine that never closes it.
type leftTunnel struct{}

func (*leftTunnel) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.left_tunnel", New: func() caddy.Module { return new(leftTunnel) }}
}

func (*leftTunnel) ServeHTTP(w http.ResponseWriter, _ *http.Request, _ caddyhttp.Handler) error {
	conn, buffers, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(conn, buffers) }()
	return nil
}

// A connection that outlives its handler is cut all the same, and forgotten.
func TestTunnelThatOutlivesItsHandlerIsCut(t *testing.T) {
	if apart(t) {
		return
	}
	issuer := newIssuer(t)
	g := start(t, `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			audience https://gateway.example.com
			leeway 0s
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth
	left_tunnel
}`, "ISSUER", issuer.URL)
	token, expiry := brief(issuer)
	conn, err := net.Dial("tcp", g.site)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\nhello", g.site, token)
	if got, _ := io.ReadAll(conn); string(got) != "hello" {
		t.Errorf("got %q, want what was sent and the end", got)
	}
	cutInTime(t, expiry)
	eventually(t, "the stream is forgotten", func() bool { return stream.Open() == 0 })
}

// silentStream is a handler that begins an event stream with a flush alone and
// never sends an event.
type silentStream struct{}

func (silentStream) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.silent_stream", New: func() caddy.Module { return silentStream{} }}
}

func (silentStream) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	w.Header().Set("Content-Type", "text/event-stream")
	if err := http.NewResponseController(w).Flush(); err != nil {
		return err
	}
	<-r.Context().Done()
	return nil
}

func TestStreamThatIsOnlyFlushedIsCut(t *testing.T) {
	if apart(t) {
		return
	}
	issuer := newIssuer(t)
	g := start(t, `{
	GLOBALS
	gatehouse {
		issuer ISSUER {
			audience https://gateway.example.com
			leeway 0s
		}
	}
}
http://SITE {
	bind 127.0.0.1
	bearer_auth
	silent_stream
}`, "ISSUER", issuer.URL)
	token, expiry := brief(issuer)
	stream := open(t, g.client, http.MethodGet, "http://"+g.site+"/", bearer(token), header("Accept", "text/event-stream"))
	if rest, err := io.ReadAll(stream.Body); err != nil || len(rest) > 0 {
		t.Errorf("got %q, %v", rest, err)
	}
	cutInTime(t, expiry)
}

// A stream goes on over a reload, and is still cut when its token expires.
func TestStreamIsCutAfterAReload(t *testing.T) {
	if apart(t) {
		return
	}
	g, issuer := startStreams(t, "1.1")
	token, expiry := brief(issuer)
	stream := open(t, g.client, http.MethodGet, "http://"+g.site+"/sse?every=20ms", bearer(token), header("Accept", "text/event-stream"))
	if err := g.load(streams); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
	cutInTime(t, expiry)
}

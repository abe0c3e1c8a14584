package caddymodule_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(silentStream{})
	httpcaddyfile.RegisterHandlerDirective("silent_stream", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return silentStream{}, nil
	})
	httpcaddyfile.RegisterDirectiveOrder("silent_stream", httpcaddyfile.Before, "reverse_proxy")
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

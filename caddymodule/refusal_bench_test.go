package caddymodule_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/gatehouse-proxy/gatehouse/internal/idp"
)

func init() {
	caddy.RegisterModule(new(refuseFloor))
	httpcaddyfile.RegisterHandlerDirective("refuse_floor", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(refuseFloor), nil
	})
	httpcaddyfile.RegisterDirectiveOrder("refuse_floor", httpcaddyfile.Before, "basic_auth")
}

// refuseFloor refuses every request as cheaply as Caddy's error route allows,
// after decoding a token as any handler would that asks the standard library.
type refuseFloor struct{}

func (*refuseFloor) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.refuse_floor", New: func() caddy.Module { return new(refuseFloor) }}
}

var errRefuseFloor = errors.New("no good token")

func (*refuseFloor) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss string
		Exp int64
	}
	for _, field := range r.Header["Authorization"] {
		parts := strings.Split(strings.TrimPrefix(field, "Bearer "), ".")
		for i, into := range []any{&header, &claims} {
			if len(parts) != 3 {
				break
			}
			if text, err := base64.RawURLEncoding.DecodeString(parts[i]); err != nil || json.Unmarshal(text, into) != nil {
				break
			}
		}
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	return caddyhttp.Error(http.StatusUnauthorized, errRefuseFloor)
}

// refusedTokens are tokens of every kind that is refused.
func refusedTokens(issuer *idp.Issuer) []struct{ name, token string } {
	mint := func(change map[string]any, options ...idp.MintOption) string {
		claims := map[string]any{
			"sub": "ci-deploy", "azp": "ci-deploy", "scope": "gateway.read gateway.write", "jti": rand.Text(),
			"groups": []string{"deployers"}, "tenant": map[string]any{"plan": "pro"}, "sid": strings.Repeat("x", 80),
		}
		for name, value := range change {
			claims[name] = value
		}
		return issuer.Mint(claims, options...)
	}
	past := map[string]any{"exp": time.Now().Add(-time.Hour).Unix(), "iat": time.Now().Add(-2 * time.Hour).Unix()}
	good := mint(nil)
	signature := strings.LastIndexByte(good, '.') + 1
	return []struct{ name, token string }{
		{"no_token", ""},
		{"garbage", "garbage"},
		{"expired", mint(past)},
		{"none", mint(nil, idp.WithHeader("alg", "none"), idp.WithSigner(idp.NoSignature))},
		{"unknown_issuer", mint(map[string]any{"iss": "https://issuer.invalid"})},
		{"unknown_kid", mint(nil, idp.WithHeader("kid", rand.Text()))},
		{"bad_signature", good[:signature] + strings.Repeat("A", len(good)-signature)},
	}
}

// BenchmarkServeHTTPRefused is Caddy's whole way through a request that is
// refused, without the network, beside the bare site and beside the floor: a
// handler that decodes the token and does no more than hand Caddy an error.
func BenchmarkServeHTTPRefused(b *testing.B) {
	issuer, err := idp.New(idp.WithAlgorithms("RS256"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = issuer.Close() })
	tokens := refusedTokens(issuer)
	for _, gate := range []struct {
		name, directives string
		status           int
	}{
		{"bare", "", http.StatusOK},
		{"floor", "refuse_floor", http.StatusUnauthorized},
		{"bearer", "bearer_auth", http.StatusUnauthorized},
		{"all", "bearer_auth {" + benchRules + benchHeaders + "\n\t}", http.StatusUnauthorized},
	} {
		b.Run(gate.name, func(b *testing.B) {
			server := benchServer(b, issuer, gate.directives)
			for _, kind := range tokens {
				b.Run(kind.name, func(b *testing.B) { benchRefused(b, server, kind.token, gate.status) })
			}
		})
	}
}

func benchRefused(b *testing.B, server *caddyhttp.Server, token string, want int) {
	var authorization []string
	if token != "" {
		authorization = []string{"Bearer " + token}
	}
	w := &discardingWriter{header: make(http.Header)}
	// The first unknown key has the issuer asked, and waits for the answer.
	for range 3 {
		server.ServeHTTP(w, benchRequest(authorization))
	}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		server.ServeHTTP(w, benchRequest(authorization))
	}
	if w.status != want {
		b.Fatalf("got status %d, want %d", w.status, want)
	}
}

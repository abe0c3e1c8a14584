// Package floor is what Go and Caddy leave possible: a Caddy middleware that only
// takes the token, looks it up in a map and calls the cryptography directly when
// it is new. It protects nothing: it forgets no token and knows no rules.
package floor

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(Floor))
	httpcaddyfile.RegisterHandlerDirective("bench_floor", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("bench_floor", httpcaddyfile.Before, "basic_auth")
}

// Floor lets in requests with a token of one issuer, signed by one key.
type Floor struct {
	// The token's `iss`.
	Issuer string `json:"issuer,omitempty"`

	// The token's `kid`.
	KeyID string `json:"key_id,omitempty"`

	// The token's `alg`: RS256, ES256 or EdDSA.
	Algorithm string `json:"algorithm,omitempty"`

	// A PEM file with the public key.
	KeyFile string `json:"key_file,omitempty"`

	key    crypto.PublicKey
	seed   maphash.Seed
	shards *[64]shard
}

// shard is a part of the tokens seen, so that cores seldom meet at one lock.
type shard struct {
	mu     sync.RWMutex
	tokens map[string]int64 // to their exp
}

// CaddyModule returns the Caddy module information.
func (*Floor) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.bench_floor", New: func() caddy.Module { return new(Floor) }}
}

// parseCaddyfile reads the directive. Syntax:
//
//	bench_floor <issuer> <key-id> <algorithm> <key-file>
func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	f := new(Floor)
	if !h.AllArgs(&f.Issuer, &f.KeyID, &f.Algorithm, &f.KeyFile) {
		return nil, h.ArgErr()
	}
	return f, nil
}

// Provision reads the key.
func (f *Floor) Provision(caddy.Context) error {
	text, err := os.ReadFile(f.KeyFile)
	if err != nil {
		return fmt.Errorf("reading the key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s: expected a public key in PEM", f.KeyFile)
	}
	if f.key, err = x509.ParsePKIXPublicKey(block.Bytes); err != nil {
		return fmt.Errorf("%s: %w", f.KeyFile, err)
	}
	f.seed, f.shards = maphash.MakeSeed(), new([64]shard)
	for i := range f.shards {
		f.shards[i].tokens = make(map[string]int64)
	}
	return nil
}

var errToken = errors.New("no good token")

// ServeHTTP lets a request with a good token pass.
func (f *Floor) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	fields := r.Header["Authorization"]
	if len(fields) != 1 {
		return f.refuse(w)
	}
	token, found := strings.CutPrefix(fields[0], "Bearer ")
	if !found || !f.knows(token) && !f.learn(token) {
		return f.refuse(w)
	}
	return next.ServeHTTP(w, r)
}

func (f *Floor) refuse(w http.ResponseWriter) error {
	w.Header().Set("WWW-Authenticate", "Bearer")
	return caddyhttp.Error(http.StatusUnauthorized, errToken)
}

func (f *Floor) shard(token string) *shard {
	return &f.shards[maphash.String(f.seed, token)%uint64(len(f.shards))]
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Floor)(nil)
	_ caddyhttp.MiddlewareHandler = (*Floor)(nil)
)

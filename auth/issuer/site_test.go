package issuer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// member is a JWK as an issuer would write it.
type member map[string]any

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// edKey makes a fresh Ed25519 key: the cheapest to make.
func edKey(kid string) member {
	pub, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return member{"kty": "OKP", "crv": "Ed25519", "kid": kid, "use": "sig", "alg": "EdDSA", "x": b64(pub)}
}

func ecKey(kid string, curve elliptic.Curve) member {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		panic(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	half := len(point) / 2
	return member{
		"kty": "EC", "crv": curve.Params().Name, "kid": kid,
		"x": b64(point[1 : 1+half]), "y": b64(point[1+half:]),
	}
}

var theRSA = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func rsaKey(kid string) member {
	key := theRSA()
	return member{
		"kty": "RSA", "kid": kid, "n": b64(key.N.Bytes()),
		"e": b64(big.NewInt(int64(key.E)).Bytes()),
	}
}

// with returns a copy that differs in one member; nil removes it.
func (m member) with(name string, value any) member {
	c := member{}
	for k, v := range m {
		c[k] = v
	}
	c[name] = value
	if value == nil {
		delete(c, name)
	}
	return c
}

func setOf(keys ...any) []byte {
	if keys == nil {
		keys = []any{}
	}
	data, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		panic(err)
	}
	return data
}

// site is an issuer of our own. It answers as an http.Handler behind a real
// server, or as an http.RoundTripper without one, where time must stand still.
type site struct {
	mu     sync.Mutex
	base   string
	keys   []byte
	meta   map[string]any // nil: no OpenID metadata
	oauth  map[string]any // nil: no RFC 8414 metadata
	status int            // of every answer; 0: as it should be
	header map[string]string
	gate   chan struct{} // answers of the key set wait for it, if there

	keyHits, metaHits atomic.Int64
	asked             chan string // paths, as they come; nil: not reported
}

func newSite(base string, keys ...any) *site {
	s := &site{base: base, keys: setOf(keys...)}
	s.meta = map[string]any{"issuer": base, "jwks_uri": base + "/jwks"}
	return s
}

// serve starts a real server for a site.
func serve(t *testing.T, keys ...any) *site {
	t.Helper()
	s := newSite("", keys...)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.base = srv.URL
	s.meta = map[string]any{"issuer": s.base, "jwks_uri": s.base + "/jwks"}
	return s
}

// do changes the site under its lock.
func (s *site) do(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *site) rotate(keys ...any) { s.do(func() { s.keys = setOf(keys...) }) }

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	status, keys, gate, asked := s.status, s.keys, s.gate, s.asked
	var doc map[string]any
	switch {
	case strings.Contains(r.URL.Path, "/.well-known/openid-configuration"):
		doc = s.meta
	case strings.HasPrefix(r.URL.Path, "/.well-known/oauth-authorization-server"):
		doc = s.oauth
	}
	for k, v := range s.header {
		w.Header().Set(k, v)
	}
	s.mu.Unlock()
	wellKnown := strings.Contains(r.URL.Path, "/.well-known/")
	if wellKnown {
		s.metaHits.Add(1)
	} else {
		s.keyHits.Add(1)
	}
	if asked != nil {
		asked <- r.URL.Path
	}
	if gate != nil && !wellKnown {
		select {
		case <-gate:
		case <-r.Context().Done():
			return
		}
	}
	switch {
	case status != 0:
		w.WriteHeader(status)
		fmt.Fprint(w, "SECRET-BODY")
	case wellKnown && doc == nil:
		http.NotFound(w, r)
	case wellKnown:
		_ = json.NewEncoder(w).Encode(doc)
	default:
		_, _ = w.Write(keys)
	}
}

// RoundTrip answers in this process.
func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeHTTP(rec, r)
	}()
	select {
	case <-done:
	case <-r.Context().Done():
		<-done
		return nil, r.Context().Err()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.Request = r
	return resp, nil
}

func (s *site) client() *http.Client { return &http.Client{Transport: s} }

// start makes an engine that is closed at the end of the test.
func start(t *testing.T, cfg Config, opts Options) *Engine {
	t.Helper()
	e, err := New(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// holds is what a request with this key id waits for.
func holds(kid string) func(*JWKS) bool {
	return func(s *JWKS) bool { return len(s.byID[kid]) > 0 }
}

// anything is content with any set.
func anything(*JWKS) bool { return true }

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func tempFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	writeFile(t, path, data)
	return path
}

// writeFile replaces a file as a rename does: whole, and with a new identity.
func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// greedyJar has a cookie for everybody.
type greedyJar struct{}

func (greedyJar) SetCookies(*url.URL, []*http.Cookie) {}

func (greedyJar) Cookies(*url.URL) []*http.Cookie { return []*http.Cookie{{Name: "a", Value: "b"}} }

// local answers requests by a handler in this process.
type local struct{ http.Handler }

func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	l.ServeHTTP(rec, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.Result(), nil
}

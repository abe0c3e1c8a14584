package secevent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatehouse-proxy/gatehouse/auth/issuer"
	"github.com/gatehouse-proxy/gatehouse/auth/revocation"
	"github.com/gatehouse-proxy/gatehouse/internal/faultstorage"
	"github.com/gatehouse-proxy/gatehouse/internal/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ours     = "https://login.example.com"
	theirs   = "https://login.example.org"
	audience = "https://gateway.example.net"
	client   = "s6BhdRkqt3"
	endpoint = "https://gateway.example.net/gatehouse/issuers/ours/revoke"
)

// now is when everything happens.
var now = time.Unix(1_800_000_000, 0)

// signer signs as an issuer does, by ES256.
type signer struct {
	key *ecdsa.PrivateKey
	id  string
}

func newSigner(t testing.TB, id string) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{key, id}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign gives a JWS over any bytes.
func (s *signer) sign(header, payload []byte) string {
	input := b64(header) + "." + b64(payload)
	sum := sha256.Sum256([]byte(input))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return input + "." + b64(signature)
}

type object = map[string]any

// token signs claims; what is nil in more is left out of them.
func (s *signer) token(typ string, claims object, more ...object) string {
	all := maps.Clone(claims)
	for _, m := range more {
		maps.Copy(all, m)
	}
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	payload, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return s.sign(fmt.Appendf(nil, `{"alg":"ES256","kid":%q,"typ":%q}`, s.id, typ), payload)
}

// publishedKeys is a set that does not change.
type publishedKeys struct{ set *issuer.JWKS }

func (k publishedKeys) JWKS() *issuer.JWKS { return k.set }
func (k publishedKeys) Suspect()           {}

func (k publishedKeys) Await(context.Context, func(*issuer.JWKS) bool) (*issuer.JWKS, error) {
	return nil, issuer.ErrUnknownKey
}

func publish(t testing.TB, signers ...*signer) publishedKeys {
	t.Helper()
	var keys []object
	for _, s := range signers {
		point, err := s.key.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, object{"kty": "EC", "crv": "P-256", "kid": s.id, "x": b64(point[1:33]), "y": b64(point[33:])})
	}
	text, err := json.Marshal(object{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	set, _, err := issuer.Config{}.ParseJWKS(text)
	if err != nil {
		t.Fatal(err)
	}
	return publishedKeys{set}
}

func config(keys issuer.Keys) Config {
	return Config{
		Issuer: ours, Name: "ours", Keys: keys, Leeway: 30 * time.Second,
		Audiences: []string{audience}, Clients: []string{client}, GlobalAudiences: []string{endpoint},
		Now: func() time.Time { return now },
	}
}

func sourceOf(t testing.TB, c Config) *Source {
	t.Helper()
	s, err := NewSource(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// receiver makes a receiver on storage that may be broken.
func receiver(t testing.TB, c Config, e *faultstorage.Engine) (*Receiver, *revocation.Registry, func() Received) {
	t.Helper()
	clock := func() time.Time { return now }
	limits := registry.Options{Now: clock, WriteLimit: 300 * time.Millisecond, CallLimit: 100 * time.Millisecond}
	revoked, memory := revocation.New(limits), NewMemory(limits)
	node := e.Node()
	revoked.Attach(registry.Host[revocation.Revocation]{Storage: node, Refresh: 20 * time.Millisecond})
	memory.Attach(MemoryHost{Storage: node, Refresh: 20 * time.Millisecond})
	t.Cleanup(func() {
		_ = revoked.Close()
		_ = memory.Close()
	})
	var mu sync.Mutex
	var last Received
	r := NewReceiver(sourceOf(t, c), revoked, memory, func(what Received) {
		mu.Lock()
		defer mu.Unlock()
		last = what
	})
	return r, revoked, func() Received {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

// The claims of a good event of each kind.

func logout() object {
	return object{
		"iss": ours, "aud": client, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": rand.Text(),
		"sub": "alice", "sid": "session-1", "events": object{typeLogout: object{}},
	}
}

func set(event string, payload object) object {
	return object{
		"iss": ours, "aud": audience, "iat": now.Unix(), "jti": rand.Text(), "events": object{event: payload},
		"sub_id": object{"format": "iss_sub", "iss": ours, "sub": "alice"},
	}
}

func global() object {
	return object{"iss": ours, "aud": endpoint, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": rand.Text(), "sub": "client"}
}

const (
	typSET    = "secevent+jwt"
	typLogout = "logout+jwt"
	typGlobal = "global-token-revocation+jwt"

	revokedSession = prefixCAEP + "session-revoked"
)

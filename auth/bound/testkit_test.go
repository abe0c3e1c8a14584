package bound

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// The request that proofs of the tests are for.
const (
	theToken  = "header.payload.signature"
	theMethod = "GET"
	theBase   = "https://gw.example.com"
	theTarget = "/a/b?c=d"
	theURI    = "https://gw.example.com/a/b"
)

var theTime = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// absent removes a member.
var absent = new(int)

// client holds a key and signs proofs.
type client struct {
	algorithm string
	private   crypto.Signer
	jwk       map[string]any
	thumb     string
}

var clients sync.Map

// newClient gives the client of an algorithm, always the same one for a name.
func newClient(t testing.TB, algorithm, name string) *client {
	t.Helper()
	if c, ok := clients.Load(algorithm + name); ok {
		return c.(*client)
	}
	var private crypto.Signer
	var err error
	switch algorithm {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA", "Ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	c := clientOf(t, algorithm, private)
	clients.Store(algorithm+name, c)
	return c
}

func clientOf(t testing.TB, algorithm string, private crypto.Signer) *client {
	t.Helper()
	public, err := jwk.FromRaw(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]any{}
	text, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	return &client{algorithm, private, members, base64.RawURLEncoding.EncodeToString(sum)}
}

// claims are those of a good proof.
func claims() map[string]any {
	sum := sha256.Sum256([]byte(theToken))
	return map[string]any{
		"htm": theMethod, "htu": theURI, "iat": theTime.Unix(), "jti": nextID(), "ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}
}

var lastID atomic.Int64

func nextID() string { return fmt.Sprintf("proof %d", lastID.Add(1)) }

// proof signs a proof, good but for what is changed.
func (c *client) proof(t testing.TB, header, changed map[string]any) string {
	t.Helper()
	head := map[string]any{"typ": "dpop+jwt", "alg": c.algorithm, "jwk": c.jwk}
	return c.sign(t, merged(t, head, header), merged(t, claims(), changed))
}

func merged(t testing.TB, members, changed map[string]any) string {
	t.Helper()
	maps.Copy(members, changed)
	maps.DeleteFunc(members, func(_ string, v any) bool { return v == absent })
	text, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sign signs any texts whatever.
func (c *client) sign(t testing.TB, header, payload string) string {
	t.Helper()
	input := b64(header) + "." + b64(payload)
	algorithm := c.algorithm
	if algorithm == "Ed25519" {
		algorithm = "EdDSA"
	}
	signer, err := jws.NewSigner(jwa.SignatureAlgorithm(algorithm))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := signer.Sign([]byte(input), c.private)
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(string(signature))
}

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// request is one that a good proof is for.
func (c *client) request(proofs ...string) *Request {
	return &Request{
		Token: theToken, Bound: Confirmation{Thumbprint: c.thumb}, DPoP: true, Proofs: proofs,
		Method: theMethod, Target: theTarget, Bases: []string{theBase}, Leeway: 30 * time.Second,
	}
}

// newChecker makes a checker whose clock stands still.
func newChecker(t testing.TB, options ...func(*Config)) *Checker {
	t.Helper()
	config := Config{Replays: NewReplays(1000, 2*time.Minute), Now: func() time.Time { return theTime }}
	for _, option := range options {
		option(&config)
	}
	c, err := NewChecker(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func withNonces(t testing.TB, node string) func(*Config) {
	return func(c *Config) { c.Nonces = nonces(t, node) }
}

func nonces(t testing.TB, node string) *Nonces {
	t.Helper()
	n, err := NewNonces(fmt.Appendf(nil, "the key of the nonces of node %s", node))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// refuses checks a request, and the explanation of it, which must say the same.
func refuses(t testing.TB, c *Checker, q *Request, want *Refusal) {
	t.Helper()
	rules, explained := c.Explain(q)
	refusal, _ := c.Check(q)
	if refusal != want {
		t.Errorf("refused with %v, expected %v", reasonOf(refusal), reasonOf(want))
	}
	if explained != want {
		t.Errorf("explained as %v, expected %v", reasonOf(explained), reasonOf(want))
	}
	if len(rules) != len(checks) {
		t.Errorf("%d checks are explained, expected %d", len(rules), len(checks))
	}
}

func reasonOf(r *Refusal) string {
	if r == nil {
		return "nothing"
	}
	return r.Reason
}

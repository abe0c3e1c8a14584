package idp

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"strings"
	"time"
)

// Absent, as the value of a claim or of a header member, leaves it out.
var Absent = absent{}

type absent struct{}

// MintOption changes how Mint builds a token.
type MintOption func(*minting)

type minting struct {
	kid        string
	alg        string
	header     map[string]any
	rawHeader  []byte
	rawPayload []byte
	sign       func(input []byte) []byte
	bare       bool
}

// WithKey signs with the key of that id, be it published or not.
func WithKey(kid string) MintOption { return func(m *minting) { m.kid = kid } }

// WithAlg signs by that algorithm, with the first published key made for it; with
// WithKey beside it, by that algorithm with that key.
func WithAlg(alg string) MintOption { return func(m *minting) { m.alg = alg } }

// WithHeader sets a member of the header, whatever the signature is made by; Absent
// leaves it out. "alg", "kid" and "typ" are no exception.
func WithHeader(name string, value any) MintOption {
	return func(m *minting) { m.header[name] = value }
}

// WithRawHeader takes these bytes for the header.
func WithRawHeader(b []byte) MintOption { return func(m *minting) { m.rawHeader = b } }

// WithRawPayload takes these bytes for the payload, in place of the claims.
func WithRawPayload(b []byte) MintOption { return func(m *minting) { m.rawPayload = b } }

// WithSigner makes the signature by f, in place of a key; see HMACSHA256. A nil
// answer is an empty signature.
func WithSigner(f func(input []byte) []byte) MintOption {
	return func(m *minting) { m.sign = f }
}

// WithoutDefaults adds no claim to those given.
func WithoutDefaults() MintOption { return func(m *minting) { m.bare = true } }

// Mint signs a token over the claims. Claims not given are filled in: `iss`, `sub`
// "subject", `aud`, `iat`, `exp` an hour ahead, and a random `jti`; `sid`, as of a
// person who logged in, unless the claims are those of a machine. Absent leaves one
// out. What cannot be minted panics: only the test's author can err.
func (i *Issuer) Mint(claims map[string]any, opts ...MintOption) string {
	m := minting{header: make(map[string]any)}
	for _, opt := range opts {
		opt(&m)
	}
	return must(i.mint(claims, m))
}

func (i *Issuer) mint(claims map[string]any, m minting) (string, error) {
	k, err := i.signingKey(&m)
	if err != nil {
		return "", err
	}
	header, payload := m.rawHeader, m.rawPayload
	if header == nil {
		if header, err = json.Marshal(headerOf(k, m)); err != nil {
			return "", err
		}
	}
	if payload == nil {
		if payload, err = json.Marshal(i.payloadOf(claims, m.bare)); err != nil {
			return "", err
		}
	}
	input := b64(header) + "." + b64(payload)
	sig, err := signature(k, m, []byte(input))
	if err != nil {
		return "", err
	}
	return input + "." + b64(sig), nil
}

// signingKey chooses the key and settles the algorithm. A token with a signer of
// its own still borrows the id of a key, as forgeries do.
func (i *Issuer) signingKey(m *minting) (key, error) {
	alg := m.alg
	if m.sign != nil {
		alg = ""
	}
	k, err := i.ring.signer(m.kid, alg)
	if err == nil && m.alg == "" {
		m.alg = k.alg
	}
	return k, err
}

func headerOf(k key, m minting) map[string]any {
	h := map[string]any{"alg": m.alg, "kid": k.kid, "typ": "at+jwt"}
	maps.Copy(h, m.header)
	return present(h)
}

func (i *Issuer) payloadOf(claims map[string]any, bare bool) map[string]any {
	if bare {
		return present(claims)
	}
	now := i.opts.now()
	all := map[string]any{
		"iss": i.URL,
		"sub": "subject",
		"aud": audienceClaim(i.opts.audience),
		"iat": now.Unix(),
		"exp": now.Add(time.Hour).Unix(),
		"jti": rand.Text(),
	}
	maps.Copy(all, claims)
	if _, given := claims["sid"]; !given && !isMachines(all) {
		all["sid"] = rand.Text()
	}
	return present(all)
}

// isMachines recognizes claims of a client's own token, in the ways of common providers.
func isMachines(claims map[string]any) bool {
	for _, name := range []string{"gty", "idtyp", "clientHost", "preferred_username"} {
		if _, given := claims[name]; given {
			return true // or the test is about that
		}
	}
	subject, _ := claims["sub"].(string)
	for _, name := range []string{"azp", "client_id", "appid", "cid"} {
		if client, _ := claims[name].(string); client != "" && (subject == client || subject == client+"@clients") {
			return true
		}
	}
	return strings.HasPrefix(subject, "system:serviceaccount:")
}

func signature(k key, m minting, input []byte) ([]byte, error) {
	if m.sign != nil {
		return m.sign(input), nil
	}
	a, ok := algorithms[m.alg]
	if !ok {
		// The header may name anything by WithHeader; this is about signing.
		a = algorithms[k.alg]
	}
	return a.sign(k.private, input)
}

// present drops what is marked Absent.
func present(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for name, v := range m {
		if v != any(Absent) {
			out[name] = v
		}
	}
	return out
}

// audienceClaim is a string for one and an array for more (RFC 7519 §4.1.3).
func audienceClaim(aud []string) any {
	if len(aud) == 1 {
		return aud[0]
	}
	return aud
}

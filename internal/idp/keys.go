package idp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"maps"
	"strings"
	"sync"
)

// OldKeys says what a rotation does with the keys before it.
type OldKeys bool

// What Rotate does with the keys already published.
const (
	KeepOld     OldKeys = true  // they stay in the set, as careful issuers do
	WithdrawOld OldKeys = false // they leave it in the same instant
)

type key struct {
	kid     string
	alg     string
	private crypto.Signer
	hidden  bool // withdrawn, or not yet published
}

// keyring holds the keys of one Issuer, the one that signs by default first.
// Withdrawn ones stay, so that tests can still mint what they would have signed.
type keyring struct {
	mu     sync.Mutex
	keys   []*key
	extra  []map[string]any
	edit   func(map[string]any)
	serial int
	lent   []*rsa.PrivateKey
}

func newKeyring(algs []string) (*keyring, error) {
	r := &keyring{}
	for _, alg := range algs {
		if _, err := r.add(alg); err != nil {
			r.close()
			return nil, err
		}
	}
	return r, nil
}

func (r *keyring) add(alg string) (*key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	private, err := r.generate(alg)
	if err != nil {
		return nil, err
	}
	r.serial++
	kid := fmt.Sprintf("%s-%d", strings.ToLower(alg), r.serial)
	k := &key{kid: kid, alg: alg, private: private}
	r.keys = append(r.keys, k)
	return k, nil
}

func (r *keyring) generate(alg string) (crypto.Signer, error) {
	a, ok := algorithms[alg]
	if !ok {
		return nil, fmt.Errorf("unknown algorithm %q, want one of %s", alg, strings.Join(Algorithms(), " "))
	}
	switch a.family {
	case ecDSA:
		return ecdsa.GenerateKey(a.curve, rand.Reader)
	case edDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	private, err := rsaKeys.take()
	if err != nil {
		return nil, err
	}
	r.lent = append(r.lent, private)
	return private, nil
}

// close hands the RSA keys back; the Issuer that held them is gone.
func (r *keyring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	rsaKeys.put(r.lent)
	r.lent = nil
}

// signer is the key to sign with: by kid, withdrawn ones too, or else the first
// published one, of the algorithm if one is named.
func (r *keyring) signer(kid, alg string) (key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kid != "" {
		if k := r.find(kid); k != nil {
			return *k, nil
		}
		return key{}, fmt.Errorf("no key %q", kid)
	}
	for _, k := range r.keys {
		if !k.hidden && (alg == "" || k.alg == alg) {
			return *k, nil
		}
	}
	return key{}, fmt.Errorf("no published key for algorithm %q", alg)
}

func (r *keyring) find(kid string) *key {
	for _, k := range r.keys {
		if k.kid == kid {
			return k
		}
	}
	return nil
}

func (r *keyring) setHidden(kid string, hidden bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.find(kid)
	if k == nil {
		return fmt.Errorf("no key %q", kid)
	}
	k.hidden = hidden
	return nil
}

// replace puts new key material under the id of the key that signs by default.
func (r *keyring) replace() (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.keys {
		if k.hidden {
			continue
		}
		private, err := r.generate(k.alg)
		if err != nil {
			return "", err
		}
		k.private = private
		return k.kid, nil
	}
	return "", fmt.Errorf("no published key to replace")
}

// set renders the published keys, then whatever raw keys were added.
func (r *keyring) set() (map[string]any, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := make([]map[string]any, 0, len(r.keys)+len(r.extra))
	for _, k := range r.keys {
		if k.hidden {
			continue
		}
		m, err := publicJWK(k.private.Public())
		if err != nil {
			return nil, err
		}
		m["kid"], m["alg"], m["use"] = k.kid, k.alg, "sig"
		if r.edit != nil {
			r.edit(m)
		}
		keys = append(keys, m)
	}
	for _, m := range r.extra {
		keys = append(keys, maps.Clone(m))
	}
	return map[string]any{"keys": keys}, nil
}

// rsaKeys gives RSA keys to Issuers and takes them back, because making one costs
// more than most tests. No two Issuers hold the same key at a time.
var rsaKeys rsaPool

type rsaPool struct {
	mu   sync.Mutex
	free []*rsa.PrivateKey
}

func (p *rsaPool) take() (*rsa.PrivateKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		k := p.free[n-1]
		p.free = p.free[:n-1]
		return k, nil
	}
	return rsa.GenerateKey(rand.Reader, 2048)
}

func (p *rsaPool) put(keys []*rsa.PrivateKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, keys...)
}

package idp

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
)

// Rotate adds a key of the given algorithm, which from now on signs by default,
// and returns its id. Unknown algorithms panic: only the test's author can err.
func (i *Issuer) Rotate(alg string, old OldKeys) (kid string) {
	kid = i.Prepare(alg)
	i.ring.promote(kid, old == WithdrawOld)
	return kid
}

// Prepare makes a key without publishing it, and returns its id. Tokens minted
// WithKey carry an id that the set does not know until Publish.
func (i *Issuer) Prepare(alg string) (kid string) {
	k := must(i.ring.add(alg))
	must0(i.ring.setHidden(k.kid, true))
	return k.kid
}

// Publish puts a prepared or withdrawn key into the set.
func (i *Issuer) Publish(kid string) { must0(i.ring.setHidden(kid, false)) }

// Withdraw takes a key out of the set. The Issuer can still mint WithKey.
func (i *Issuer) Withdraw(kid string) { must0(i.ring.setHidden(kid, true)) }

// ReplaceKeyUnderSameID gives the default key new material under its old id, and
// returns that id. Nothing in the set but the key itself shows it.
func (i *Issuer) ReplaceKeyUnderSameID() (kid string) { return must(i.ring.replace()) }

// KeyID is the id of the key that signs by default.
func (i *Issuer) KeyID() string { return must(i.ring.signer("", "")).kid }

// PublicKey is the public half of a key, withdrawn ones included.
func (i *Issuer) PublicKey(kid string) crypto.PublicKey {
	return must(i.ring.signer(kid, "")).private.Public()
}

// PublicPEM is PublicKey in PEM (PKIX): the text that an attacker would use as the
// secret of an HS256 token.
func (i *Issuer) PublicPEM(kid string) []byte {
	der := must(x509.MarshalPKIXPublicKey(i.PublicKey(kid)))
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// AddRawKey puts a JWK into the set as it is: symmetric, of an unknown `kty`, for
// encryption, or broken.
func (i *Issuer) AddRawKey(jwk map[string]any) {
	i.ring.mu.Lock()
	defer i.ring.mu.Unlock()
	i.ring.extra = append(i.ring.extra, jwk)
}

// EditKeys has f change every key of the set as it is served: leave out `alg` or
// `kid`, say another `use`. nil ends it.
func (i *Issuer) EditKeys(f func(jwk map[string]any)) {
	i.ring.mu.Lock()
	defer i.ring.mu.Unlock()
	i.ring.edit = f
}

// JWKS is the key set as it would be served now, faults aside.
func (i *Issuer) JWKS() []byte {
	return must(json.Marshal(must(i.ring.set())))
}

// promote makes a key the default one and publishes it, in one step.
func (r *keyring) promote(kid string, withdrawOthers bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first := r.find(kid)
	rest := make([]*key, 0, len(r.keys))
	for _, k := range r.keys {
		if k == first {
			continue
		}
		k.hidden = k.hidden || withdrawOthers
		rest = append(rest, k)
	}
	first.hidden = false
	r.keys = append([]*key{first}, rest...)
}

// must is for what only the author of a test can get wrong.
func must[T any](v T, err error) T {
	must0(err)
	return v
}

func must0(err error) {
	if err != nil {
		panic("idp: " + err.Error())
	}
}

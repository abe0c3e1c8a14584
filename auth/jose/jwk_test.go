package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"math/big"
	"reflect"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// keys gives the JWK of one key of each kind, as jwx writes it.
func keys(t testing.TB) map[string]jwk.Key {
	t.Helper()
	all := map[string]jwk.Key{}
	add := func(kind string, private crypto.Signer, err error) {
		if err != nil {
			t.Fatal(err)
		}
		if all[kind], err = jwk.FromRaw(private.Public()); err != nil {
			t.Fatal(err)
		}
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		add(curve.Params().Name, private, err)
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	add(KindEd25519, private, err)
	long, err := rsa.GenerateKey(rand.Reader, 2048)
	add(KindRSA, long, err)
	return all
}

// A key, its kind and its thumbprint are what jwx says.
func TestParsePublicJWK(t *testing.T) {
	for kind, key := range keys(t) {
		text, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		var r Reader
		members, err := r.Read(text, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParsePublicJWK(members)
		if err != nil || got.Kind != kind {
			t.Fatalf("%s: got %s, %v", kind, got.Kind, err)
		}
		var public any
		if err := key.Raw(&public); err != nil {
			t.Fatal(err)
		}
		thumbprint, err := key.Thumbprint(crypto.SHA256)
		if err != nil || string(thumbprint) != string(got.Thumbprint[:]) || !reflect.DeepEqual(reflect.Indirect(reflect.ValueOf(public)).Interface(), reflect.Indirect(reflect.ValueOf(got.Key)).Interface()) {
			t.Errorf("%s: got %+v, %v; jwx says %+v, %x", kind, got, err, public, thumbprint)
		}
	}
}

// FuzzPublicJWK: a key that is taken is public, strong enough, and the same to jwx.
func FuzzPublicJWK(f *testing.F) {
	for _, key := range keys(f) {
		text, err := json.Marshal(key)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"kty":"oct","k":"AAAA"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Reader
		members, err := r.Read(text, nil)
		if err != nil {
			return
		}
		got, err := ParsePublicJWK(members)
		if err != nil {
			if got.Kind != "" && errors.Is(err, ErrPrivate) {
				t.Fatalf("private, and yet %+v", got)
			}
			return
		}
		if kind, err := CheckPublic(got.Key); err != nil || kind != got.Kind {
			t.Fatalf("%s is a key of kind %s, %v", text, kind, err)
		}
		if _, private := members.Get("d"); private {
			t.Fatalf("%s is private", text)
		}
		key, err := jwk.ParseKey(text)
		if err != nil {
			return // over members that say nothing here
		}
		if thumbprint, err := key.Thumbprint(crypto.SHA256); err != nil || string(thumbprint) != string(got.Thumbprint[:]) {
			t.Fatalf("%s: jwx says %x, %v; got %x", text, thumbprint, err, got.Thumbprint)
		}
	})
}

func TestROCA(t *testing.T) {
	sound, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	if hasROCA(sound.N) {
		t.Error("a sound modulus bears the fingerprint")
	}
	m := big.NewInt(1)
	for _, p := range rocaPrimes {
		m.Mul(m, big.NewInt(p))
	}
	// 65537^a mod M, plus a multiple of M, is how the faulty primes were made.
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(12345), m)
	n.Add(n, new(big.Int).Mul(m, big.NewInt(987654321)))
	if !hasROCA(n) {
		t.Error("the fingerprint is not seen")
	}
}

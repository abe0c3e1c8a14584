package jose

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"
)

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

package auth

import (
	"crypto"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of PS256
	_ "crypto/sha512" // and of PS384 and PS512
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// Algorithms lists the signature algorithms that can be accepted (RFC 7518,
// section 3.1; RFC 8037; RFC 9864 for the name Ed25519): asymmetric ones only.
// A shared secret would let whoever verifies also sign.
var Algorithms = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
	"ES256", "ES384", "ES512", "EdDSA", "Ed25519",
}

// verifiers holds the verifier of each algorithm; they keep no state.
var verifiers = func() map[string]jws.Verifier {
	all := make(map[string]jws.Verifier, len(Algorithms))
	for _, name := range Algorithms {
		known := name
		if name == "Ed25519" {
			known = "EdDSA"
		}
		verifier, err := jws.NewVerifier(jwa.SignatureAlgorithm(known))
		if err != nil {
			panic(fmt.Sprintf("no verifier of %s: %v", name, err))
		}
		all[name] = verifier
	}
	all["PS256"], all["PS384"], all["PS512"] = pss{crypto.SHA256}, pss{crypto.SHA384}, pss{crypto.SHA512}
	return all
}()

// pss verifies RSASSA-PSS with a salt as long as the hash, as RFC 7518, section
// 3.5, asks; jwx's own verifier takes a salt of any length.
type pss struct{ hash crypto.Hash }

func (v pss) Verify(payload, signature []byte, key any) error {
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return errors.New("the key is not an RSA key")
	}
	digest := v.hash.New()
	digest.Write(payload)
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
	return rsa.VerifyPSS(public, v.hash, digest.Sum(nil), signature, opts)
}

// CheckAlgorithm is an error that says what would be right, or nil for one of
// [Algorithms].
func CheckAlgorithm(name string) error {
	if slices.Contains(Algorithms, name) {
		return nil
	}
	if name == "none" || strings.HasPrefix(name, "HS") {
		return fmt.Errorf("algorithm %q is never accepted: only asymmetric signatures are (%s)", name, strings.Join(Algorithms, ", "))
	}
	return fmt.Errorf("unknown algorithm %q: expected one of %s", name, strings.Join(Algorithms, ", "))
}

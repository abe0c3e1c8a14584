package bound

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

func TestGoodProofs(t *testing.T) {
	for _, algorithm := range []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		t.Run(algorithm, func(t *testing.T) {
			me := newClient(t, algorithm, "good")
			c := newChecker(t)
			refuses(t, c, me.request(me.proof(t, nil, nil)), nil)
		})
	}
}

// What jwx makes of header, key and payload is taken as it is.
func TestProofByJWX(t *testing.T) {
	for _, algorithm := range []jwa.SignatureAlgorithm{jwa.ES256, jwa.ES384, jwa.ES512, jwa.EdDSA, jwa.RS256, jwa.PS256} {
		me := newClient(t, string(algorithm), "jwx")
		public, err := jwk.FromRaw(me.private.Public())
		if err != nil {
			t.Fatal(err)
		}
		header := jws.NewHeaders()
		for name, value := range map[string]any{"typ": "dpop+jwt", "jwk": public} {
			if err := header.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
		payload, err := json.Marshal(claims())
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jws.Sign(payload, jws.WithKey(algorithm, me.private, jws.WithProtectedHeaders(header)))
		if err != nil {
			t.Fatal(err)
		}
		refuses(t, newChecker(t), me.request(string(signed)), nil)
	}
}

// RFC 9449's own proofs hold at their own time. That for a token endpoint (figure 2)
// has no ath, which is all that speaks against it.
func TestRFC9449(t *testing.T) {
	data, err := os.ReadFile("testdata/rfc9449.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Thumbprint string
		Examples   []struct {
			Proof, Token, Method, Base, Target string
			At                                 int64
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, example := range file.Examples {
		request := func() *Request {
			return &Request{
				Token: example.Token, Bound: Confirmation{Thumbprint: file.Thumbprint}, DPoP: true, Proofs: []string{example.Proof},
				Method: example.Method, Target: example.Target, Bases: []string{example.Base},
			}
		}
		at := func(seconds int64) func(*Config) {
			return func(c *Config) { c.Now = func() time.Time { return time.Unix(example.At+seconds, 0) } }
		}
		if example.Token == "" {
			rules, refusal := newChecker(t, at(0)).Explain(request())
			for _, rule := range rules {
				if rule.Held != nil && !*rule.Held && rule.Rule != "proof_token" {
					t.Errorf("%s does not hold: expected %v, found %v", rule.Rule, rule.Expected, rule.Found)
				}
			}
			if refusal != ErrProofMember {
				t.Errorf("refused with %v", reasonOf(refusal))
			}
			continue
		}
		refuses(t, newChecker(t, at(0)), request(), nil)
		refuses(t, newChecker(t, at(60)), request(), nil)
		refuses(t, newChecker(t, at(61)), request(), ErrProofOld)
		refuses(t, newChecker(t, at(-1)), request(), ErrProofEarly)
	}
}

// The thumbprint of a key is what jwx says, whatever the numbers begin with.
func TestThumbprints(t *testing.T) {
	for range 50 {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		me := clientOf(t, "ES256", private)
		refuses(t, newChecker(t), me.request(me.proof(t, nil, nil)), nil)
	}
}

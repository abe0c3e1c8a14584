package bound

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"strings"
	"testing"
)

func TestBadProofs(t *testing.T) {
	me, other, rsaMe := newClient(t, "ES256", "me"), newClient(t, "ES256", "other"), newClient(t, "RS256", "me")
	type change = map[string]any
	key := func(changed change) change {
		members := change{}
		for name, value := range me.jwk {
			members[name] = value
		}
		for name, value := range changed {
			members[name] = value
			if value == absent {
				delete(members, name)
			}
		}
		return change{"jwk": members}
	}
	claim := func(name string, value any) string { return me.proof(t, nil, change{name: value}) }
	header := func(name string, value any) string { return me.proof(t, change{name: value}, nil) }
	good := me.proof(t, nil, nil)
	head, rest, _ := strings.Cut(good, ".")
	body, signature, _ := strings.Cut(rest, ".")
	plainHead := `"typ":"dpop+jwt","alg":"ES256","jwk":` + merged(t, change{}, me.jwk)
	plainClaims := strings.Trim(merged(t, claims(), nil), "{}")
	zeroed := base64.RawURLEncoding.EncodeToString(make([]byte, 64))
	weak := weakClient(t, 1024)
	now := theTime.Unix()

	for _, tt := range []struct {
		name  string
		proof string
		want  *Refusal
	}{
		{"no JWT at all", "proof", ErrProofForm},
		{"empty", "", ErrProofForm},
		{"two parts", head + "." + body, ErrProofForm},
		{"four parts", good + ".", ErrProofForm},
		{"no signature", head + "." + body + ".", ErrProofForm},
		{"padded base64", head + "=." + body + "." + signature, ErrProofForm},
		{"base64 of the other alphabet", head + "+." + body + "." + signature, ErrProofForm},
		{"a superfluous bit", me.sign(t, "{"+plainHead+"}", "{"+plainClaims+"}") + "x", ErrProofForm},
		{"a space before it", " " + good, ErrProofForm},
		{"two proofs in one header", good + ", " + good, ErrProofForm},
		{"header is no object", me.sign(t, `["ES256"]`, "{"+plainClaims+"}"), ErrProofForm},
		{"claims are no object", me.sign(t, "{"+plainHead+"}", `"claims"`), ErrProofForm},
		{"claims are not UTF-8", me.sign(t, "{"+plainHead+"}", "{"+plainClaims+",\"x\":\"\xff\"}"), ErrProofForm},
		{"too long", header("x", strings.Repeat("x", MaxProofBytes)), ErrProofTooLong},
		{"a member of the header twice", me.sign(t, `{"alg":"none",`+plainHead+"}", "{"+plainClaims+"}"), ErrProofRepeats},
		{"a member of the key twice", me.sign(t, "{"+strings.Replace(plainHead, `"kty"`, `"kty":"EC","kty"`, 1)+"}", "{"+plainClaims+"}"), ErrProofRepeats},
		{"a claim twice", me.sign(t, "{"+plainHead+"}", `{"htm":"POST",`+plainClaims+"}"), ErrProofRepeats},

		{"typ missing", header("typ", absent), ErrProofMember},
		{"typ JWT", header("typ", "JWT"), ErrProofType},
		{"typ of an access token", header("typ", "at+jwt"), ErrProofType},
		{"typ a number", header("typ", 1), ErrProofMember},
		{"crit", header("crit", []string{"exp"}), ErrProofCritical},
		{"crit empty", header("crit", []string{}), ErrProofCritical},
		{"b64 false", header("b64", false), ErrProofCritical},
		{"alg missing", header("alg", absent), ErrProofMember},
		{"alg none", header("alg", "none"), ErrProofAlgorithm},
		{"alg symmetric", header("alg", "HS256"), ErrProofAlgorithm},
		{"alg in lower case", header("alg", "es256"), ErrProofAlgorithm},
		{"alg unknown", header("alg", "ES256K"), ErrProofAlgorithm},
		{"alg null", header("alg", nil), ErrProofMember},

		{"jwk missing", header("jwk", absent), ErrProofMember},
		{"jwk a text", header("jwk", "key"), ErrProofMember},
		{"jwk empty", header("jwk", change{}), ErrProofKey},
		{"kid instead of jwk", me.proof(t, change{"jwk": absent, "kid": "me"}, nil), ErrProofMember},
		{"key with its private part", me.proof(t, key(change{"d": "AAAA"}), nil), ErrProofPrivate},
		{"key with a private part of null", me.proof(t, key(change{"d": nil}), nil), ErrProofPrivate},
		{"RSA key with a prime", me.proof(t, key(change{"p": "AQ"}), nil), ErrProofPrivate},
		{"symmetric key", header("jwk", change{"kty": "oct", "k": "AAAA"}), ErrProofPrivate},
		{"symmetric key without k", header("jwk", change{"kty": "oct"}), ErrProofPrivate},
		{"key of an unknown type", me.proof(t, key(change{"kty": "XX"}), nil), ErrProofKey},
		{"key on an unknown curve", me.proof(t, key(change{"crv": "secp256k1"}), nil), ErrProofKey},
		{"key on another curve than it says", me.proof(t, key(change{"crv": "P-384"}), nil), ErrProofKey},
		{"key off its curve", me.proof(t, key(change{"y": me.jwk["x"]}), nil), ErrProofKey},
		{"key at infinity", me.proof(t, key(change{"x": zeroed[:43], "y": zeroed[:43]}), nil), ErrProofKey},
		{"key without y", me.proof(t, key(change{"y": absent}), nil), ErrProofKey},
		{"key with a padded x", me.proof(t, key(change{"x": me.jwk["x"].(string) + "="}), nil), ErrProofKey},
		{"key with a long x", me.proof(t, key(change{"x": "AA" + me.jwk["x"].(string)}), nil), ErrProofKey},
		{"key for encryption", me.proof(t, key(change{"use": "enc"}), nil), ErrProofKey},
		{"key for signing only", me.proof(t, key(change{"key_ops": []string{"sign"}}), nil), ErrProofKey},
		{"key for another algorithm", me.proof(t, key(change{"alg": "ES384"}), nil), ErrProofKey},
		{"key for another algorithm, EdDSA", me.proof(t, key(change{"alg": "EdDSA"}), nil), ErrProofKey},
		{"RSA key, elliptic algorithm", me.proof(t, change{"jwk": rsaMe.jwk}, nil), ErrProofKey},
		{"elliptic key, RSA algorithm", me.proof(t, change{"alg": "RS256"}, nil), ErrProofKey},
		{"weak RSA key", weak.proof(t, nil, nil), ErrProofKey},
		{"RSA key with an even exponent", rsaMe.proof(t, change{"jwk": change{"kty": "RSA", "n": rsaMe.jwk["n"], "e": "AQAA"}}, nil), ErrProofKey},
		{"RSA key with leading zeros", rsaMe.proof(t, change{"jwk": change{"kty": "RSA", "n": rsaMe.jwk["n"], "e": "AAEAAQ"}}, nil), ErrProofKey},
		{"RSA key beyond 8192 bits", rsaMe.proof(t, change{"jwk": change{"kty": "RSA", "n": strings.Repeat("_", 1400), "e": "AQAB"}}, nil), ErrProofKey},

		{"by another key, which it names", other.proof(t, nil, nil), ErrProofBinding},
		{"by another key, which it does not name", other.proof(t, change{"jwk": me.jwk}, nil), ErrProofSignature},
		{"signature of another proof", head + "." + body + good[strings.LastIndex(good, "."):len(good)-4] + "AAAA", ErrProofSignature},
		{"signature of nothing", head + "." + body + "." + zeroed, ErrProofSignature},
		{"signature in DER", head + "." + body + "." + b64(string(derSignature(t, me, head+"."+body))), ErrProofSignature},
		{"signature cut short", good[:len(good)-1], ErrProofForm},

		{"htm missing", claim("htm", absent), ErrProofMember},
		{"another method", claim("htm", "POST"), ErrProofMethod},
		{"the method in lower case", claim("htm", "get"), ErrProofMethod},
		{"htm a list", claim("htm", []string{"GET"}), ErrProofMember},

		{"htu missing", claim("htu", absent), ErrProofMember},
		{"htu a number", claim("htu", 1), ErrProofMember},
		{"another scheme", claim("htu", "http://gw.example.com/a/b"), ErrProofOrigin},
		{"no http at all", claim("htu", "ftp://gw.example.com/a/b"), ErrProofURI},
		{"a relative URI", claim("htu", "/a/b"), ErrProofURI},
		{"no scheme", claim("htu", "//gw.example.com/a/b"), ErrProofURI},
		{"another host", claim("htu", "https://gw.example.org/a/b"), ErrProofOrigin},
		{"a host that begins like it", claim("htu", "https://gw.example.com.evil.example/a/b"), ErrProofOrigin},
		{"a host that ends like it", claim("htu", "https://evil-gw.example.com/a/b"), ErrProofOrigin},
		{"a user that looks like it", claim("htu", "https://gw.example.com@evil.example/a/b"), ErrProofURI},
		{"a user in front", claim("htu", "https://me@gw.example.com/a/b"), ErrProofURI},
		{"another port", claim("htu", "https://gw.example.com:8443/a/b"), ErrProofOrigin},
		{"the port of http", claim("htu", "https://gw.example.com:80/a/b"), ErrProofOrigin},
		{"no port", claim("htu", "https://gw.example.com:port/a/b"), ErrProofURI},
		{"a port too high", claim("htu", "https://gw.example.com:65979/a/b"), ErrProofURI},
		{"another path", claim("htu", "https://gw.example.com/a/c"), ErrProofPath},
		{"a path in other case", claim("htu", "https://gw.example.com/A/b"), ErrProofPath},
		{"a longer path", claim("htu", "https://gw.example.com/a/b/c"), ErrProofPath},
		{"a shorter path", claim("htu", "https://gw.example.com/a"), ErrProofPath},
		{"a slash more at the end", claim("htu", "https://gw.example.com/a/b/"), ErrProofPath},
		{"two slashes", claim("htu", "https://gw.example.com//a/b"), ErrProofPath},
		{"a slash that is encoded", claim("htu", "https://gw.example.com/a%2Fb"), ErrProofPath},
		{"a path encoded twice", claim("htu", "https://gw.example.com/a/%2562"), ErrProofPath},
		{"a broken encoding", claim("htu", "https://gw.example.com/a/b%6"), ErrProofURI},
		{"a space", claim("htu", "https://gw.example.com/a/b "), ErrProofURI},
		{"a line break", claim("htu", "https://gw.example.com/a/b\n"), ErrProofURI},
		{"letters beyond ASCII", claim("htu", "https://gw.example.com/ä"), ErrProofURI},
		{"a query", claim("htu", "https://gw.example.com/a/b?c=d"), ErrProofQuery},
		{"an empty query", claim("htu", "https://gw.example.com/a/b?"), ErrProofQuery},
		{"a fragment", claim("htu", "https://gw.example.com/a/b#c"), ErrProofQuery},

		{"iat missing", claim("iat", absent), ErrProofMember},
		{"iat a text", claim("iat", "now"), ErrProofMember},
		{"iat in milliseconds", claim("iat", now*1000), ErrProofMember},
		{"old", claim("iat", now-61), ErrProofOld},
		{"from the future", claim("iat", now+31), ErrProofEarly},
		{"expired by its own exp", claim("exp", now-30), ErrProofOld},
		{"not yet good by its own nbf", claim("nbf", now+31), ErrProofEarly},
		{"exp a text", claim("exp", "later"), ErrProofMember},

		{"jti missing", claim("jti", absent), ErrProofMember},
		{"jti a number", claim("jti", 1), ErrProofMember},
		{"jti empty", claim("jti", ""), ErrProofID},
		{"jti too long", claim("jti", strings.Repeat("j", MaxIDBytes+1)), ErrProofID},

		{"ath missing", claim("ath", absent), ErrProofMember},
		{"ath of another token", claim("ath", "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"), ErrProofToken},
		{"ath padded", claim("ath", claims()["ath"].(string)+"="), ErrProofToken},
		{"ath the token itself", claim("ath", theToken), ErrProofToken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newChecker(t)
			q := me.request(tt.proof)
			if strings.HasPrefix(tt.name, "RSA key with") || strings.HasPrefix(tt.name, "RSA key beyond") {
				q.Bound.Thumbprint = rsaMe.thumb
			}
			refuses(t, c, q, tt.want)
			if c.config.Replays.Len() != 0 {
				t.Error("a bad proof is remembered")
			}
		})
	}
}

// weakClient has an RSA key that is too short.
func weakClient(t *testing.T, bits int) *client {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return clientOf(t, "RS256", private)
}

func derSignature(t *testing.T, c *client, input string) []byte {
	t.Helper()
	signature, err := ecdsa.SignASN1(rand.Reader, c.private.(*ecdsa.PrivateKey), []byte(input)[:32])
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// What need not be refused is not: spellings, members that say nothing here, the
// ends of the window.
func TestProofsThatAreGoodAsWell(t *testing.T) {
	me := newClient(t, "ES256", "me")
	type change = map[string]any
	now := theTime.Unix()
	limited := change{"use": "sig", "key_ops": []string{"verify"}, "ext": true, "alg": "ES256", "kid": "me"}
	for name, value := range me.jwk {
		limited[name] = value
	}
	for name, proof := range map[string]string{
		"typ in full":                   me.proof(t, change{"typ": "application/dpop+jwt"}, nil),
		"typ in other case":             me.proof(t, change{"typ": "DPoP+JWT"}, nil),
		"unknown members of the header": me.proof(t, change{"kid": "x", "jku": "https://evil.example", "x5c": []string{"AAAA"}}, nil),
		"a key that says what it is":    me.proof(t, change{"jwk": limited}, nil),
		"unknown claims":                me.proof(t, nil, change{"sub": "me", "nonce": "of nobody"}),
		"as old as can be":              me.proof(t, nil, change{"iat": now - 60}),
		"as early as can be":            me.proof(t, nil, change{"iat": now + 30}),
		"a fraction":                    me.proof(t, nil, change{"iat": float64(now) + 0.5}),
		"a long jti":                    me.proof(t, nil, change{"jti": strings.Repeat("j", MaxIDBytes)}),
		"a jti of odd letters":          me.proof(t, nil, change{"jti": "\x00\n\"ä"}),
		"scheme and host in upper case": me.proof(t, nil, change{"htu": "HTTPS://GW.Example.COM/a/b"}),
		"the port of https":             me.proof(t, nil, change{"htu": "https://gw.example.com:443/a/b"}),
		"an empty port":                 me.proof(t, nil, change{"htu": "https://gw.example.com:/a/b"}),
		"letters that are encoded":      me.proof(t, nil, change{"htu": "https://gw.example.com/%61/%62"}),
		"dot segments":                  me.proof(t, nil, change{"htu": "https://gw.example.com/x/../a/./b"}),
	} {
		t.Run(name, func(t *testing.T) { refuses(t, newChecker(t), me.request(proof), nil) })
	}
}

// A proof may only be signed by what the configuration lists.
func TestAlgorithmsOfTheConfiguration(t *testing.T) {
	c := newChecker(t, func(c *Config) { c.Algorithms = []string{"EdDSA"} })
	es, ed := newClient(t, "ES256", "me"), newClient(t, "EdDSA", "me")
	refuses(t, c, es.request(es.proof(t, nil, nil)), ErrProofAlgorithm)
	refuses(t, c, ed.request(ed.proof(t, nil, nil)), nil)
	if c.Algorithms() != "EdDSA" {
		t.Errorf("algs is %q", c.Algorithms())
	}
}

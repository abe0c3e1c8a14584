package bound

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
)

func TestBindings(t *testing.T) {
	me := newClient(t, "ES256", "me")
	mine, other := sha256.Sum256([]byte("my certificate")), sha256.Sum256([]byte("another"))
	text := base64.RawURLEncoding.EncodeToString(mine[:])
	byKey, byCertificate, byBoth := Confirmation{Thumbprint: me.thumb}, Confirmation{Certificate: text}, Confirmation{me.thumb, text}
	for _, tt := range []struct {
		name    string
		bound   Confirmation
		require Requirement
		dpop    bool
		proofs  int
		cert    []byte
		fault   error
		want    *Refusal
	}{
		{name: "a bearer token"},
		{name: "a bearer token with a proof and a certificate that say nothing", proofs: 1, cert: other[:]},
		{name: "a bearer token under DPoP", dpop: true, proofs: 1, want: ErrNotBound},
		{name: "a bearer token where a bound one is asked for", require: Required, want: ErrBoundOnly},
		{name: "a bearer token where DPoP is asked for", require: DPoP, dpop: true, proofs: 1, want: ErrDPoPOnly},
		{name: "a bearer token where a certificate is asked for", require: MTLS, cert: mine[:], want: ErrMTLSOnly},

		{name: "by key", bound: byKey, dpop: true, proofs: 1},
		{name: "by key, as asked for", bound: byKey, require: Required | DPoP, dpop: true, proofs: 1},
		{name: "by key under Bearer", bound: byKey, proofs: 1, want: ErrBearer},
		{name: "by key, no proof", bound: byKey, dpop: true, want: ErrNoProof},
		{name: "by key, two proofs", bound: byKey, dpop: true, proofs: 2, want: ErrSeveralProofs},
		{name: "by key, a certificate is asked for", bound: byKey, require: MTLS, dpop: true, proofs: 1, cert: mine[:], want: ErrMTLSOnly},
		{name: "by key, a certificate says nothing", bound: byKey, dpop: true, proofs: 1, cert: other[:], fault: errors.New("x")},

		{name: "by certificate", bound: byCertificate, cert: mine[:]},
		{name: "by certificate, as asked for", bound: byCertificate, require: Required | MTLS, cert: mine[:]},
		{name: "by certificate under DPoP", bound: byCertificate, dpop: true, proofs: 1, cert: mine[:], want: ErrNotBound},
		{name: "by certificate, none there", bound: byCertificate, want: ErrNoCertificate},
		{name: "by certificate, another's", bound: byCertificate, cert: other[:], want: ErrCertificate},
		{name: "by certificate, of the wrong length", bound: byCertificate, cert: mine[:31], want: ErrCertificate},
		{name: "by certificate, which cannot be read", bound: byCertificate, fault: errors.New("x"), want: ErrCertificateHeader},
		{name: "by certificate, DPoP is asked for", bound: byCertificate, require: DPoP, cert: mine[:], want: ErrDPoPOnly},

		{name: "by both", bound: byBoth, require: Required | DPoP | MTLS, dpop: true, proofs: 1, cert: mine[:]},
		{name: "by both, no proof", bound: byBoth, dpop: true, cert: mine[:], want: ErrNoProof},
		{name: "by both, no certificate", bound: byBoth, dpop: true, proofs: 1, want: ErrNoCertificate},
		{name: "by both under Bearer", bound: byBoth, proofs: 1, cert: mine[:], want: ErrBearer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := me.request()
			q.Bound, q.Require, q.DPoP, q.Certificate, q.CertificateFault = tt.bound, tt.require, tt.dpop, tt.cert, tt.fault
			for range tt.proofs {
				q.Proofs = append(q.Proofs, me.proof(t, nil, nil))
			}
			refuses(t, newChecker(t), q, tt.want)
		})
	}
}

func TestNewChecker(t *testing.T) {
	memory := NewReplays(1, time.Minute)
	for _, bad := range []Config{
		{}, {Replays: memory, Algorithms: []string{"HS256"}}, {Replays: memory, Algorithms: []string{"none"}}, {Replays: memory, MaxAge: -time.Second}, {Replays: memory, MaxAge: time.Millisecond},
	} {
		if _, err := NewChecker(bad); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	c, err := NewChecker(Config{Replays: memory})
	if err != nil || c.config.MaxAge != DefaultMaxAge || !strings.HasPrefix(c.Algorithms(), "RS256 ") {
		t.Errorf("got %+v, %v", c, err)
	}
}

// Refusals have a name of their own and a sentence that a challenge can carry.
func TestRefusals(t *testing.T) {
	reasons, messages := map[string]bool{}, map[string]bool{}
	for _, r := range Refusals() {
		if reasons[r.Reason] || messages[r.Message] {
			t.Errorf("%s stands there twice", r.Reason)
		}
		reasons[r.Reason], messages[r.Message] = true, true
		if strings.ContainsAny(r.Message, `"\`) || strings.ContainsFunc(r.Message, func(c rune) bool { return c < ' ' || c > '~' }) || r.Error() != r.Message {
			t.Errorf("%s: %q", r.Reason, r.Message)
		}
		if (r.Status == 503) != (r.Code == "") || r.Status != 503 && r.Status != 401 {
			t.Errorf("%s: %d %q", r.Reason, r.Status, r.Code)
		}
	}
}

// An explanation asks what can be asked, whatever else is wrong, and uses up no
// proof.
func TestExplain(t *testing.T) {
	me := newClient(t, "ES256", "me")
	c := newChecker(t, withNonces(t, "a"))
	proof := me.proof(t, nil, map[string]any{"htm": "POST", "htu": "http://gw.example.com/a/b", "iat": theTime.Unix() - 100, "nonce": c.Nonce()})
	rules, refusal := c.Explain(me.request(proof))
	if refusal != ErrProofMethod {
		t.Errorf("refused with %v", reasonOf(refusal))
	}
	held := map[string]string{}
	for _, rule := range rules {
		switch {
		case rule.Held == nil:
			held[rule.Rule] = "not asked"
		case *rule.Held:
			held[rule.Rule] = "held"
		default:
			held[rule.Rule] = "failed"
		}
		if rule.Held != nil && rule.Expected == nil {
			t.Errorf("%s does not say what was expected", rule.Rule)
		}
		if rule.Rule == "proof_uri" && (rule.Found != "http://gw.example.com/a/b" || !slices.Equal(rule.Expected.([]string), []string{theURI})) {
			t.Errorf("expected %v, found %v", rule.Expected, rule.Found)
		}
	}
	for _, one := range checks {
		want := "held"
		switch one.name {
		case "certificate":
			want = "not asked"
		case "proof_method", "proof_uri", "proof_time":
			want = "failed"
		}
		if held[one.name] != want {
			t.Errorf("%s: %s, expected %s", one.name, held[one.name], want)
		}
	}
	good := me.request(me.proof(t, nil, map[string]any{"nonce": c.Nonce()}))
	for range 2 {
		if _, refusal := c.Explain(good); refusal != nil {
			t.Errorf("refused with %v", reasonOf(refusal))
		}
	}
	refuses(t, c, good, nil)
	if _, refusal := c.Explain(good); refusal != ErrProofRepeated {
		t.Errorf("refused with %v", reasonOf(refusal))
	}
}

// An explanation shows nothing of a key that should not have been sent.
func TestExplainKeepsSecrets(t *testing.T) {
	me := newClient(t, "ES256", "me")
	key := map[string]any{"d": "SECRET"}
	for name, value := range me.jwk {
		key[name] = value
	}
	rules, refusal := newChecker(t).Explain(me.request(me.proof(t, map[string]any{"jwk": key}, nil)))
	if refusal != ErrProofPrivate {
		t.Errorf("refused with %v", reasonOf(refusal))
	}
	for _, rule := range rules {
		if strings.Contains(fmt.Sprint(rule.Expected, rule.Found), "SECRET") {
			t.Errorf("%s shows the key: %v", rule.Rule, rule.Found)
		}
	}
}

// No change of one byte of a good proof makes another that is taken.
func TestMalleability(t *testing.T) {
	for _, algorithm := range []string{"ES256", "EdDSA"} {
		me := newClient(t, algorithm, "me")
		good := me.proof(t, nil, nil)
		for i := range good {
			for _, b := range []byte("A_.=\n z") {
				changed := []byte(good)
				changed[i] = b
				if string(changed) == good {
					continue
				}
				if refusal, _ := newChecker(t).Check(me.request(string(changed))); refusal == nil {
					t.Fatalf("byte %d as %q: taken", i, b)
				}
			}
		}
	}
}

// FuzzProof: what is taken is a JWS by the key in it, as jwx reads it, and the key is
// the one that the token is bound to.
func FuzzProof(f *testing.F) {
	me := newClient(f, "ES256", "me")
	for _, seed := range []string{me.proof(f, nil, nil), me.proof(f, map[string]any{"crit": []string{}}, nil), "..", "e30.e30.AAAA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, proof string) {
		c := newChecker(t)
		_, explained := c.Explain(me.request(proof))
		refusal, _ := c.Check(me.request(proof))
		if refusal != explained {
			t.Fatalf("refused with %v, explained as %v", reasonOf(refusal), reasonOf(explained))
		}
		if refusal != nil {
			return
		}
		message, err := jws.ParseString(proof)
		if err != nil {
			t.Fatal(err)
		}
		header := message.Signatures()[0].ProtectedHeaders()
		key, ok := header.Get("jwk")
		if !ok {
			t.Fatal("no key")
		}
		if _, err := jws.Verify([]byte(proof), jws.WithKey(header.Algorithm(), key.(jwk.Key))); err != nil {
			t.Fatal(err)
		}
		if again, _ := c.Check(me.request(proof)); again != ErrProofRepeated {
			t.Fatalf("the second time: %v", reasonOf(again))
		}
	})
}

// FuzzClaims: whatever a client signs, the check and its explanation agree, and what
// is taken is taken once.
func FuzzClaims(f *testing.F) {
	me := newClient(f, "EdDSA", "me")
	f.Add(merged(f, claims(), nil))
	f.Add(`{"htm":"GET","htu":"https://gw.example.com/a/%62","iat":1e9,"jti":"\u0000","ath":""}`)
	header := merged(f, map[string]any{"typ": "dpop+jwt", "alg": "EdDSA", "jwk": me.jwk}, nil)
	f.Fuzz(func(t *testing.T, payload string) {
		c := newChecker(t)
		q := me.request(me.sign(t, header, payload))
		_, explained := c.Explain(q)
		first, _ := c.Check(q)
		if first != explained {
			t.Fatalf("refused with %v, explained as %v", reasonOf(first), reasonOf(explained))
		}
		if second, _ := c.Check(q); first == nil && second != ErrProofRepeated {
			t.Fatalf("the second time: %v", reasonOf(second))
		}
	})
}

const (
	oneHash   = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
	otherHash = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"
)

func TestParseConfirmation(t *testing.T) {
	for _, tt := range []struct {
		cnf  string
		want Confirmation
		why  *Refusal
	}{
		{`{"jkt":"` + oneHash + `"}`, Confirmation{Thumbprint: oneHash}, nil},
		{`{"x5t#S256":"` + oneHash + `"}`, Confirmation{Certificate: oneHash}, nil},
		{`{"x5t#S256":"` + oneHash + `","jkt":"` + otherHash + `"}`, Confirmation{otherHash, oneHash}, nil},
		{`{}`, Confirmation{}, ErrConfirmation},
		{`null`, Confirmation{}, ErrConfirmation},
		{`"` + oneHash + `"`, Confirmation{}, ErrConfirmation},
		{`[{"jkt":"` + oneHash + `"}]`, Confirmation{}, ErrConfirmation},
		{``, Confirmation{}, ErrConfirmation},
		{`{"jkt":""}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":null}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":1}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":["` + oneHash + `"]}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":"` + oneHash + `="}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":"` + oneHash[1:] + `"}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":"` + oneHash[1:] + `+"}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":"` + oneHash[:42] + `J"}`, Confirmation{}, ErrConfirmation}, // bits beyond the hash
		{`{"jkt":"` + oneHash + `","x5t#S256":""}`, Confirmation{}, ErrConfirmation},
		{`{"jkt":"` + oneHash + `","jkt":"` + otherHash + `"}`, Confirmation{}, ErrConfirmation},
		{`{"jwk":{}}`, Confirmation{}, ErrOtherBinding},
		{`{"kid":"a"}`, Confirmation{}, ErrOtherBinding},
		{`{"JKT":"` + oneHash + `"}`, Confirmation{}, ErrOtherBinding},
		{`{"x5t":"` + oneHash + `"}`, Confirmation{}, ErrOtherBinding},
		{`{"jkt":"` + oneHash + `","x":1}`, Confirmation{}, ErrOtherBinding},
	} {
		if got, why := ParseConfirmation([]byte(tt.cnf)); got != tt.want || why != tt.why {
			t.Errorf("%s: got %+v, %v", tt.cnf, got, reasonOf(why))
		}
	}
}

// FuzzConfirmation: whatever is taken asks for something, and can be written again.
func FuzzConfirmation(f *testing.F) {
	f.Add([]byte(`{"jkt":"` + oneHash + `"}`))
	f.Add([]byte(`{"x5t#S256":"` + oneHash + `","jkt":"\u0030"}`))
	f.Fuzz(func(t *testing.T, cnf []byte) {
		c, refusal := ParseConfirmation(cnf)
		if (c == Confirmation{}) != (refusal != nil) {
			t.Fatalf("got %+v, %v", c, reasonOf(refusal))
		}
		if refusal != nil {
			return
		}
		var again map[string]string
		if err := json.Unmarshal(cnf, &again); err != nil || again["jkt"] != c.Thumbprint || again["x5t#S256"] != c.Certificate {
			t.Fatalf("%s: got %+v, %v", cnf, c, err)
		}
		if text := c.Thumbprint + c.Certificate; strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Fatalf("got %+v", c)
		}
	})
}
